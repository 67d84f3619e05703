import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { takeInOrder } from '../../src/methods/ordered.ts'
import { cellRows } from '../../src/pipeline/cells.ts'
import { type Context, openContext } from '../../src/pipeline/context.ts'
import { coverPool } from '../../src/pipeline/coverage.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import {
  optionsAsConfig,
  type ResolvedOptions,
  resolveOptions,
  type SelectOptions,
} from '../../src/pipeline/options.ts'
import { planSelect } from '../../src/pipeline/plan.ts'
import { findLikenesses } from '../../src/pipeline/redundancy.ts'
import { select } from '../../src/pipeline/select.ts'
import { spreadPicks } from '../../src/pipeline/spread.ts'
import { openVectors } from '../../src/pipeline/vector-files.ts'
import { writeNpy } from '../../src/signals/npy.ts'
import { signal } from '../../src/signals/signal.ts'
import { referenceCosines } from '../../src/similarity/reference.ts'
import { facilityLocation } from '../../src/submodular/reference.ts'
import { clustered } from '../similarity/vectors.ts'
import { expectSame } from './kills.ts'
import { tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'
import { writeTargetFiles } from './targets.ts'

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n')

function runner(pool: string, home: string) {
  return async (name: string, options: Partial<SelectOptions> = {}) => {
    const events: PipelineEvent[] = []
    const place = { run: join(home, `${options.run ?? name}.run`), out: join(home, `${name}.jsonl`) }
    const asked = { pool: [pool], method: name, budget: '30', threads: 1, overwrite: true }
    const result = await select({ ...asked, ...options, ...place }, { ort, onEvent: (event) => events.push(event) })
    const stages = Object.fromEntries(result.stages.map(({ name: stage, cached }) => [stage, cached]))
    return { result, stages, picked: lines(place.out), page: readFileSync(result.report, 'utf8') }
  }
}

describe('select over the vectors of a pool', () => {
  it('needs no target, keeps the vectors for a method that has one, and one order for every budget', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 200, targets: 12 })
    const run = runner(files.pool, home)
    const covered = await run('facility-location', { run: 'shared' })
    expect(covered.stages).not.toHaveProperty('target')
    expect(covered.stages).not.toHaveProperty('target-embeddings')
    expect(covered.result.embedding).toEqual({ name: 'ngrams', dimensions: 384 })
    expect(covered.picked).toHaveLength(30)
    for (const text of ['picked as number 1 of', 'ngrams, 384 dimensions']) expect(covered.page).toContain(text)

    const fewer = await run('facility-location', { run: 'shared', budget: '10' })
    expect(fewer.stages).toMatchObject({ embeddings: true, coverage: true, select: false })
    for (const line of fewer.picked) expect(covered.picked).toContain(line)
    const tokens = await run('facility-location', { run: 'shared', budget: '1ktok' })
    expect(tokens.stages).toMatchObject({ embeddings: true, coverage: true })

    const toward = await run('got-d', { run: 'shared', target: [files.target] })
    expect(toward.stages).toMatchObject({ embeddings: true, 'target-embeddings': false })

    const spread = await run('k-center', { run: 'shared' })
    expect(spread.stages).toMatchObject({ embeddings: true, spread: false })
    const distinct = await run('semdedup', { run: 'shared', methodOptions: { cells: 3 } })
    expect(distinct.stages).toMatchObject({ embeddings: true, cells: false, redundancy: false })
    expect(distinct.result.groups.reduce((total, { rows }) => total + rows, 0)).toBe(200)
    expect(distinct.page).toContain('cosine to a preferred row')
    expect(new Set([covered, spread, distinct].map(({ picked }) => picked.join('\n'))).size).toBe(3)
  }, 60_000)

  it('reads vectors that were made elsewhere, of the pool alone', async () => {
    const home = directory()
    const pool = join(home, 'pool.jsonl')
    writePool(pool)
    const { data } = clustered(100, 6)
    // Row 7 says nothing.
    data.fill(0, 42, 48)
    writeFileSync(join(home, 'v.npy'), writeNpy({ shape: [100, 6], data }))
    const run = runner(pool, home)
    const signals = { embeddings: join(home, 'v.npy') }
    const { result } = await run('facility-location', { signals, budget: '100' })
    expect(result.notices.map(({ code }) => code)).toEqual(expect.arrayContaining(['no-features', 'under-filled']))
    expect(result.selected).toBe(99)
    await expect(
      run('k-center', { signals: { ...signals, 'target-embeddings': join(home, 'v.npy') } }),
    ).rejects.toMatchObject({ fault: { code: 'unneeded-signal' } })
  }, 30_000)

  it('compares hidden states of an early checkpoint of nano, and refuses one that a pretrained proxy has not', async () => {
    const home = directory()
    const pool = join(home, 'pool.jsonl')
    writePool(pool, poolLines({ svamp: 24, gsm8k: 2 }))
    const run = runner(pool, home)
    const asked = { run: 'nano', embedding: 'proxy', budget: '12' }
    const late = await run('facility-location', asked)
    const early = await run('facility-location', { ...asked, methodOptions: { checkpoint: 'early' } })
    expect(late.stages.trajectories).toBe(false)
    expect(early.stages).toMatchObject({ trajectories: false, embeddings: false, coverage: false })
    const first = await run('k-center', { ...asked, methodOptions: { checkpoint: 1 } })
    expect(first.stages).toMatchObject({ trajectories: true, embeddings: false })
    await expect(run('semdedup', { ...asked, methodOptions: { checkpoint: 99 } })).rejects.toMatchObject({
      fault: { code: 'no-such-checkpoint', path: '--checkpoint' },
    })
    const proxy = tinyModel(join(home, 'model'))
    await expect(
      run('semdedup', { embedding: 'proxy', budget: '12', proxy, methodOptions: { checkpoint: 'early' } }),
    ).rejects.toMatchObject({ fault: { code: 'no-checkpoints' } })
  }, 90_000)

  it('takes the hidden states of a pretrained proxy unasked, once for every method', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 24, targets: 4 })
    const run = runner(files.pool, home)
    const proxy = tinyModel(join(home, 'model'))
    const asked = { run: 'shared', embedding: 'proxy', budget: '8', proxy }
    const spread = await run('k-center', asked)
    expect(spread.picked).toHaveLength(8)
    expect(spread.stages).toMatchObject({ embeddings: false })
    const toward = await run('rds', { ...asked, target: [files.target] })
    expect(toward.stages).toMatchObject({ embeddings: true })
  }, 120_000)

  it('plans what it will do without a target', async () => {
    const home = directory()
    const pool = join(home, 'pool.jsonl')
    writePool(pool)
    const plan = await planSelect(
      { pool: [pool], method: 'semdedup', budget: '10%', run: join(home, 'run'), out: join(home, 'out.jsonl') },
      { ort },
    )
    expect(plan.embedding).toEqual({ name: 'ngrams', dimensions: 384 })
    expect(plan.target).toBeUndefined()
    expect(plan.seconds.map(({ stage }) => stage)).toEqual(
      expect.arrayContaining(['embed 100 rows', 'find likenesses']),
    )
  }, 30_000)
})

/** Vectors in files, and the context of a run. */
async function among(n: number, d: number) {
  const home = directory()
  const vectors = clustered(n, d, { clusters: 12, spread: 0.4 })
  writeFileSync(join(home, 'v.npy'), writeNpy({ shape: [n, d], data: vectors.data }))
  const options = resolveOptions({
    pool: ['pool.jsonl'],
    method: 'facility-location',
    budget: '10',
    threads: 1,
    run: join(home, 'run'),
  })
  const open = (): Promise<Context<ResolvedOptions>> => openContext(options, optionsAsConfig(options), { ort })
  const files = await openVectors([join(home, 'v.npy')])
  return { open, vectors, among: { files, rows: Uint32Array.from({ length: n }, (_, i) => i), hash: 'vectors' } }
}

it('covers a pool in cells nearly as well as whole, going on after the last finished one', async () => {
  const { open, vectors, among: rows } = await among(1500, 16)
  const cosines = referenceCosines(vectors)
  const value = (order: ArrayLike<number>) =>
    facilityLocation(
      cosines,
      1500,
      Array.from(order).flatMap((place, row) => (place < 150 ? [row] : [])),
    )
  const orders: ArrayLike<number>[] = []
  let stopped: unknown
  {
    const context = await open()
    await using _run = context.run
    orders.push((await coverPool(context, { ...rows, neighbours: 64 })).signals.coverage.data)
    // Stopped in the third cell.
    const abort = new AbortController()
    const emit = (event: PipelineEvent) => {
      if (event.kind === 'stage-progress' && event.progress.detail?.startsWith('cell 3'))
        abort.abort(new Error('enough'))
    }
    stopped = await coverPool(
      { ...context, emit, signal: abort.signal },
      { ...rows, neighbours: 64, wholeRows: 500 },
    ).catch((error) => error)
  }
  expect(stopped).toMatchObject({ message: 'enough' })
  const context = await open()
  await using _run = context.run
  const covered = await coverPool(context, { ...rows, neighbours: 64, wholeRows: 500 })
  expect(context.run.manifest.stages.find(({ name }) => name === 'coverage')?.resumedParts).toBeGreaterThanOrEqual(2)
  orders.push(covered.signals.coverage.data)
  expect(new Set(Array.from(orders[1])).size).toBe(1500)
  expect(value(orders[1])).toBeGreaterThan(0.97 * value(orders[0]))
}, 30_000)

it('deals a cell with too many rows into parts', () => {
  const cells = { assignment: Int32Array.of(0, 1, 0, -1, 0, 0, 0, 2), count: 4 }
  expect(cellRows(cells, 2).map((rows) => [...rows])).toEqual([[0, 5], [2, 6], [4], [1], [7]])
})

it('finds for each row the nearest one that is farther from the centroid, or nearer', async () => {
  const { open, vectors, among: rows } = await among(90, 5)
  const cosines = referenceCosines(vectors)
  const context = await open()
  await using _run = context.run
  for (const keep of ['hard', 'easy'] as const) {
    const { signals } = await findLikenesses(context, { ...rows, cells: 4, keep })
    const [cell, similarity] = [signals.cell.data, signals.redundancy.data]
    const toCentroid = signals.centroid_similarity.data
    const sign = keep === 'hard' ? 1 : -1
    for (let row = 0; row < 90; row++) {
      const preferred = Array.from({ length: 90 }, (_, other) => other).filter(
        (other) =>
          cell[other] === cell[row] &&
          (sign * (toCentroid[other] - toCentroid[row]) < 0 || (toCentroid[other] === toCentroid[row] && other < row)),
      )
      const most = Math.max(...preferred.map((other) => cosines[row * 90 + other]))
      const nearTo = signals.near_to.data[row]
      if (preferred.length === 0) expect([similarity[row], nearTo]).toEqual([Number.NaN, -1])
      else {
        // A row scaled to float32 unit length before it is rounded may end a unit beside.
        expect(similarity[row]).toBeCloseTo(most, 4)
        expect(preferred).toContain(nearTo)
        expect(cosines[row * 90 + nearTo]).toBeCloseTo(most, 4)
      }
    }
  }
}, 30_000)

it('orders a large pool until no row that is left fits the tokens, and no further', async () => {
  const { open, among: rows } = await among(60, 5)
  // Long rows and short ones: the first that does not fit leaves room for others.
  const tokens = Uint32Array.from({ length: 60 }, (_, row) => (row % 3 === 0 ? 40 : 7 + (row % 5)))
  const signals = { tokens: signal('tokens', tokens) }
  const context = await open()
  await using _run = context.run
  const order = async (budget: ResolvedBudget, wholeRows?: number) => {
    const { spread } = (await spreadPicks(context, { ...rows, budget, tokens, wholeRows })).signals
    const ordered = Uint32Array.from(tokens.keys()).filter((row) => spread.data[row] >= 0)
    return ordered.sort((a, b) => spread.data[a] - spread.data[b])
  }
  const whole = await order({ unit: 'tokens', tokens: 1 })
  expect(whole).toHaveLength(60)
  for (const count of [39, 100, 155, 333]) {
    const budget: ResolvedBudget = { unit: 'tokens', tokens: count }
    const reached = await order(budget, 10)
    expect(reached).toEqual(whole.slice(0, reached.length))
    const take = (ordered: Uint32Array) => takeInOrder(ordered, { rows: 60, budget, signals })
    expect(take(reached)).toEqual(take(whole))
    expect(reached.length).toBeLessThan(60)
  }
}, 30_000)

it('goes on from where it was killed, to the same files', async () => {
  const home = directory()
  writePool(join(home, 'pool.jsonl'))
  const options = (name: string) => ({
    ...{ pool: [join(home, 'pool.jsonl')], method: 'semdedup', methodOptions: { cells: 3 }, budget: '20', threads: 1 },
    ...{ run: join(home, `${name}.run`), out: join(home, `${name}.jsonl`) },
  })
  const kills = [
    { stage: 'cells', kind: 'stage-end', count: 1 },
    { file: 'group-0[.]npy' },
    { stage: 'redundancy', kind: 'stage-end', count: 1 },
  ]
  await expectSame(home, { command: 'select', options, kills, out: (name) => `${name}.jsonl` })
}, 120_000)
