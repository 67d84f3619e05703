import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { neighbourGraph } from '../../src/similarity/graph.ts'
import { referenceCosines, referenceGraph } from '../../src/similarity/reference.ts'
import { denseOrder } from '../../src/submodular/dense.ts'
import { facilityOrder, mergeOrders } from '../../src/submodular/facility-location.ts'
import { centerOrder } from '../../src/submodular/k-center.ts'
import { lazyGreedy } from '../../src/submodular/lazy-greedy.ts'
import { facilityLocation, farthestFirst, greedy } from '../../src/submodular/reference.ts'
import { sparseOrder } from '../../src/submodular/sparse.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { clustered, vectorsOf } from '../similarity/vectors.ts'
import { greedyCases, type Implementation, someVectors } from './submodular.cases.ts'

const implementations: Implementation[] = [
  { name: 'all pairs', order: (vectors, picks) => denseOrder(vectors, { picks }) },
  {
    name: 'a graph of all neighbours',
    order: async (vectors, picks) => sparseOrder(await neighbourGraph(vectors, { k: vectors.n }), { picks }),
  },
  {
    name: 'the facade beyond its rows',
    order: (vectors, picks) => facilityOrder(vectors, { picks, denseRows: 0, neighbours: vectors.n }),
  },
]

for (const implementation of implementations) greedyCases(implementation)

describe('a graph of few neighbours', () => {
  it('is plain greedy over its own lists: a row is covered from its list and by itself', async () => {
    await fc.assert(
      fc.asyncProperty(someVectors(24), fc.integer({ min: 1, max: 6 }), async (vectors, k) => {
        const { n } = vectors
        const cosines = referenceCosines(vectors)
        const sparse = new Float64Array(n * n)
        referenceGraph(vectors, k).rows.forEach((list, i) => {
          for (const j of [i, ...list]) sparse[i * n + j] = cosines[i * n + j]
        })
        const expected = greedy(sparse, n, n)
        const { rows, gains } = await sparseOrder(await neighbourGraph(vectors, { k }))
        expect([...rows]).toEqual([...expected.rows])
        expect([...gains]).toEqual([...expected.gains])
      }),
      { numRuns: 60 },
    )
  })

  it('covers a pool within 1 % of what all pairs reach, where each row has a pick or two in its list', async () => {
    const vectors = clustered(1200, 24, { clusters: 30, spread: 0.6 })
    const cosines = referenceCosines(vectors)
    const dense = await facilityOrder(vectors, { picks: 120 })
    const sparse = await facilityOrder(vectors, { picks: 120, denseRows: 0, neighbours: 64 })
    const value = (rows: Uint32Array) => facilityLocation(cosines, 1200, rows)
    expect(value(sparse.rows)).toBeGreaterThan(0.99 * value(dense.rows))
  })
})

it('has the same bits on 1, 2 and 3 threads', async () => {
  const vectors = clustered(6000, 120, { clusters: 30 })
  const alone = await denseOrder(vectors, { picks: 500 })
  for (const threads of [2, 3])
    expect(await denseOrder(vectors, { picks: 500, parallel: gatheredThreads(threads) })).toEqual(alone)
})

describe('an abort in the middle', () => {
  afterEach(() => void vi.restoreAllMocks())

  it('is heard while rows are picked', async () => {
    // A clock by which every evaluation takes a second: the event loop turns after each.
    let clock = 0
    vi.spyOn(performance, 'now').mockImplementation(() => clock)
    const abort = new AbortController()
    let taken = 0
    const found = lazyGreedy({
      gains: new Float64Array(1000).fill(1),
      picks: 1000,
      gain: () => {
        clock += 1000
        return 1
      },
      take: () => {
        taken++
      },
      signal: abort.signal,
      onProgress: (picked) => {
        if (picked === 5) setTimeout(() => abort.abort(new Error('enough')))
      },
    })
    await expect(found).rejects.toThrow('enough')
    expect(taken).toBeGreaterThanOrEqual(5)
    expect(taken).toBeLessThan(1000)
  })

  it.each([
    ['over all pairs', {}, 0.6],
    ['over a graph', { denseRows: 0, neighbours: 8 }, 0.95],
  ])('stops facility location %s', async (_, options, prepared) => {
    let clock = 0
    vi.spyOn(performance, 'now').mockImplementation(() => (clock += 1000))
    const abort = new AbortController()
    let share = 0
    const found = facilityOrder(clustered(120, 8), {
      ...options,
      signal: abort.signal,
      onProgress: (fraction) => {
        share = fraction
        // Once the matrix or the graph is done.
        if (fraction > prepared) setTimeout(() => abort.abort(new Error('enough')))
      },
    })
    await expect(found).rejects.toThrow('enough')
    expect(share).toBeLessThan(1)
  })
})

describe('orders of parts', () => {
  it('merge to the greedy order of their objectives added up, ties by row', async () => {
    await fc.assert(
      fc.asyncProperty(someVectors(24), fc.integer({ min: 1, max: 4 }), async (vectors, count) => {
        const { n, d, data } = vectors
        const cosines = referenceCosines(vectors)
        const together = cosines.map((cosine, at) => (Math.floor(at / n) % count === (at % n) % count ? cosine : 0))
        const parts = []
        for (let part = 0; part < Math.min(count, n); part++) {
          const rows = Uint32Array.from({ length: n }, (_, i) => i).filter((i) => i % count === part)
          const own = new Float32Array(rows.length * d)
          for (const [i, row] of rows.entries()) own.set(data.subarray(row * d, (row + 1) * d), i * d)
          const order = await denseOrder({ data: own, n: rows.length, d })
          parts.push({ rows: order.rows.map((i) => rows[i]), gains: order.gains })
        }
        const merged = mergeOrders(parts)
        const expected = greedy(together, n, n)
        expect([...merged.rows]).toEqual([...expected.rows])
        expect([...merged.gains]).toEqual([...expected.gains])
      }),
      { numRuns: 40 },
    )
  })
})

describe('k-center', () => {
  it('starts in the middle and goes to what is farthest', async () => {
    const { rows, distances } = await centerOrder(
      vectorsOf([
        [0, 1],
        [1, 1],
        [1, 0],
        [-1, 0],
        [2, 2.1],
      ]),
    )
    expect([...rows]).toEqual([4, 3, 2, 0, 1])
    expect([...distances].slice(1)).toEqual(
      [-2 / 2.9, 2 / 2.9, 2.1 / 2.9, 4.1 / 2.9 / Math.SQRT2].map((cos) => expect.closeTo(Math.sqrt(2 - 2 * cos), 2)),
    )
    expect(distances[0]).toBeNaN()
  })

  it('is farthest-first to the bit from any start, in any number of picks', async () => {
    await fc.assert(
      fc.asyncProperty(someVectors(70), fc.nat(1000), fc.integer({ min: 1, max: 70 }), async (vectors, at, few) => {
        const { n } = vectors
        const start = at % n
        const expected = farthestFirst(referenceCosines(vectors), n, start, n)
        const { rows, distances } = await centerOrder(vectors, { start })
        expect([...rows]).toEqual(expected)
        for (let i = 2; i < n; i++) expect(distances[i]).toBeLessThanOrEqual(distances[i - 1])
        const shorter = await centerOrder(vectors, { start, picks: few })
        expect([...shorter.rows]).toEqual(expected.slice(0, few))
      }),
      { numRuns: 60 },
    )
  })

  it('ends where it is told that it is enough', async () => {
    const vectors = clustered(100, 5)
    const taken: number[] = []
    const { rows } = await centerOrder(vectors, { enough: (row) => taken.push(row) === 7 })
    expect([...rows]).toEqual(taken)
    expect(taken).toHaveLength(7)
  })

  it('stops when it is told to', async () => {
    await expect(centerOrder(clustered(4000, 64), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    )
  })
})
