import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { score } from '../../src/pipeline/score.ts'
import { train } from '../../src/pipeline/train.ts'
import { exportWarmup, warmup } from '../../src/pipeline/warmup.ts'
import type { WarmupOptions } from '../../src/pipeline/warmup-options.ts'
import { CHAT_TEMPLATE, GPT2, type TinyModel, tinyModel } from './models.ts'
import { directory, writePool } from './pools.ts'

const chat = (i: number) => [
  { role: 'user', content: `What is ${i} and ${i + 1}?` },
  { role: 'assistant', content: `It is ${2 * i + 1}, said Lily${' and smiled'.repeat(i % 4)}.` },
]
const chats = (count: number, from = 0) => Array.from({ length: count }, (_, i) => ({ messages: chat(from + i) }))
/** Records with a prompt and a response: as whole texts, both are trained. */
const pairs = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    question: `Where did Tim put ${i} toys?`,
    answer: `He put ${i} of them into the big red box${' in the park'.repeat(i % 3)}.`,
  }))

function prepared(tiny: TinyModel = {}, rows: { pick?: object[]; task?: object[] } = {}) {
  const home = directory()
  const write = (name: string, records: object[]) => {
    writePool(
      join(home, name),
      records.map((record) => JSON.stringify(record)),
    )
    return join(home, name)
  }
  const pick = write('pick.jsonl', rows.pick ?? pairs(24))
  const task = write('task.jsonl', rows.task ?? chats(20))
  const model = tinyModel(join(home, 'model'), { template: CHAT_TEMPLATE, ...tiny })
  const [out, directoryOfRun] = [join(home, 'out'), join(home, 'run')]
  const options = (more: Partial<WarmupOptions> = {}): WarmupOptions => ({
    ...{ model, out, run: directoryOfRun, threads: 1, checkpoints: 2, ...more },
    pick: { files: [pick], epochs: 2, learningRate: 2e-3, ...more.pick },
    task: { files: [task], epochs: 2, learningRate: 2e-3, ...more.task },
  })
  const run = (more: Partial<WarmupOptions> = {}, onEvent?: (event: PipelineEvent) => void) =>
    warmup(options(more), { ort, onEvent })
  const plan = (more: Partial<WarmupOptions> = {}) => exportWarmup(options(more), { ort })
  const nllOf = async (pool: string, proxy: string, allTokens = false) => {
    const scored = { out: join(home, 'scores.parquet'), run: join(home, 'scores.run'), overwrite: true, threads: 1 }
    return (await score({ pool: [pool], proxy, allTokens, ...scored }, { ort })).nll
  }
  return { home, pick, task, model, out, run, plan, nllOf, write, directoryOfRun }
}

const bytes = (...path: string[]) => readFileSync(join(...path))
const weights = (folder: string) => readSafetensors(bytes(folder, 'model.safetensors')).tensors
const json = (...path: string[]) => JSON.parse(bytes(...path).toString())
const linesOf = (...path: string[]) =>
  bytes(...path)
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
const cached = (result: { stages: { name: string; cached: boolean }[] }, name: string) =>
  result.stages.find((stage) => stage.name === name)?.cached

describe('warmup', () => {
  it('leaves two models, of which the second knows the task and the first the pick', async () => {
    const { home, run, model, out, pick, task, nllOf, write } = prepared()
    const events: PipelineEvent[] = []
    const result = await run({}, (event) => events.push(event))
    const files = ['chat_template.jinja', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    for (const folder of ['warmup', 'task']) {
      expect(readdirSync(join(out, folder)).sort()).toEqual(files)
      for (const file of ['tokenizer.json', 'chat_template.jinja'])
        expect(bytes(out, folder, file)).toEqual(bytes(model, file))
    }
    expect(result).toMatchObject({
      pick: { rows: 24, trainedRows: 24, cutRows: 0, epochs: 2, out: { path: join(out, 'warmup') } },
      task: { rows: 20, trainedRows: 20, cutRows: 0, epochs: 2, out: { path: join(out, 'task') } },
      out: { path: join(out, 'task') },
      model: { name: model },
    })
    for (const stage of [result.pick, result.task]) expect(stage.loss.last).toBeLessThan(stage.loss.first - 0.3)
    expect(result.pick.processed).toBe(2 * result.pick.tokens)
    // All but the bos token of each row is trained of the pick, of the task only responses.
    expect(result.pick.trainedTokens).toBe(result.pick.tokens - 24)
    expect(result.task.trainedTokens).toBeLessThan(0.8 * result.task.tokens)

    const heldOut = write('held-out.jsonl', chats(8, 40))
    const texts = write(
      'texts.jsonl',
      pairs(24).map(({ question, answer }) => ({ text: `${question}\n\n${answer}` })),
    )
    const [warm, tuned] = [join(out, 'warmup'), join(out, 'task')]
    expect(await nllOf(texts, warm)).toBeLessThan((await nllOf(texts, model)) - 0.3)
    expect(await nllOf(heldOut, tuned)).toBeLessThan((await nllOf(heldOut, warm)) - 0.3)
    // The loss of the first step is that of the weights that the stage begins from.
    const first = (curve: string) => linesOf(curve)[0].loss
    expect(first(result.pick.curve)).toBeCloseTo(await nllOf(texts, model), 0)
    expect(first(result.task.curve)).toBeCloseTo(await nllOf(task, warm), 0)

    const stages = ['pick-read', 'pick-tokens', 'task-read', 'task-tokens', 'plan']
    const training = ['pick-train', 'pick-save', 'task-train', 'task-save']
    expect(events.find(({ kind }) => kind === 'plan')).toEqual({ kind: 'plan', stages: [...stages, ...training] })
    expect(result.stages.map(({ name }) => name)).toEqual([...stages, ...training])
    const { counts, inputs, facts } = json(home, 'run/manifest.json')
    expect(counts).toMatchObject({ pickRows: 24, taskRows: 20, pickSteps: result.pick.steps })
    expect(inputs.map(({ path, rows }: { path: string; rows: number }) => [path, rows])).toEqual([
      [pick, 24],
      [task, 20],
    ])
    expect(facts.training.task.loss).toEqual(result.task.loss)
  })

  it('is training on the texts and then training that model on the task, to the bit', async () => {
    const { home, run, model, out, task, write } = prepared()
    await run()
    const texts = write(
      'texts.jsonl',
      pairs(24).map(({ question, answer }) => ({ text: `${question}\n\n${answer}` })),
    )
    const same = { epochs: 2, learningRate: 2e-3, threads: 1 }
    const trained = (name: string, pool: string, proxy: string) =>
      train({ pool: [pool], proxy, out: join(home, name), run: join(home, `${name}.run`), ...same }, { ort })
    await trained('first', texts, model)
    expect(bytes(home, 'first/model.safetensors')).toEqual(bytes(out, 'warmup/model.safetensors'))
    await trained('second', task, join(home, 'first'))
    expect(bytes(home, 'second/model.safetensors')).toEqual(bytes(out, 'task/model.safetensors'))
  })

  it('gives the same bits with one thread and with two', async () => {
    const { run, out, home } = prepared()
    await run()
    await run({ threads: 2, out: join(home, 'other'), run: join(home, 'other.run') })
    for (const folder of ['warmup', 'task'])
      expect(bytes(home, 'other', folder, 'model.safetensors')).toEqual(bytes(out, folder, 'model.safetensors'))
  })

  it('takes the first stage from the run directory where only the second one is asked otherwise', async () => {
    const { run, home, out } = prepared()
    await run()
    const again = await run({ out: join(home, 'again'), task: { files: [join(home, 'task.jsonl')], epochs: 1 } })
    expect([cached(again, 'pick-train'), cached(again, 'task-train')]).toEqual([true, false])
    expect(bytes(home, 'again/warmup/model.safetensors')).toEqual(bytes(out, 'warmup/model.safetensors'))
    expect(bytes(home, 'again/task/model.safetensors')).not.toEqual(bytes(out, 'task/model.safetensors'))
    const other = await run({ out: join(home, 'other'), pick: { files: [join(home, 'pick.jsonl')], epochs: 1 } })
    expect([cached(other, 'pick-train'), cached(other, 'task-train')]).toEqual([false, false])
  })

  it('trains its second stage from float32, whatever the models are saved in', async () => {
    const { run, home, out } = prepared()
    await run()
    const half = await run({ saveAs: 'BF16', out: join(home, 'half') })
    expect([cached(half, 'pick-train'), cached(half, 'task-train')]).toEqual([true, true])
    for (const folder of ['warmup', 'task']) {
      expect(json(home, 'half', folder, 'config.json').torch_dtype).toBe('bfloat16')
      expect(bytes(home, 'half', folder, 'model.safetensors').length).toBeLessThan(
        0.55 * bytes(out, folder, 'model.safetensors').length,
      )
    }
  })

  it('goes on with the adapters of the first stage, which alone make the tuned model of the original', async () => {
    const { run, model, out, task, nllOf, home } = prepared()
    const options = { lora: 4, task: { files: [task], epochs: 3, learningRate: 2e-2 } }
    const result = await run({ ...options, pick: { files: [join(home, 'pick.jsonl')], epochs: 2, learningRate: 2e-2 } })
    const adapters = (folder: string) =>
      readSafetensors(bytes(out, folder, 'adapter/adapter_model.safetensors')).tensors
    const [first, second, base, tuned] = [
      adapters('warmup'),
      adapters('task'),
      weights(model),
      weights(join(out, 'task')),
    ]
    expect([...second.keys()]).toEqual([...first.keys()])
    expect(json(out, 'task/adapter/adapter_config.json')).toMatchObject({ base_model_name_or_path: model, r: 4 })
    expect(tuned.get('model.embed_tokens.weight')).toEqual(base.get('model.embed_tokens.weight'))
    // W + 2 B A of the second stage's adapters is the saved weight: the first stage's are not added in as well.
    const name = 'model.layers.0.self_attn.o_proj'
    const [a, b] = ['A', 'B'].map((side) => second.get(`base_model.model.${name}.lora_${side}.weight`)?.data ?? [])
    const before = base.get(`${name}.weight`)?.data ?? []
    const after = tuned.get(`${name}.weight`)?.data ?? []
    for (const [o, i] of [
      [0, 0],
      [3, 17],
      [31, 31],
    ]) {
      let sum = 0
      for (let r = 0; r < 4; r++) sum += b[o * 4 + r] * a[r * 32 + i]
      expect(after[o * 32 + i]).toBeCloseTo(before[o * 32 + i] + 2 * sum, 6)
    }
    // New adapters would begin at the original model.
    const start = linesOf(result.task.curve)[0].loss
    const [warm, original] = [await nllOf(task, join(out, 'warmup')), await nllOf(task, model)]
    expect(Math.abs(start - warm)).toBeLessThan(Math.abs(start - original))
    expect(await nllOf(task, join(out, 'task'))).toBeLessThan(warm - 0.05)
  })

  it('warms up a nano that was trained first', async () => {
    const { home, run, write, task, nllOf } = prepared()
    const pool = write('pool.jsonl', chats(24, 20))
    const [base, out] = [join(home, 'base'), join(home, 'out')]
    await train({ pool: [pool], proxy: 'nano', out: base, run: join(home, 'base.run'), threads: 1 }, { ort })
    const { notices } = await run({ model: base, task: { files: [task], epochs: 2, learningRate: 1e-3 } })
    expect(await nllOf(task, join(out, 'task'))).toBeLessThan(await nllOf(task, base))
    // Its role markers are known to winnow alone.
    expect(notices.map(({ code }) => code)).toEqual(['no-recipes'])
    expect(readdirSync(join(out, 'plan')).sort()).toEqual(['pick.jsonl', 'plan.json', 'task.jsonl'])
  })
})

describe('what cannot be warmed up is said:', () => {
  it.each<[string, Partial<WarmupOptions>, object]>([
    ['no model', { model: undefined }, { code: 'no-model', path: '--model' }],
    [
      'a model from nothing',
      { model: 'nano' },
      { code: 'nothing-to-warm-up', hint: expect.stringContaining('winnow train') },
    ],
    ['no pick', { pick: { files: [] } }, { code: 'no-pool', path: '--pool-pick' }],
    ['no task', { task: { files: [] } }, { code: 'no-pool', path: '--task' }],
    [
      'a rate that is none',
      { task: { files: ['x'], learningRate: 2 } },
      { code: 'bad-option', path: '--task-learning-rate' },
    ],
    ['epochs that are none', { pick: { files: ['x'], epochs: 0 } }, { code: 'bad-option', path: '--pick-epochs' }],
    ['a window that the model lacks', { maxLength: 300 }, { code: 'context-too-long', expected: 'at most 128' }],
  ])('%s', async (_, options, fault) => {
    const { run, out, directoryOfRun } = prepared()
    await expect(run(options)).rejects.toMatchObject({ exitCode: 2, fault })
    expect([existsSync(out), existsSync(directoryOfRun)]).toEqual([false, false])
  })

  it('a task that is the pick, by its name or by its bytes', async () => {
    const { run, pick, write, out } = prepared()
    await expect(run({ task: { files: [pick] } })).rejects.toMatchObject({
      fault: { code: 'task-is-pick', file: pick, found: expect.stringContaining('the same file') },
    })
    const copy = write('copy.jsonl', pairs(24))
    await expect(run({ task: { files: [copy] } })).rejects.toMatchObject({
      fault: { code: 'task-is-pick', file: copy, found: `the same bytes as ${pick}` },
    })
    expect(existsSync(out)).toBe(false)
  })

  it('a task whose prompts fill the window, a row that the template refuses', async () => {
    const long = { messages: [{ role: 'user', content: 'so '.repeat(200) }, chat(1)[1]] }
    await expect(prepared({}, { task: [long] }).run()).rejects.toMatchObject({
      fault: { code: 'nothing-to-train', message: expect.stringContaining('the task') },
    })
    const refused = { messages: [{ role: 'user', content: 'unspeakable' }, chat(1)[1]] }
    const { run, task } = prepared({}, { task: [...chats(4), refused] })
    await expect(run()).rejects.toMatchObject({ fault: { code: 'chat-template', file: task, line: 5 } })
    const { notices, task: stage } = await run({ onBadRow: 'skip' })
    expect(notices).toContainEqual(
      expect.objectContaining({ code: 'refused-rows', message: expect.stringMatching(/^task: /) }),
    )
    expect(stage).toMatchObject({ rows: 5, trainedRows: 4 })
  })

  it('a model or a plan that is there already, but not its own', async () => {
    const { run, plan, out, model, home } = prepared()
    const exists = (file: string) => ({ exitCode: 2, fault: { code: 'output-exists', path: '--out', file } })
    mkdirSync(join(out, 'task'), { recursive: true })
    writeFileSync(join(out, 'task/config.json'), '{}')
    await expect(run()).rejects.toMatchObject(exists(join(out, 'task')))
    await expect(run({ out: join(out, 'task') })).rejects.toMatchObject(exists(join(out, 'task')))
    await run({ overwrite: true })
    // Again the same, with more threads: its own.
    await run({ threads: 2 })
    await expect(plan({ seed: 1 })).rejects.toMatchObject(exists(join(out, 'warmup')))
    await expect(run({ model: join(out, 'task'), overwrite: true })).rejects.toMatchObject({
      fault: { code: 'output-is-input', file: join(out, 'task') },
    })
    await plan({ out: join(home, 'planned'), run: join(home, 'planned.run') })
    const other = { out: join(home, 'planned'), run: join(home, 'other.run') }
    await expect(plan({ ...other, seed: 1 })).rejects.toMatchObject({
      fault: { code: 'output-exists', message: expect.stringContaining('a plan'), file: join(home, 'planned/plan') },
    })
    expect(existsSync(join(model, 'config.json'))).toBe(true)
  })

  it('a stage that diverges, after the first model was saved', async () => {
    const { run, out, model, task, home } = prepared({ config: GPT2 })
    const tensors = weights(model)
    const { vocab } = json(model, 'tokenizer.json').model
    // Of the task alone a token and the positions that it is met at add up to more than float32 holds.
    tensors.get('transformer.wte.weight')?.data.fill(3e38, 32 * vocab.Z, 32 * (vocab.Z + 1))
    tensors.get('transformer.wpe.weight')?.data.fill(3e38, 32 * 100)
    writeFileSync(join(model, 'model.safetensors'), writeSafetensors(tensors))
    const rows = chats(12)
    rows[5].messages[0].content += ' Z'.repeat(45)
    const files = [join(home, 'long.jsonl')]
    writePool(
      files[0],
      rows.map((row) => JSON.stringify(row)),
    )
    await expect(run({ task: { files } })).rejects.toMatchObject({ exitCode: 1, fault: { code: 'diverged' } })
    expect(existsSync(join(out, 'warmup/config.json'))).toBe(true)
    expect(existsSync(join(out, 'task'))).toBe(false)
    // The first stage is not lost to a better second one.
    expect(cached(await run({ overwrite: true, task: { files: [task] } }), 'pick-train')).toBe(true)
  })
})
