import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openEarlier } from '../../src/similarity/earlier.ts'
import { FIXED_ONE } from '../../src/similarity/fixed-point.ts'
import { type NeighbourGraph, neighbourGraph } from '../../src/similarity/graph.ts'
import { NO_ROW } from '../../src/similarity/neighbours.ts'
import { referenceCosines, referenceEarlier, referenceGraph } from '../../src/similarity/reference.ts'
import { triangleTile, triangleTiles } from '../../src/similarity/triangle.ts'
import type { Vectors } from '../../src/similarity/vectors.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { clustered, lattice, vectorsOf } from './vectors.ts'

const lists = ({ n, k, rows, similarity }: NeighbourGraph) => {
  const of = (i: number) => [...rows.subarray(i * k, (i + 1) * k)].filter((row) => row !== NO_ROW)
  return {
    rows: Array.from({ length: n }, (_, i) => of(i)),
    similarity: Array.from({ length: n }, (_, i) => of(i).map((_, r) => similarity[i * k + r] / FIXED_ONE)),
  }
}

const someVectors = fc
  .record({
    ...{ n: fc.integer({ min: 1, max: 300 }), d: fc.integer({ min: 1, max: 37 }), seed: fc.nat(1000) },
    exact: fc.boolean(),
  })
  .map(({ n, d, seed, exact }) => (exact ? lattice(n, d, seed, 1) : clustered(n, d, { seed, clusters: 3 })))

describe('the neighbour graph', () => {
  it('has the nearest other rows by cosine, then by row, and none at a right angle or beyond', async () => {
    const graph = await neighbourGraph(
      vectorsOf([
        [5, 0],
        [1, 1],
        [0, 3],
        [-1, 0],
        [2, 0],
        [0, 0],
      ]),
      { k: 2 },
    )
    expect(lists(graph).rows).toEqual([[4, 1], [0, 2], [1], [], [0, 1], []])
    expect([...graph.self].map((value) => Math.round((10 * value) / FIXED_ONE))).toEqual([10, 10, 10, 10, 10, 0])
  })

  it('equals the reference to the bit, ties included', async () => {
    await fc.assert(
      fc.asyncProperty(someVectors, fc.integer({ min: 1, max: 40 }), async (vectors, k) => {
        const graph = await neighbourGraph(vectors, { k })
        expect(lists(graph)).toEqual(referenceGraph(vectors, k))
        const cosines = referenceCosines(vectors)
        expect([...graph.self]).toEqual(
          Array.from({ length: vectors.n }, (_, i) => FIXED_ONE * cosines[i * vectors.n + i]),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('has the same bits on 1, 2 and 3 threads', async () => {
    const vectors = clustered(6000, 120, { clusters: 30 })
    const alone = await neighbourGraph(vectors, { k: 5 })
    for (const threads of [2, 3])
      expect(await neighbourGraph(vectors, { k: 5, parallel: gatheredThreads(threads) })).toEqual(alone)
  })

  it('stops when it is told to', async () => {
    const abort = new AbortController()
    const told = neighbourGraph(clustered(2000, 16), {
      k: 3,
      signal: abort.signal,
      onProgress: () => abort.abort(new Error('enough')),
    })
    await expect(told).rejects.toThrow('enough')
  })

  it.each<[string, Vectors, number]>([
    ['neighbours-option', lattice(3, 2, 1), 0],
    ['neighbours-option', lattice(3, 2, 1), 1.5],
    ['vectors-shape', { data: new Float32Array(5), n: 2, d: 3 }, 1],
    ['vectors-not-finite', vectorsOf([[1, Number.NaN]]), 1],
  ])('refuses as %s what it cannot use', async (code, vectors, k) => {
    await expect(neighbourGraph(vectors, { k })).rejects.toMatchObject({ fault: { code } })
  })
})

describe('the nearest earlier row', () => {
  it('equals the reference to the bit, group after group', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(someVectors, { minLength: 1, maxLength: 3 }), async (groups) => {
        for (const dimensions of new Set(groups.map(({ d }) => d))) {
          const own = groups.filter(({ d }) => d === dimensions)
          await using search = await openEarlier({ rows: Math.max(...own.map(({ n }) => n)), dimensions })
          for (const group of own) {
            const { nearest, similarity } = await search.of(group)
            expect({ nearest: [...nearest], similarity: [...similarity] }).toEqual(referenceEarlier(group))
          }
        }
      }),
      { numRuns: 30 },
    )
  })

  it('has a cosine of exactly 1 of equal vectors, to the first of them, and never more', async () => {
    const { data, n, d } = clustered(40, 21, { spread: 0.001 })
    const twice = { data: Float32Array.of(...data, ...data, ...data), n: 3 * n, d }
    // What is rounded: each vector's product with itself.
    const self = referenceCosines(twice).filter((_, at) => at % (3 * n + 1) === 0)
    expect(Math.max(...self)).toBeGreaterThan(1)
    expect(Math.min(...self)).toBeLessThan(1)
    await using search = await openEarlier({ rows: 3 * n, dimensions: d })
    const { nearest, similarity } = await search.of(twice)
    const copies = Array.from({ length: 2 * n }, (_, i) => i)
    expect(copies.map((i) => similarity[n + i])).toEqual(copies.map(() => 1))
    for (const i of copies) expect(nearest[n + i]).toBeLessThanOrEqual(i % n)
    expect(Math.max(...similarity.slice(1))).toBe(1)
    const zero = await search.of({ data: new Float32Array(2 * d), n: 2, d })
    expect([...zero.similarity]).toEqual([Number.NaN, 0])
  })

  it('has the same bits on 1, 2 and 3 threads', async () => {
    const vectors = clustered(3000, 40)
    const found = []
    for (const threads of [1, 2, 3]) {
      await using search = await openEarlier({ rows: 3000, dimensions: 40, parallel: gatheredThreads(threads) })
      found.push(await search.of(vectors))
    }
    expect(found[1]).toEqual(found[0])
    expect(found[2]).toEqual(found[0])
  })
})

it('tiles of a triangle are counted row by row, far out too', () => {
  expect([0, 1, 2, 3, 4, 5].map(triangleTile)).toEqual(
    [
      [0, 0],
      [1, 0],
      [1, 1],
      [2, 0],
      [2, 1],
      [2, 2],
    ].map(([row, column]) => ({ row, column })),
  )
  for (const row of [1, 1000, 7_812_499, 30_000_001])
    for (const column of [0, 1, row - 1, row])
      expect(triangleTile(triangleTiles(row) + column)).toEqual({ row, column })
})
