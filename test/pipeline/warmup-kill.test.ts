import { join } from 'node:path'
import { expect, it } from 'vitest'
import { expectSame, files } from './kills.ts'
import { CHAT_TEMPLATE, tinyModel } from './models.ts'
import { directory, writePool } from './pools.ts'

it('a warm-up killed in either stage goes on to the same models and the same plan', async () => {
  const home = directory()
  const rows = (name: string, row: (i: number) => object) => {
    writePool(
      join(home, name),
      Array.from({ length: 18 }, (_, i) => JSON.stringify(row(i))),
    )
    return [join(home, name)]
  }
  const pick = rows('pick.jsonl', (i) => ({ text: `Lily had ${i} apples${' and a red ball'.repeat(i % 4)}.` }))
  const task = rows('task.jsonl', (i) => ({
    messages: [
      { role: 'user', content: `What is ${i} and ${i + 1}?` },
      { role: 'assistant', content: `It is ${2 * i + 1}, said Lily.` },
    ],
  }))
  const model = tinyModel(join(home, 'model'), { template: CHAT_TEMPLATE })
  const options = (name: string) => ({
    ...{ model, lora: 4, threads: 1, checkpoints: 3 },
    pick: { files: pick, epochs: 2, learningRate: 1e-3 },
    task: { files: task, epochs: 2, learningRate: 1e-3 },
    ...{ run: join(home, `${name}.run`), out: join(home, `${name}.warmup`) },
  })
  const kills = [
    { stage: 'plan', kind: 'stage-end', count: 1 },
    // In the first stage: on its way, between the files of a checkpoint, trained and not saved.
    { stage: 'pick-train', kind: 'stage-progress', count: 3 },
    { file: '[.]optimiser[.]safetensors' },
    { stage: 'pick-save', kind: 'stage-start', count: 1 },
    // In the second, whose every start finds the first one done.
    { stage: 'task-train', kind: 'stage-progress', count: 3 },
    { file: '[.]optimiser[.]safetensors' },
    { stage: 'task-save', kind: 'stage-start', count: 1 },
  ]
  await expectSame(home, { command: 'warmup', options, kills, out: (name) => `${name}.warmup` })
  expect(Object.keys(files(join(home, 'killed.warmup')))).toEqual(
    expect.arrayContaining([
      ...['warmup/model.safetensors', 'warmup/adapter/adapter_model.safetensors'],
      ...['task/model.safetensors', 'task/adapter/adapter_model.safetensors', 'plan/plan.json'],
    ]),
  )
}, 120_000)
