import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { score } from '../../src/pipeline/score.ts'
import { type TrainOptions, train } from '../../src/pipeline/train.ts'
import { CHAT_TEMPLATE, GPT2, type TinyModel, tinyModel } from './models.ts'
import { directory, writePool } from './pools.ts'

const chats = (count: number) =>
  Array.from({ length: count }, (_, i) => [
    { role: 'user', content: `What is ${i} and ${i + 1}?` },
    { role: 'assistant', content: `It is ${2 * i + 1}, said Lily${' and smiled'.repeat(i % 4)}.` },
  ])

function prepared(tiny: TinyModel = {}, conversations: object[] = chats(24)) {
  const home = directory()
  const pool = join(home, 'chats.jsonl')
  writePool(
    pool,
    conversations.map((messages) => JSON.stringify({ messages })),
  )
  const model = tinyModel(join(home, 'model'), { template: CHAT_TEMPLATE, ...tiny })
  const [out, directoryOfRun] = [join(home, 'tuned'), join(home, 'run')]
  const run = (
    more: Partial<TrainOptions> = {},
    { onEvent, signal }: { onEvent?: (event: PipelineEvent) => void; signal?: AbortSignal } = {},
  ) =>
    train(
      {
        ...{ pool: [pool], proxy: model, out, run: directoryOfRun, threads: 1 },
        ...{ epochs: 3, learningRate: 2e-3, checkpoints: 3, ...more },
      },
      { ort, onEvent, signal },
    )
  const nllOf = async (proxy: string) => {
    const scored = { out: join(home, 'scores.parquet'), run: join(home, 'scores.run'), overwrite: true, threads: 1 }
    return (await score({ pool: [pool], proxy, ...scored }, { ort })).nll
  }
  return { home, pool, model, out, run, nllOf, directoryOfRun }
}

const weights = (folder: string) => readSafetensors(readFileSync(join(folder, 'model.safetensors'))).tensors
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const curveOf = (path: string): { step: number; rate: number; loss: number; tokens: number }[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('train', () => {
  it('saves a model that scores better than the one it began with, with all that belongs to it', async () => {
    const { run, model, out, nllOf } = prepared()
    const result = await run()
    expect(readdirSync(out).sort()).toEqual([
      ...['chat_template.jinja', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
    ])
    for (const file of ['tokenizer.json', 'chat_template.jinja'])
      expect(readFileSync(join(out, file), 'utf8')).toBe(readFileSync(join(model, file), 'utf8'))
    expect(result).toMatchObject({
      rows: 24,
      trainedRows: 24,
      epochs: 3,
      out: { path: out },
      model: { name: model },
      device: 'cpu',
    })
    expect(result.model.trained).toBe(result.model.parameters)
    expect(result.loss.last).toBeLessThan(result.loss.first - 0.5)
    const [before, after] = [await nllOf(model), await nllOf(out)]
    expect(after).toBeLessThan(before - 0.5)

    const curve = curveOf(result.curve)
    expect(curve.map(({ step }) => step)).toEqual(Array.from({ length: result.steps }, (_, i) => i + 1))
    // The first loss is that of the untrained model, the last rate nearly none.
    expect(curve[0].loss).toBeCloseTo(before, 0)
    expect(Math.max(...curve.map(({ rate }) => rate))).toBeLessThanOrEqual(2e-3)
    expect(curve.at(-1)?.rate).toBeLessThan(2e-4)
    expect(curve.reduce((total, { tokens }) => total + tokens, 0)).toBe(result.tokens.processed)
    expect(result.tokens.processed).toBe(3 * result.tokens.pool)
    // Of the states on the way the last is kept, without what only training needs.
    const kept = readdirSync(join(result.run, 'checkpoints'), { recursive: true, encoding: 'utf8' })
    expect(kept.filter((name) => name.endsWith('.safetensors'))).toHaveLength(1)
  })

  it('goes on after an interruption where its last checkpoint was, with the curve of both parts', async () => {
    const [whole, broken] = [prepared(), prepared()]
    const undisturbed = await whole.run()
    const controller = new AbortController()
    const stopping = (event: PipelineEvent) => {
      if (event.kind === 'stage-progress' && event.stage === 'train' && event.progress.detail?.startsWith('step 6'))
        controller.abort(new Error('enough'))
    }
    await expect(broken.run({}, { onEvent: stopping, signal: controller.signal })).rejects.toThrow('enough')
    expect(existsSync(broken.out)).toBe(false)
    const events: PipelineEvent[] = []
    const resumed = await broken.run({}, { onEvent: (event) => events.push(event) })
    expect(events).toContainEqual({ kind: 'stage-start', stage: 'train', resumedParts: 1 })
    const steps = events.flatMap((event) =>
      event.kind === 'stage-progress' && event.stage === 'train' ? [event.progress.detail] : [],
    )
    expect(steps[0]).toBe(`step 5 of ${undisturbed.steps}`)
    expect(curveOf(resumed.curve)).toEqual(curveOf(undisturbed.curve))
    expect(weights(broken.out)).toEqual(weights(whole.out))
    expect(resumed.loss).toEqual(undisturbed.loss)
  })

  it('trains adapters, saves them apart and with the weights they change added in', async () => {
    const { run, model, out, nllOf } = prepared({ config: { dtype: 'float32' } })
    const result = await run({ lora: 4, learningRate: 2e-2 })
    expect(result.adapters).toBe(join(out, 'adapter'))
    const { parameters, trained } = result.model
    // Rank 4 on q, k, v, o, gate, up and down of two layers.
    expect(trained).toBe(2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96))
    expect(trained).toBeLessThan(parameters / 2)
    expect(json(join(out, 'adapter/adapter_config.json'))).toMatchObject({
      peft_type: 'LORA',
      r: 4,
      base_model_name_or_path: model,
      target_modules: expect.arrayContaining(['q_proj', 'down_proj']),
    })
    const adapters = readSafetensors(readFileSync(join(out, 'adapter/adapter_model.safetensors'))).tensors
    for (const name of adapters.keys())
      expect(name).toMatch(/^base_model\.model\.model\.layers\.\d\..*\.lora_[AB]\.weight$/)
    const [base, merged] = [weights(model), weights(out)]
    expect(merged.get('model.embed_tokens.weight')).toEqual(base.get('model.embed_tokens.weight'))
    expect(merged.get('model.layers.0.mlp.up_proj.weight')).not.toEqual(base.get('model.layers.0.mlp.up_proj.weight'))
    expect(await nllOf(out)).toBeLessThan((await nllOf(model)) - 0.2)
  })

  it('saves half as many bytes in bfloat16, which load again', async () => {
    const { run, out, home, nllOf } = prepared()
    const full = await run()
    const half = await run({ saveAs: 'BF16', out: join(home, 'half') })
    expect(half.stages.find(({ name }) => name === 'train')?.cached).toBe(true)
    const size = (folder: string) => readFileSync(join(folder, 'model.safetensors')).length
    expect(size(join(home, 'half'))).toBeLessThan(0.55 * size(out))
    expect(json(join(home, 'half/config.json')).torch_dtype).toBe('bfloat16')
    expect(full.out.files).toEqual(half.out.files)
    expect(await nllOf(join(home, 'half'))).toBeCloseTo(await nllOf(out), 1)
  })

  it('trains nano from scratch, with a tokenizer of the pool, and can score with it then', async () => {
    const { run, out, nllOf } = prepared()
    const result = await run({ proxy: 'nano', epochs: undefined, learningRate: undefined })
    expect(result.model).toMatchObject({ name: 'nano' })
    expect(result.stages.map(({ name }) => name)).toEqual(['read', 'tokenizer', 'tokens', 'train', 'save'])
    expect(readdirSync(out).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect(await nllOf(out)).toBeLessThan(result.loss.first)
  })

  it('leaves out rows without a trained token in the window, and ends where there is no other', async () => {
    const long = [
      { role: 'user', content: 'so '.repeat(200) },
      { role: 'assistant', content: 'Yes.' },
    ]
    const { run } = prepared({}, [...chats(23), long])
    expect(await run()).toMatchObject({ rows: 24, trainedRows: 23 })
    await expect(prepared({}, [long]).run()).rejects.toMatchObject({ fault: { code: 'nothing-to-train' } })
  })

  it('writes over a model only where it saved it itself, or where asked to', async () => {
    const { run, out, home, model } = prepared()
    mkdirSync(out)
    writeFileSync(join(out, 'notes.txt'), 'mine')
    copyFileSync(join(model, 'config.json'), join(out, 'config.json'))
    const refused = { exitCode: 2, fault: { code: 'output-exists', path: '--out', file: out } }
    await expect(run()).rejects.toMatchObject(refused)
    expect(readdirSync(home).sort()).toEqual(['chats.jsonl', 'model', 'tuned'])
    const first = await run({ overwrite: true })
    expect(readFileSync(join(out, 'notes.txt'), 'utf8')).toBe('mine')
    expect((await run()).out).toEqual(first.out)
    await expect(run({ epochs: 1 })).rejects.toMatchObject(refused)
    await expect(run({ out: model, overwrite: true })).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'output-is-input', file: model },
    })
    await expect(run({ out: join(out, 'notes.txt') })).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'unwritable-output' },
    })
  })

  it('that diverges stops, names the step, saves nothing and keeps the last good checkpoint', async () => {
    // One row reaches positions at which the embeddings of its tokens and of the positions add up to more than float32 holds.
    const rows = chats(24)
    rows[5][0].content += ' Z'.repeat(45)
    const { run, out, model, directoryOfRun } = prepared({ config: GPT2 }, rows)
    const tensors = weights(model)
    const { vocab } = json(join(model, 'tokenizer.json')).model
    tensors.get('transformer.wte.weight')?.data.fill(3e38, 32 * vocab.Z, 32 * (vocab.Z + 1))
    tensors.get('transformer.wpe.weight')?.data.fill(3e38, 32 * 100)
    writeFileSync(join(model, 'model.safetensors'), writeSafetensors(tensors))

    const options = { batch: 8, checkpoints: 100 }
    const error = await run(options).then(
      () => undefined,
      (reason) => reason,
    )
    expect(error).toMatchObject({
      exitCode: 1,
      fault: {
        code: 'diverged',
        message: 'training diverged at step 3',
        found: 'loss NaN, gradient norm NaN',
        hint: expect.stringContaining('--learning-rate'),
      },
    })
    expect(existsSync(out)).toBe(false)
    expect(json(join(directoryOfRun, 'manifest.json')).status).toBe('failed')
    const kept = readdirSync(join(directoryOfRun, 'checkpoints'), { recursive: true, encoding: 'utf8' })
    expect(kept.map((name) => name.split('/')[1]).filter((name) => name !== undefined)).toEqual([
      ...['step-000002.optimiser.safetensors', 'step-000002.safetensors'],
    ])
    for (const name of kept.filter((name) => name.endsWith('.safetensors'))) {
      const state = readSafetensors(readFileSync(join(directoryOfRun, 'checkpoints', name))).tensors
      for (const { data } of state.values()) expect(data.every(Number.isFinite)).toBe(true)
    }
    // The same command comes to the same end, from the checkpoint on.
    const events: PipelineEvent[] = []
    await expect(run(options, { onEvent: (event) => events.push(event) })).rejects.toMatchObject({ fault: error.fault })
    expect(events).toContainEqual({ kind: 'stage-start', stage: 'train', resumedParts: 2 })
    expect(events.some((event) => event.kind === 'stage-progress' && event.stage === 'train')).toBe(false)
  })
})
