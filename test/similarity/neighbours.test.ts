import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { randomStream, shuffle } from '../../src/random/philox.ts'
import { type NeighbourOptions, type Neighbours, NO_ROW, openNeighbours } from '../../src/similarity/neighbours.ts'
import { referenceNeighbours } from '../../src/similarity/reference.ts'
import type { Vectors } from '../../src/similarity/vectors.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { clustered, lattice, vectorsOf } from './vectors.ts'

/** Adds the candidates in blocks of `size`, in the order of `blocks` if given. */
async function nearest(
  queries: Vectors,
  candidates: Vectors,
  options: NeighbourOptions,
  { size = 64, keep, backwards = false }: { size?: number; keep?: Uint8Array; backwards?: boolean } = {},
): Promise<Neighbours> {
  await using search = await openNeighbours(queries, { ...options, blockRows: size })
  const firsts = Array.from({ length: Math.ceil(candidates.n / size) }, (_, b) => b * size)
  for (const first of backwards ? firsts.toReversed() : firsts) {
    const last = Math.min(candidates.n, first + size)
    const block = candidates.data.subarray(first * candidates.d, last * candidates.d)
    await search.add(block, first, keep?.subarray(first, last))
  }
  return search.finish()
}

describe('the neighbour search', () => {
  it('orders by dot product, then by row', async () => {
    const found = await nearest(
      vectorsOf([[1, 0]]),
      vectorsOf([
        [0, 1],
        [2, 0],
        [3, 5],
        [2, 2],
        [-1, 0],
      ]),
      { k: 4 },
    )
    expect([...found.rows]).toEqual([2, 1, 3, 0])
    expect([...found.similarity]).toEqual([3, 2, 2, 0])
  })

  it('says where there are fewer candidates than neighbours', async () => {
    const found = await nearest(vectorsOf([[1], [-1]]), vectorsOf([[5], [7]]), { k: 3 })
    expect([...found.rows]).toEqual([1, 0, NO_ROW, 0, 1, NO_ROW])
    expect([...found.similarity]).toEqual([7, 5, -Infinity, -5, -7, -Infinity])
  })

  it('equals the reference where float32 is exact, ties included, in any blocks and order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          ...{ m: fc.integer({ min: 1, max: 30 }), n: fc.integer({ min: 1, max: 200 }) },
          ...{ d: fc.integer({ min: 1, max: 13 }), k: fc.integer({ min: 1, max: 20 }), seed: fc.nat(1000) },
          ...{ size: fc.integer({ min: 1, max: 90 }), backwards: fc.boolean(), skip: fc.boolean() },
        }),
        async ({ m, n, d, k, seed, size, backwards, skip }) => {
          const [queries, candidates] = [lattice(m, d, seed), lattice(n, d, seed + 1)]
          const keep = skip ? Uint8Array.from({ length: n }, (_, j) => j % 3) : undefined
          const found = await nearest(queries, candidates, { k }, { size, keep, backwards })
          expect(found).toEqual(referenceNeighbours(queries, candidates, k, keep))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('is within float32 of the reference on real-like vectors', async () => {
    const [queries, candidates] = [clustered(40, 97, { seed: 1 }), clustered(700, 97, { seed: 2 })]
    const [found, truth] = [await nearest(queries, candidates, { k: 9 }), referenceNeighbours(queries, candidates, 9)]
    found.similarity.forEach((value, at) => {
      expect(value).toBeCloseTo(truth.similarity[at], 5)
    })
  })

  it('has the same bits on 1, 2 and 3 threads', async () => {
    const [queries, candidates] = [clustered(300, 64, { seed: 1 }), clustered(6000, 64, { seed: 2 })]
    const alone = await nearest(queries, candidates, { k: 12 }, { size: 1500 })
    for (const threads of [2, 3])
      expect(await nearest(queries, candidates, { k: 12, parallel: gatheredThreads(threads) }, { size: 1500 })).toEqual(
        alone,
      )
  })

  it('takes blocks that are added without waiting one after another', async () => {
    const [queries, candidates] = [lattice(5, 4, 1), lattice(100, 4, 2)]
    await using search = await openNeighbours(queries, { k: 6, blockRows: 25 })
    const order = shuffle([0, 25, 50, 75], randomStream(5, 'test'))
    await Promise.all(order.map((first) => search.add(candidates.data.slice(first * 4, (first + 25) * 4), first)))
    expect(search.finish()).toEqual(referenceNeighbours(queries, candidates, 6))
  })

  it('refuses what it cannot search', async () => {
    const queries = vectorsOf([[1, 0]])
    await expect(openNeighbours(queries, { k: 0 })).rejects.toMatchObject({ fault: { code: 'neighbours-option' } })
    await expect(openNeighbours({ ...queries, n: 2 }, { k: 1 })).rejects.toMatchObject({
      fault: { code: 'vectors-shape' },
    })
    await expect(openNeighbours(vectorsOf([[NaN]]), { k: 1 })).rejects.toMatchObject({
      fault: { code: 'vectors-not-finite' },
    })
    await using search = await openNeighbours(queries, { k: 1, blockRows: 2 })
    await expect(search.add(new Float32Array(3), 0)).rejects.toMatchObject({ fault: { code: 'neighbours-option' } })
    await expect(search.add(new Float32Array(6), 0)).rejects.toMatchObject({ fault: { code: 'neighbours-option' } })
    await expect(search.add(new Float32Array(2), 0, new Uint8Array(2))).rejects.toThrow('keep')
    await expect(search.add(new Float32Array(2), NO_ROW)).rejects.toThrow('row numbers')
    await expect(search.add(Float32Array.of(1, Infinity), 7)).rejects.toThrow('row 7 is not finite in dimension 1')
    await search.add(Float32Array.of(3, 0), 7)
    expect([...search.finish().rows]).toEqual([7])
  })

  it('says how much memory it lacks', async () => {
    const opening = openNeighbours(vectorsOf([[1]]), { k: 2 ** 30 })
    await expect(opening).rejects.toMatchObject({ fault: { code: 'memory', found: '8193 MiB needed' } })
  })
})
