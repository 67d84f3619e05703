import { join } from 'node:path'
import { expect, it } from 'vitest'
import { expectSame, files } from './kills.ts'
import { CHAT_TEMPLATE, tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'
import { writeTargetFiles } from './targets.ts'

it('killed at every stage and started again, ends with the bytes of an undisturbed run', async () => {
  const home = directory()
  writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 30, gsm8k: 3 }))
  const options = (name: string) => ({
    pool: [join(home, 'pool.jsonl')],
    budget: '30%',
    run: join(home, `${name}.run`),
    out: join(home, `${name}.jsonl`),
  })

  const kills = [
    { stage: 'read', kind: 'stage-start', count: 1 },
    { stage: 'read', kind: 'stage-end', count: 1 },
    { stage: 'tokenizer', kind: 'stage-start', count: 1 },
    { stage: 'tokens', kind: 'stage-progress', count: 1 },
    { stage: 'bigram', kind: 'stage-start', count: 1 },
    { stage: 'trajectories', kind: 'stage-start', count: 1 },
    // In training before the first checkpoint, then after some, then while scoring; each start goes on from the last whole checkpoint.
    { stage: 'trajectories', kind: 'stage-progress', count: 2 },
    { stage: 'trajectories', kind: 'stage-progress', count: 20 },
    { stage: 'trajectories', kind: 'stage-progress', count: 31 },
    // Between the files of a checkpoint, before they are recorded.
    { file: '[.]npy' },
    { stage: 'trajectories', kind: 'stage-end', count: 1 },
    { stage: 'clusters', kind: 'stage-start', count: 1 },
    { stage: 'select', kind: 'stage-start', count: 1 },
    { stage: 'write', kind: 'stage-start', count: 1 },
    { stage: 'write', kind: 'stage-end', count: 1 },
    { stage: 'report', kind: 'stage-start', count: 1 },
    { stage: 'report', kind: 'stage-end', count: 1 },
  ]
  await expectSame(home, { command: 'select', options, kills, out: (name) => `${name}.jsonl` })
}, 300_000)

it('picking toward a target, killed at every stage, ends with the bytes of an undisturbed run', async () => {
  const home = directory()
  const { pool, target } = writeTargetFiles(home, { rows: 150, targets: 12 })
  const options = (name: string) => ({
    ...{ pool: [pool], target: [target], method: 'got-d', budget: '20', threads: 1 },
    ...{ methodOptions: { duplicates: 'near' }, run: join(home, `${name}.run`), out: join(home, `${name}.jsonl`) },
  })
  const kills = [
    { stage: 'target', kind: 'stage-end', count: 1 },
    { stage: 'ngrams', kind: 'stage-start', count: 1 },
    { file: 'ngrams[.]bin' },
    { stage: 'embeddings', kind: 'stage-start', count: 1 },
    // The vectors are there, and not recorded.
    { file: 'rows-[0-9]+[.]npy' },
    { stage: 'target-embeddings', kind: 'stage-end', count: 1 },
    { stage: 'copies', kind: 'stage-start', count: 1 },
    { stage: 'domains', kind: 'stage-progress', count: 3 },
    { stage: 'transport', kind: 'stage-start', count: 1 },
    { file: 'target-potential[.]npy' },
    { stage: 'scores', kind: 'stage-progress', count: 1 },
    { file: 'nearest[.]npy' },
    { stage: 'distinct', kind: 'stage-start', count: 1 },
    { stage: 'select', kind: 'stage-start', count: 1 },
    { stage: 'near', kind: 'stage-end', count: 1 },
    { stage: 'report', kind: 'stage-start', count: 1 },
  ]
  await expectSame(home, { command: 'select', options, kills, out: (name) => `${name}.jsonl` })
}, 300_000)

it('a pretrained proxy killed in training and between the files of its checkpoints goes on to the same bytes', async () => {
  const home = directory()
  writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 16, gsm8k: 2 }))
  const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 160 } })
  const options = (name: string) => ({
    ...{ pool: [join(home, 'pool.jsonl')], budget: '30%', proxy, epochs: 2, learningRate: 1e-3, threads: 1 },
    ...{ methodOptions: { checkpoints: 3 }, run: join(home, `${name}.run`), out: join(home, `${name}.jsonl`) },
  })
  const kills = [
    { stage: 'model', kind: 'stage-end', count: 1 },
    { stage: 'trajectories', kind: 'stage-start', count: 1 },
    { stage: 'trajectories', kind: 'stage-progress', count: 2 },
    // Losses are there, confidence or weights are not; weights are there, moments are not; both are there and not recorded.
    { file: '[.]npy' },
    { file: 'confidence.*[.]npy' },
    { file: 'step-[0-9]+[.]safetensors' },
    { file: '[.]optimiser[.]safetensors' },
    { stage: 'trajectories', kind: 'stage-end', count: 1 },
    { stage: 'write', kind: 'stage-start', count: 1 },
  ]
  await expectSame(home, { command: 'select', options, kills, out: (name) => `${name}.jsonl` })
}, 120_000)

it('passes before training and over responses alone go on after their last finished parts', async () => {
  const home = directory()
  const story = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the park. '
  const chat = (i: number) => ({ prompt: `Tell story ${i}.`, completion: story.repeat(7 + (i % 3)) })
  writePool(
    join(home, 'pool.jsonl'),
    Array.from({ length: 440 }, (_, i) => JSON.stringify(chat(i))),
  )
  const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 512 } })
  const options = (name: string) => ({
    ...{ pool: [join(home, 'pool.jsonl')], proxy, method: 'ifd', budget: '30', threads: 1 },
    ...{ run: join(home, `${name}.run`), out: join(home, `${name}.jsonl`) },
  })
  const kills = [
    // In the second part, whose first is kept; and as its file appears, before it is recorded.
    { stage: 'initial', kind: 'stage-progress', count: 20 },
    { file: 'rows-[0-9]+[.]npy' },
    { stage: 'unconditional', kind: 'stage-progress', count: 20 },
    { file: 'unconditional.*[.]npy' },
    { stage: 'unconditional', kind: 'stage-end', count: 1 },
  ]
  await expectSame(home, { command: 'select', options, kills, out: (name) => `${name}.jsonl` })
  const parts = Object.keys(files(join(home, 'whole.run')))
  for (const stage of ['initial', 'unconditional'])
    expect(parts.filter((name) => name.startsWith(`signals/${stage}/`)).length, stage).toBeGreaterThan(1)
}, 300_000)

it('scoring goes on after the last finished part, to the same Parquet file', async () => {
  const home = directory()
  const story = 'Once upon a time, there was a little girl named Lily. She loved to play outside in the park. '
  const lines = Array.from({ length: 420 }, (_, i) => JSON.stringify({ text: `${i}. ${story.repeat(10 + (i % 5))}` }))
  writePool(join(home, 'pool.jsonl'), lines)
  const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 512 } })
  const options = (name: string) => ({
    ...{ pool: [join(home, 'pool.jsonl')], proxy, perToken: true, threads: 1 },
    ...{ run: join(home, `${name}.run`), out: join(home, `${name}.parquet`) },
  })
  const kills = [
    { stage: 'score', kind: 'stage-progress', count: 1 },
    // In the second part, whose first is kept; and as its file appears, before it is recorded.
    { stage: 'score', kind: 'stage-progress', count: 20 },
    { file: '[.]npy' },
    { stage: 'write', kind: 'stage-progress', count: 1 },
    { stage: 'write', kind: 'stage-end', count: 1 },
  ]
  await expectSame(home, { command: 'score', options, kills, out: (name) => `${name}.parquet` })
  const parts = Object.keys(files(join(home, 'whole.run'))).filter((name) => name.startsWith('scores/'))
  expect(parts).toHaveLength(3)
}, 120_000)

it('fine-tuning goes on after the last checkpoint, to the same model', async () => {
  const home = directory()
  const chat = (i: number) => [
    { role: 'user', content: `What is ${i} and ${i + 1}?` },
    { role: 'assistant', content: `It is ${2 * i + 1}, said Lily${' and smiled'.repeat(i % 4)}.` },
  ]
  writePool(
    join(home, 'chats.jsonl'),
    Array.from({ length: 24 }, (_, i) => JSON.stringify({ messages: chat(i) })),
  )
  const proxy = tinyModel(join(home, 'model'), { template: CHAT_TEMPLATE })
  const options = (name: string) => ({
    ...{ pool: [join(home, 'chats.jsonl')], proxy, epochs: 2, learningRate: 1e-3, threads: 1, checkpoints: 3, lora: 4 },
    ...{ run: join(home, `${name}.run`), out: join(home, `${name}.tuned`) },
  })
  const kills = [
    { stage: 'train', kind: 'stage-start', count: 1 },
    { stage: 'train', kind: 'stage-progress', count: 3 },
    // Behind the first checkpoint, whose steps are then in the journal.
    { stage: 'train', kind: 'stage-progress', count: 4 },
    { file: '[.]optimiser[.]safetensors' },
    { stage: 'train', kind: 'stage-end', count: 1 },
    { stage: 'save', kind: 'stage-start', count: 1 },
    { stage: 'save', kind: 'stage-end', count: 1 },
  ]
  await expectSame(home, { command: 'train', options, kills, out: (name) => `${name}.tuned` })
}, 120_000)
