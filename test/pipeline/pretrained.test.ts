import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { Database } from '../../src/dataset/parquet.ts'
import { readSafetensors } from '../../src/models/safetensors.ts'
import type { PipelineEvent, StageProgress } from '../../src/pipeline/events.ts'
import type { SelectOptions } from '../../src/pipeline/options.ts'
import { planSelect } from '../../src/pipeline/plan.ts'
import { fetchProgress } from '../../src/pipeline/pretrained.ts'
import { select } from '../../src/pipeline/select.ts'
import { readNpy } from '../../src/signals/npy.ts'
import { CHAT_TEMPLATE, type TinyModel, tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

/** 30 real rows and a model of two layers; everything it needs beside the options. */
function prepared(tiny: TinyModel = {}, rows = poolLines({ svamp: 28, gsm8k: 2 })) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, rows)
  const model = tinyModel(join(home, 'model'), { ...tiny, config: { max_position_embeddings: 192, ...tiny.config } })
  const options = (more: Partial<SelectOptions> = {}): SelectOptions => ({
    pool: [pool],
    budget: '30%',
    out: join(home, 'out.jsonl'),
    run: join(home, 'run'),
    proxy: model,
    epochs: 2,
    learningRate: 1e-3,
    threads: 1,
    methodOptions: { checkpoints: 3 },
    ...more,
  })
  const run = (more: Partial<SelectOptions> = {}, onEvent?: (event: PipelineEvent) => void) =>
    select(options(more), { ort, onEvent })
  return { home, pool, rows, model, options, run, out: join(home, 'out.jsonl') }
}

const bytes = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path).toString('base64')]),
  )

/** [T, N] losses. */
const losses = (run: string): Float32Array[] => {
  const folder = join(run, 'signals/trajectories')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.npy'))
  return names.sort().map((name) => readNpy(readFileSync(join(folder, name))).data as Float32Array)
}

/** Largest relative difference of two runs' losses; rows without a loss have none in both. */
function apart(a: string, b: string): number {
  const [one, other] = [losses(a), losses(b)]
  let most = 0
  one.forEach((column, t) => {
    column.forEach((nll, row) => {
      expect(Number.isNaN(nll)).toBe(Number.isNaN(other[t][row]))
      if (!Number.isNaN(nll)) most = Math.max(most, Math.abs(nll - other[t][row]) / nll)
    })
  })
  return most
}

const manifestOf = (run: string) => JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8'))

describe('select with a pretrained proxy', () => {
  it('fine-tunes it on the pool: no tokenizer and no bigram, one checkpoint kept, all named in the manifest', async () => {
    const { run, rows, out, model } = prepared()
    const events: PipelineEvent[] = []
    const result = await run({}, (event) => events.push(event))
    expect(result).toMatchObject({ rows: 30, selected: 9, nll: { proxy: expect.any(Number) } })
    expect(result.nll?.bigram).toBeUndefined()
    const picked = readFileSync(out, 'utf8').trimEnd().split('\n')
    expect(rows.filter((line) => picked.includes(line))).toEqual(picked)
    const stages = events.filter((event) => event.kind === 'stage-end').map(({ stage }) => stage)
    expect(stages).toEqual(['model', 'read', 'tokens', 'trajectories', 'clusters', 'select', 'write', 'report'])

    const kept = Object.keys(bytes(join(result.run, 'checkpoints'))).map((name) => name.split('/')[1])
    const { steps } = manifestOf(result.run).facts.proxy
    expect(kept.sort()).toEqual(['config.json', `step-${String(steps.at(-1)).padStart(6, '0')}.safetensors`])
    expect(losses(result.run)).toHaveLength(3)
    expect(manifestOf(result.run)).toMatchObject({
      status: 'done',
      config: { proxy: model, maxLength: 192, epochs: 2, learningRate: 1e-3 },
      versions: { '@huggingface/hub': expect.any(String), '@huggingface/jinja': expect.any(String) },
      facts: { proxy: { name: model, source: { kind: 'directory' }, hash: expect.stringMatching(/^[0-9a-f]{64}$/) } },
    })
    // It was trained: the pool is likelier at the end.
    const mean = (nll: Float32Array) => {
      const known = nll.filter((value) => !Number.isNaN(value))
      return known.reduce((a, b) => a + b, 0) / known.length
    }
    const [first, , last] = losses(result.run).map(mean)
    expect(last).toBeLessThan(first - 0.1)
  })

  it('gives the same bytes with one thread and with two', async () => {
    const [one, two] = [prepared(), prepared()]
    const first = await one.run({ threads: 1 })
    const second = await two.run({ threads: 2 })
    for (const folder of ['signals', 'checkpoints'])
      expect(bytes(join(second.run, folder))).toEqual(bytes(join(first.run, folder)))
    expect(second.out.sha256).toBe(first.out.sha256)
  })

  it('uses the losses again for another budget, and not for another model, recipe or length', async () => {
    const { run, home, model } = prepared()
    const quick = { epochs: 1, methodOptions: { checkpoints: 1 } }
    await run(quick)
    let runs = 0
    const computed = async (more: Partial<SelectOptions>) => {
      const { stages } = await run({ ...quick, out: join(home, `out-${runs++}.jsonl`), ...more })
      return stages.filter(({ cached }) => !cached).map(({ name }) => name)
    }
    expect(await computed({ budget: '5' })).toEqual(['select', 'write', 'report'])
    const again = ['trajectories', 'clusters', 'select', 'write', 'report']
    expect(await computed({ epochs: 2 })).toEqual(again)
    expect(await computed({ maxLength: 100 })).toEqual(again)
    expect(await computed({ lora: 2 })).toEqual(again)
    tinyModel(model, { config: { max_position_embeddings: 192 }, seed: 1 })
    expect(await computed({})).toEqual(again)
    // A tokenizer that writes nothing else, in a file that reads otherwise: no tokens are made, but the model is another.
    appendFileSync(join(model, 'tokenizer.json'), '\n')
    expect(await computed({})).toContain('trajectories')
  })

  it('computes the same losses with recomputed blocks and in parts of batches', async () => {
    const { run, home, pool } = prepared()
    const whole = await run({ batch: 12 })
    const other = (name: string, more: Partial<SelectOptions>) =>
      select(
        {
          ...{ pool: [pool], budget: '30%', proxy: join(home, 'model'), epochs: 2, learningRate: 1e-3, threads: 1 },
          ...{ methodOptions: { checkpoints: 3 }, batch: 12 },
          ...{ run: join(home, name), out: join(home, `${name}.jsonl`), ...more },
        },
        { ort },
      )
    const recomputed = await other('recomputed', { recompute: true })
    expect(apart(whole.run, recomputed.run)).toBeLessThan(1e-6)
    const parts = await other('parts', { microBatch: 200 })
    expect(apart(whole.run, parts.run)).toBeLessThan(1e-5)
    // They are other computations: an option that was not passed on would change no bit.
    expect(apart(whole.run, parts.run)).toBeGreaterThan(0)
  })

  it('trains adapters beside the weights', async () => {
    const { run } = prepared()
    const result = await run({ lora: 4, epochs: 4, learningRate: 1e-2 })
    const [checkpoint] = readdirSync(join(result.run, 'checkpoints'), { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.safetensors'),
    )
    const { tensors } = readSafetensors(readFileSync(join(result.run, 'checkpoints', checkpoint)))
    expect(tensors.size).toBe(2 * 2 * 7)
    for (const name of tensors.keys()) expect(name).toMatch(/lora_[AB]/)
    const [first, , last] = losses(result.run).map((nll) => nll.filter((x) => !Number.isNaN(x)).reduce((a, b) => a + b))
    expect(last).toBeLessThan(first)
  })

  it('cuts rows where the positions of the model end, and refuses to cut them later', async () => {
    const { run } = prepared({ config: { max_position_embeddings: 96 } })
    const { run: directory } = await run({ method: 'random', methodOptions: {} })
    expect(manifestOf(directory).config.maxLength).toBe(96)
    await expect(run({ maxLength: 97 })).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'context-too-long', path: '--max-length', found: '97', expected: 'at most 96' },
    })
  })

  it('takes no proxy beside recorded losses, and looks at neither', async () => {
    const { run } = prepared()
    const events: PipelineEvent[] = []
    const both = { proxy: '/there/is/no/model', signals: { trajectories: '/there/are/no/losses' } }
    await expect(run(both, (event) => events.push(event))).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'two-loss-sources', path: '--proxy' },
    })
    expect(events).toEqual([])
  })

  it('plans what it then does', async () => {
    const { options, run, home } = prepared()
    const plan = await planSelect(options({ lora: 2 }), { ort })
    expect(readdirSync(home).sort()).toEqual(['model', 'pool.jsonl'])
    const { tokens, run: directory } = await run({ lora: 2 })
    const { proxy } = manifestOf(directory).facts
    expect(plan.tokens).toEqual({ count: tokens.pool, exact: true })
    expect(plan.proxy).toMatchObject({
      steps: proxy.steps.at(-1),
      parameters: proxy.parameters,
      vocabularySize: 512,
      epochs: 2,
      checkpoints: 3,
    })
    // Rank 2 on q, k, v, o, gate, up and down of both layers.
    const adapters = 2 * 2 * (64 + 48 + 48 + 64 + 96 + 96 + 96)
    expect(plan.proxy?.trained).toBe(adapters)
    // Trained parameters with gradient and moments, frozen ones, and activations of a pass.
    expect(plan.proxy?.memoryBytes).toBeGreaterThan(16 * adapters + 4 * proxy.parameters)
  })
})

describe('a chat template', () => {
  const chats = (count: number) =>
    Array.from({ length: count }, (_, i) => [
      { role: 'user', content: `What is ${i} and ${i + 1}?` },
      { role: 'assistant', content: `It is ${2 * i + 1}, as Lily said to her ${['dog', 'cat', 'mom'][i % 3]}.` },
    ])
  const lines = (conversations: object[][]) => conversations.map((messages) => JSON.stringify({ messages }))

  it('writes the conversations that the proxy is trained on', async () => {
    const { run } = prepared({ template: CHAT_TEMPLATE }, lines(chats(16)))
    const result = await run()
    const { counts } = manifestOf(result.run)
    expect(counts.labels).toBeGreaterThan(16 * 10)
    expect(counts.labels).toBeLessThan(counts.tokens)
    expect(losses(result.run).every((column) => column.every((nll) => nll > 0))).toBe(true)
  })

  it('that refuses a row ends the run with its file and line', async () => {
    const rows = chats(16)
    rows[11][0].content = 'the unspeakable'
    const { run, pool } = prepared({ template: CHAT_TEMPLATE }, lines(rows))
    await expect(run()).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'chat-template', file: pool, line: 12, found: 'That is not to be said' },
    })
  })

  it('that refuses rows leaves them out where bad rows are skipped: counted, told, never selected', async () => {
    const rows = chats(16)
    for (const row of [3, 11]) rows[row][0].content = 'the unspeakable'
    const { run, out, home, options, pool } = prepared({ template: CHAT_TEMPLATE }, lines(rows))
    const plan = await planSelect(options({ onBadRow: 'skip' }), { ort })
    const result = await run({ onBadRow: 'skip', budget: '100%' })
    expect(plan.tokens.count).toBe(result.tokens.pool)
    expect(result.selected).toBe(14)
    expect(readFileSync(out, 'utf8')).not.toContain('unspeakable')
    expect(result.notices).toContainEqual({
      code: 'refused-rows',
      message: expect.stringContaining(`2 rows, which have no tokens and take no part; the first: ${pool}:4: `),
      rows: 2,
    })
    expect(result.notices.map(({ code }) => code)).toEqual(expect.arrayContaining(['quarantined', 'under-filled']))
    for (const column of losses(result.run))
      expect([...column.keys()].filter((row) => Number.isNaN(column[row]))).toEqual([3, 11])
    expect(readFileSync(result.report, 'utf8')).toContain('chat template refused it')
    await using database = await Database.open()
    const table = await database.connection.runAndReadAll(
      `SELECT row, tokens, cluster FROM '${result.selectionFile}' WHERE NOT selected ORDER BY row`,
    )
    expect(table.getRowObjects().map(({ row, tokens, cluster }) => [row, tokens, cluster].map(Number))).toEqual([
      [3, 0, -1],
      [11, 0, -1],
    ])

    // Neither by chance, nor as a cluster of their own.
    const more = { onBadRow: 'skip', budget: '100%' } as const
    const random = await run({ ...more, method: 'random', methodOptions: {}, out: join(home, 'random.jsonl') })
    const unscored = { checkpoints: 3, unscored: 'cluster' }
    const drawn = await run({ ...more, methodOptions: unscored, out: join(home, 'drawn.jsonl') })
    for (const { selected, out: file } of [random, drawn]) {
      expect(selected).toBe(14)
      expect(readFileSync(file.path, 'utf8')).not.toContain('unspeakable')
    }
  })

  it('that does not fit its pool is told from a broken one', async () => {
    const { run, model } = prepared({ template: '{% for m in messages %}{{ m.content }' }, lines(chats(4)))
    await expect(run()).rejects.toMatchObject({ exitCode: 2, fault: { code: 'bad-chat-template' } })
    writeFileSync(join(model, 'chat_template.jinja'), CHAT_TEMPLATE)
    expect((await run({ method: 'random', methodOptions: {} })).selected).toBe(1)
  })
})

describe('the progress of a download', () => {
  it('is that of all files together, of which an earlier process may have fetched a part', () => {
    const told: StageProgress[] = []
    const progress = fetchProgress((one) => told.push(one))
    progress({ file: 'model.safetensors', bytes: 600, total: 1000 })
    progress({ file: 'tokenizer.json', bytes: 0, total: 200 })
    progress({ file: 'tokenizer.json', bytes: 200, total: 200 })
    progress({ file: 'model.safetensors', bytes: 1000, total: 1000 })
    expect(told.map(({ fraction, done, unit, detail }) => [fraction, done, unit, detail])).toEqual([
      [0.6, 0, 'bytes', 'fetching model.safetensors'],
      [0.5, 0, 'bytes', 'fetching tokenizer.json'],
      [800 / 1200, 200, 'bytes', 'fetching tokenizer.json'],
      [1, 600, 'bytes', 'fetching model.safetensors'],
    ])
  })
})
