import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { Database } from '../../src/dataset/parquet.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import type { SelectOptions } from '../../src/pipeline/options.ts'
import { planSelect } from '../../src/pipeline/plan.ts'
import { select } from '../../src/pipeline/select.ts'
import { directory, poolLines, writePool } from './pools.ts'

function prepared(rows = poolLines()) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, rows)
  const run = (options: Partial<SelectOptions> = {}, onEvent?: (event: PipelineEvent) => void) =>
    select(
      { pool: [pool], budget: '30%', out: join(home, 'out.jsonl'), run: join(home, 'run'), ...options },
      { ort, onEvent },
    )
  return { home, pool, rows, run, out: join(home, 'out.jsonl') }
}

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n')
const trajectories = (run: string) => {
  const folder = join(run, 'signals/trajectories')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.npy'))
  return names.sort().map((name) => [name, readFileSync(join(folder, name)).toString('hex')])
}

describe('select by s2l', () => {
  it('writes the selected lines as they are, in order, with the reasons beside them', async () => {
    const { run, rows, out } = prepared()
    const events: PipelineEvent[] = []
    const result = await run({}, (event) => events.push(event))
    expect(result).toMatchObject({ rows: 100, selected: 30 })
    const picked = lines(out)
    expect(picked).toHaveLength(30)
    expect(rows.filter((line) => picked.includes(line))).toEqual(picked)

    await using database = await Database.open()
    const table = await database.connection.runAndReadAll(`SELECT * FROM '${result.selectionFile}'`)
    expect(table.columnNames()).toEqual([
      'row',
      'selected',
      'source',
      'tokens',
      'trained_tokens',
      'cluster',
      'weight',
      'nll_first',
      'nll_last',
    ])
    const chosen = table.getRowObjects().filter((row) => row.selected)
    expect(chosen.map((row) => rows[Number(row.row)])).toEqual(picked)
    expect(
      table.getRowObjects().every((row) => (row.selected ? Number(row.weight) >= 1 : Number(row.weight) === 0)),
    ).toBe(true)

    const manifest = JSON.parse(readFileSync(join(result.run, 'manifest.json'), 'utf8'))
    expect(manifest).toMatchObject({
      status: 'done',
      counts: { rows: 100, selected: 30 },
      seeds: { seed: 0 },
      device: { name: 'cpu', repeatable: true },
      facts: { proxy: { name: 'nano' } },
    })
    expect(trajectories(result.run)).toHaveLength(12)
    const page = readFileSync(result.report, 'utf8')
    expect(page).toContain('<svg')
    expect(page).toContain('gsm8k')
    expect(result.nll?.proxy).toBeGreaterThan(0)
    expect(events.filter((event) => event.kind === 'stage-end').map((event) => event.stage)).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'bigram',
      'trajectories',
      'clusters',
      'select',
      'write',
      'report',
    ])
    const fractions = events.flatMap((event) =>
      event.kind === 'stage-progress' && event.stage === 'trajectories' ? [event.progress.fraction] : [],
    )
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
    expect(fractions.at(-1)).toBeCloseTo(1, 5)
  })

  it('re-uses what another budget, option or method leaves as it was', async () => {
    const { run, home } = prepared()
    await run()
    let runs = 0
    const cachedStages = async (options: Partial<SelectOptions>) => {
      const { stages } = await run({ out: join(home, `out-${runs++}.jsonl`), ...options })
      return stages.filter((stage) => stage.cached).map((stage) => stage.name)
    }
    expect(await cachedStages({})).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'bigram',
      'trajectories',
      'clusters',
      'select',
    ])
    expect(await cachedStages({ budget: '12' })).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'bigram',
      'trajectories',
      'clusters',
    ])
    expect(await cachedStages({ methodOptions: { clusters: 4 } })).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'bigram',
      'trajectories',
    ])
    expect(await cachedStages({ method: 'random', seed: 1 })).toEqual(['read', 'tokenizer', 'tokens'])
  })

  it('gives the same bytes with one thread and with two, and others for another seed', async () => {
    const [one, two, other] = [prepared(), prepared(), prepared()]
    const first = await one.run({ threads: 1 })
    const second = await two.run({ threads: 2 })
    expect(trajectories(second.run)).toEqual(trajectories(first.run))
    expect(readFileSync(second.selectionFile)).toEqual(readFileSync(first.selectionFile))
    expect(second.out.sha256).toBe(first.out.sha256)
    const third = await other.run({ seed: 5 })
    expect(third.out.sha256).not.toBe(first.out.sha256)
  })

  it('goes by source when asked, and says so when there is none', async () => {
    const { run, out } = prepared()
    await run({ methodOptions: { stratify: 'source' }, budget: '16' })
    const sources = lines(out).map((line) => JSON.parse(line).source)
    expect(sources.filter((source) => source === 'gsm8k')).toHaveLength(8)
    const bare = prepared(poolLines().map((line) => JSON.stringify({ ...JSON.parse(line), source: undefined })))
    await expect(bare.run({ methodOptions: { stratify: 'source' } })).rejects.toMatchObject({
      kind: 'usage',
      fault: { code: 'no-source' },
    })
  })

  it('quarantines rows whose prompt fills the window', async () => {
    const rows = [
      ...poolLines(),
      JSON.stringify({ source: 'svamp', question: 'how much is it? '.repeat(400), answer: '4' }),
    ]
    const { run, out } = prepared(rows)
    const result = await run({ budget: '101', maxLength: 256 })
    expect(result.selected).toBe(100)
    expect(lines(out)).not.toContain(rows.at(-1))
    expect(result.notices.map(({ code }) => code)).toEqual(expect.arrayContaining(['quarantined', 'under-filled']))
    expect(readFileSync(result.report, 'utf8')).toContain('fills the window')
  })
})

describe('select at random', () => {
  it('trains nothing, and keeps to a budget of tokens', async () => {
    const { run } = prepared()
    const result = await run({ method: 'random', budget: '1500tok' })
    expect(result.tokens.selected).toBeLessThanOrEqual(1500)
    expect(result.tokens.selected).toBeGreaterThan(1200)
    expect(result.stages.map(({ name }) => name)).toEqual(['read', 'tokenizer', 'tokens', 'select', 'write', 'report'])
  })

  it('reads compressed pools, and writes what the name of the output says', async () => {
    const { run, home, rows, pool } = prepared()
    writeFileSync(`${pool}.gz`, gzipSync(readFileSync(pool)))
    const result = await run({ pool: [`${pool}.gz`], method: 'random', out: join(home, 'new/folder/out.json') })
    const written = JSON.parse(readFileSync(result.out.path, 'utf8'))
    expect(written).toHaveLength(30)
    expect(rows.map((line) => JSON.parse(line))).toEqual(expect.arrayContaining(written))
  })
})

describe('what a run refuses before it trains', () => {
  const trains = (events: PipelineEvent[]) =>
    events.some((event) => event.kind === 'stage-start' && event.stage === 'bigram')
  it.each([
    ['a budget larger than the pool', { budget: '101' }, 'bad-budget'],
    ['a budget of more tokens than the pool has', { budget: '1Mtok' }, 'bad-budget'],
    ['more clusters than rows', { methodOptions: { clusters: 101 } }, 'too-many-clusters'],
    ['a memory limit that is none', { memoryLimit: 'banana' }, 'bad-option'],
    ['an output below a file', { out: `${import.meta.filename}/out.jsonl` }, 'unwritable-output'],
  ])('%s', async (_, options, code) => {
    const events: PipelineEvent[] = []
    await expect(prepared().run(options, (event) => events.push(event))).rejects.toMatchObject({
      exitCode: 2,
      fault: { code },
    })
    expect(trains(events)).toBe(false)
  })

  it('a window that no prompt fits into', async () => {
    await expect(prepared().run({ maxLength: 8 })).rejects.toMatchObject({
      fault: { code: 'nothing-to-train', path: '--max-length' },
    })
  })
})

describe('a changed pool in the same run directory', () => {
  it('is read anew, though its size and counts are the same', async () => {
    const { run, pool, rows, out } = prepared()
    await run({ method: 'random' })
    const edited = rows.map((line) => line.replace('e', 'E'))
    writePool(pool, edited.toReversed())
    const again = await run({ method: 'random' })
    expect(again.stages.filter((stage) => stage.cached)).toEqual([])
    expect(lines(out).every((line) => edited.includes(line))).toBe(true)
  })

  it('is read anew when its fields are given another meaning', async () => {
    const { run } = prepared()
    const labels = async (fields: string) => {
      const { run: directory } = await run({ method: 'random', fields, overwrite: true })
      return JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')).counts.labels
    }
    const asked = await labels('prompt=question,response=answer')
    expect(await labels('prompt=answer,response=question')).not.toBe(asked)
  })
})

describe('the plan of a run', () => {
  it('has the steps that the run then takes, and writes nothing', async () => {
    const { run, pool, home } = prepared()
    const plan = await planSelect(
      { pool: [pool], budget: '30%', out: join(home, 'out.jsonl'), run: join(home, 'run') },
      { ort },
    )
    expect(readdirSync(home)).toEqual(['pool.jsonl'])
    expect(plan).toMatchObject({
      rows: 100,
      budget: { unit: 'rows', amount: 30 },
      tokens: { exact: true },
      method: 's2l',
    })
    expect(plan.flops.total).toBe(plan.flops.training + plan.flops.scoring)
    expect(plan.flops.scoring).toBeGreaterThan(0)
    const { tokens, run: directory } = await run()
    expect(plan.tokens.count).toBe(tokens.pool)
    const { facts } = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'))
    expect(plan.proxy).toMatchObject({
      steps: facts.proxy.steps.at(-1),
      parameters: facts.proxy.parameters,
      epochs: facts.proxy.epochs,
    })
  })
})

describe('outputs', () => {
  it('are never written over unless asked', async () => {
    const { run, out } = prepared()
    writeFileSync(out, 'mine\n')
    await expect(run({ method: 'random' })).rejects.toMatchObject({ exitCode: 2, fault: { code: 'output-exists' } })
    expect(readFileSync(out, 'utf8')).toBe('mine\n')
    await run({ method: 'random', overwrite: true })
    expect(lines(out)).toHaveLength(30)
  })

  it('of the very same command are taken as done', async () => {
    const { run, out } = prepared()
    const first = await run({ method: 'random' })
    const again = await run({ method: 'random' })
    expect(again.out).toEqual(first.out)
    await expect(run({ method: 'random', budget: '10' })).rejects.toMatchObject({ fault: { code: 'output-exists' } })
    expect(lines(out)).toHaveLength(30)
  })

  it('stay away when a run is cancelled, and the run can go on', async () => {
    const { home, pool, out } = prepared()
    const controller = new AbortController()
    const options = { pool: [pool], budget: '30%', out, run: join(home, 'run') }
    const onEvent = (event: PipelineEvent) => {
      if (event.kind === 'stage-start' && event.stage === 'bigram') controller.abort(new Error('enough'))
    }
    await expect(select(options, { ort, onEvent, signal: controller.signal })).rejects.toThrow('enough')
    expect(existsSync(out)).toBe(false)
    expect(JSON.parse(readFileSync(join(home, 'run/manifest.json'), 'utf8')).status).toBe('failed')
    const result = await select(options, { ort })
    expect(result.stages.filter((stage) => stage.cached).map((stage) => stage.name)).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'bigram',
    ])
  })
})
