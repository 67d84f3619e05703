import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { kmeans } from '../../src/clustering/kmeans.ts'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { parseOptions } from '../../src/methods/options.ts'
import { random } from '../../src/methods/random.ts'
import { s2l } from '../../src/methods/s2l.ts'
import { randomStream } from '../../src/random/philox.ts'
import { clusterRows, NO_CLUSTER } from '../../src/signals/clusters.ts'
import { categories, type Signals, signal } from '../../src/signals/signal.ts'

/** Cluster ids 0, 0, …, 1, … of the given sizes. */
const clustersOf = (sizes: number[]) =>
  signal('clusters', Uint32Array.from(sizes.flatMap((size, id) => new Array<number>(size).fill(id))))

function select(signals: Signals, budget: ResolvedBudget, given: object = {}, seed = 1, rows = signals.clusters!.rows) {
  return s2l.select({ rows, budget, signals, options: parseOptions(s2l, { ...given }), seed })
}
const byRows = (rows: number): ResolvedBudget => ({ unit: 'rows', rows })

describe('s2l', () => {
  test('draws the allocation from each cluster', () => {
    const { selected, groups } = select({ clusters: clustersOf([100, 5, 2, 10]) }, byRows(20))
    expect(groups.map((group) => group.selected)).toEqual([7, 5, 2, 6])
    expect(selected.length).toBe(20)
    expect([...selected]).toEqual([...new Set(selected)].sort((a, b) => a - b))
  })

  test('draws uniformly inside a cluster', () => {
    const clusters = clustersOf([10, 40])
    const times = new Float64Array(50)
    const seeds = 1500
    for (let seed = 0; seed < seeds; seed++)
      for (const row of select({ clusters }, byRows(10), {}, seed).selected) times[row]++
    // 5 of 10 and 5 of 40; five standard deviations of a binomial count.
    times.forEach((count, row) => {
      const p = row < 10 ? 0.5 : 0.125
      expect(Math.abs(count - seeds * p)).toBeLessThan(5 * Math.sqrt(seeds * p * (1 - p)))
    })
  })

  test('gives one selection for one seed, another for another', () => {
    const signals = { clusters: clustersOf([50, 60, 70]) }
    expect(select(signals, byRows(30), {}, 5).selected).toEqual(select(signals, byRows(30), {}, 5).selected)
    expect(select(signals, byRows(30), {}, 6).selected).not.toEqual(select(signals, byRows(30), {}, 5).selected)
  })

  test('draws from a cluster the same way whatever the others are', () => {
    const of = (sizes: number[], rows: number) =>
      [...select({ clusters: clustersOf(sizes) }, byRows(rows)).selected].filter((row) => row < 50)
    expect(of([50, 90], 20)).toEqual(of([50, 60, 70], 30))
  })

  test('draws from clusters of one size independently of each other', () => {
    const { selected } = select({ clusters: clustersOf([50, 50]) }, byRows(40))
    const positions = [0, 1].map((cluster) =>
      [...selected].filter((row) => row >= cluster * 50 && row < cluster * 50 + 50).map((row) => row % 50),
    )
    expect(positions[0]).not.toEqual(positions[1])
  })

  test('selects with a smaller budget a subset of what it selects with a larger one', () => {
    const input = fc.tuple(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), fc.nat(100), fc.nat(100))
    fc.assert(
      fc.property(input, ([sizes, small, more]) => {
        const clusters = clustersOf(sizes)
        const larger = new Set(select({ clusters }, byRows(small + more)).selected)
        for (const row of select({ clusters }, byRows(small)).selected) expect(larger.has(row)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })

  test('weights make the selection stand for its clusters', () => {
    const sizes = [3, 40, 200]
    const { selected, columns, groups } = select({ clusters: clustersOf(sizes) }, byRows(33))
    const weight = columns.weight as Float64Array
    const total = [0, 0, 0]
    for (const row of selected) total[(columns.cluster as Int32Array)[row]] += weight[row]
    total.forEach((value, cluster) => {
      expect(value).toBeCloseTo(sizes[cluster], 9)
    })
    expect(weight[selected[0]]).toBe(3 / groups[0].selected)
    expect(weight.filter((value) => value !== 0).length).toBe(selected.length)
  })

  test('never selects a row without losses, and counts them', () => {
    const clusters = signal('clusters', Uint32Array.from([0, NO_CLUSTER, 0, 1, NO_CLUSTER, 1]))
    const { selected, notices, columns } = select({ clusters }, byRows(5))
    expect([...selected]).toEqual([0, 2, 3, 5])
    expect([...(columns.cluster as Int32Array)]).toEqual([0, -1, 0, 1, -1, 1])
    expect(notices).toMatchObject([
      { code: 'quarantined', rows: 2 },
      { code: 'under-filled', rows: 1 },
    ])
  })

  test('draws from rows without losses when asked to', () => {
    const clusters = signal('clusters', Uint32Array.from([0, NO_CLUSTER, 0, 0, NO_CLUSTER, 0]))
    const { groups } = select({ clusters }, byRows(4), { unscored: 'cluster' })
    expect(groups).toEqual([
      { id: 0, rows: 4, selected: 2 },
      { id: -1, rows: 2, selected: 2 },
    ])
  })

  test('spends a budget in tokens over clusters, without exceeding it', () => {
    const stream = randomStream(3, 'lengths')
    const tokens = signal(
      'tokens',
      Uint32Array.from({ length: 1030 }, () => 20 + stream.below(300)),
    )
    const { groups, tokens: spent } = select(
      { clusters: clustersOf([30, 1000]), tokens },
      { unit: 'tokens', tokens: 20_000 },
    )
    expect(groups[0].selected).toBe(30)
    expect(spent).toBeLessThanOrEqual(20_000)
    expect(spent).toBeGreaterThan(20_000 - 320)
  })

  test('needs clusters of trajectories, and tokens and sources only where they are used', () => {
    const needs = (given: object, unit: 'rows' | 'tokens') =>
      s2l.needs(parseOptions(s2l, { ...given }), unit).map((need) => need.signal)
    expect(needs({}, 'rows')).toEqual(['trajectories', 'clusters'])
    expect(needs({ stratify: 'source' }, 'tokens')).toEqual(['trajectories', 'source', 'tokens', 'clusters'])
    expect(s2l.needs(parseOptions(s2l, { clusters: '7', checkpoints: '4' }), 'rows')).toEqual([
      { signal: 'trajectories', checkpoints: 4 },
      {
        signal: 'clusters',
        of: 'trajectories',
        columns: 4,
        clusters: 7,
        normalise: 'none',
        restarts: 3,
        iterations: 20,
      },
    ])
  })

  test('says which signal is missing', () => {
    expect(() => select({}, byRows(1), {}, 1, 5)).toThrow(/signal clusters is needed/)
  })
})

describe('s2l stratified by source', () => {
  const source = categories('source', [...'aaaaaaaaaaaabbbbcccccccccccccccccccccccccccccc'].values(), 46)
  const clusters = signal(
    'clusters',
    Uint32Array.from({ length: 46 }, (_, row) => (row < 12 ? row % 2 : row < 16 ? 2 : row < 20 ? 3 : 4)),
  )

  test('splits the budget over sources, smallest first, then over the clusters of each', () => {
    // Sources b 4, a 12, c 30 share 30 as 4, 13 -> 12, 14; a's clusters of 6 are taken whole; c's 4 and 26 as 4 and 10.
    const { groups } = select({ clusters, source }, byRows(30), { stratify: 'source' })
    expect(groups).toEqual([
      { id: 0, label: 'a', rows: 6, selected: 6 },
      { id: 1, label: 'a', rows: 6, selected: 6 },
      { id: 2, label: 'b', rows: 4, selected: 4 },
      { id: 3, label: 'c', rows: 4, selected: 4 },
      { id: 4, label: 'c', rows: 26, selected: 10 },
    ])
  })

  test('does so for tokens too', () => {
    const tokens = signal('tokens', new Uint32Array(46).fill(10))
    const { groups, tokens: spent } = select(
      { clusters, source, tokens },
      { unit: 'tokens', tokens: 300 },
      { stratify: 'source' },
    )
    expect(groups.map((group) => group.selected)).toEqual([6, 6, 4, 4, 10])
    expect(spent).toBe(300)
  })

  test('refuses clusters that reach over sources', () => {
    const across = signal('clusters', new Uint32Array(46))
    expect(() => select({ clusters: across, source }, byRows(30), { stratify: 'source' })).toThrow(/several sources/)
  })
})

test('every difficulty group is in the subset of s2l and not in that of random, at 1000x imbalance', async () => {
  // Five shapes of loss curve over 12 checkpoints: easy, steady, late, hard, forgotten. Easy rows outnumber the others.
  const curves = [
    (t: number) => 3 * Math.exp(-t),
    (t: number) => 3 - 0.2 * t,
    (t: number) => (t < 8 ? 3 : 0.5),
    () => 4.5,
    (t: number) => (t < 5 ? 3 - 0.5 * t : 0.5 + 0.4 * (t - 5)),
  ]
  const sizes = [5000, 5, 5, 5, 5]
  const groupOf = sizes.flatMap((size, group) => new Array<number>(size).fill(group))
  const rows = groupOf.length
  const noise = randomStream(11, 'noise')
  const data = Float32Array.from(
    { length: rows * 12 },
    (_, i) => curves[groupOf[Math.floor(i / 12)]](i % 12) + 0.05 * noise.normal(),
  )
  const trajectories = signal('trajectories', data, { rows, columns: 12 })
  const clusters = await clusterRows(
    trajectories,
    { clusters: 'auto', normalise: 'none', restarts: 3, iterations: 20, seed: 1 },
    kmeans,
  )
  const seen = (selected: Uint32Array) => new Set([...selected].map((row) => groupOf[row])).size
  for (let seed = 0; seed < 20; seed++) {
    expect(seen(select({ clusters: clusters.signal }, byRows(350), {}, seed).selected)).toBe(5)
    expect(seen(random.select({ rows, budget: byRows(350), signals: {}, options: {}, seed }).selected)).toBeLessThan(5)
  }
})
