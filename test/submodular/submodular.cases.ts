/** What every implementation of greedy facility location must do. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { referenceCosines } from '../../src/similarity/reference.ts'
import type { Vectors } from '../../src/similarity/vectors.ts'
import type { Order } from '../../src/submodular/lazy-greedy.ts'
import { facilityLocation, greedy, optimum } from '../../src/submodular/reference.ts'
import { clustered, lattice, vectorsOf } from '../similarity/vectors.ts'

export interface Implementation {
  name: string
  order(vectors: Vectors, picks?: number): Promise<Order>
}

/** Vectors with many ties, with duplicates, or in clusters. */
export const someVectors = (most: number) =>
  fc
    .record({
      ...{ n: fc.integer({ min: 1, max: most }), d: fc.integer({ min: 1, max: 9 }), seed: fc.nat(10_000) },
      exact: fc.boolean(),
    })
    .map(({ n, d, seed, exact }) =>
      exact ? lattice(n, d, seed, 1) : clustered(n, d, { seed, clusters: 4, spread: 0.7 }),
    )

const close = (values: ArrayLike<number>) => Array.from(values, (value) => expect.closeTo(value, 3))

export function greedyCases({ name, order }: Implementation): void {
  describe(`facility location, ${name}`, () => {
    it('picks what covers most, then what covers most of the rest', async () => {
      const { rows, gains } = await order(
        vectorsOf([
          [1, 0],
          [0.8, 0.6],
          [0, 1],
        ]),
      )
      expect([...rows]).toEqual([1, 2, 0])
      expect([...gains]).toEqual(close([0.8 + 1 + 0.6, 0.4, 0.2]))
    })

    it('takes a negative similarity for none', async () => {
      const { rows, gains } = await order(vectorsOf([[1], [-1], [-2], [3], [-1]]))
      expect([...rows]).toEqual([1, 0, 2, 3, 4])
      expect([...gains]).toEqual(close([3, 2, 0, 0, 0]))
    })

    it('goes by row among equals, and leaves rows without a direction to the end', async () => {
      const { rows, gains } = await order(
        vectorsOf([
          [0, 0],
          [0, 2],
          [7, 0],
          [0, 1],
          [1, 0],
        ]),
      )
      expect([...rows]).toEqual([1, 2, 0, 3, 4])
      expect([...gains]).toEqual(close([2, 2, 0, 0, 0]))
    })

    it('takes one row as it is', async () => {
      expect((await order(vectorsOf([[2, 1, 0]]))).rows).toEqual(Uint32Array.of(0))
    })

    it('is plain greedy to the bit: order and gains', async () => {
      await fc.assert(
        fc.asyncProperty(someVectors(24), async (vectors) => {
          const expected = greedy(referenceCosines(vectors), vectors.n, vectors.n)
          const { rows, gains } = await order(vectors)
          expect([...rows]).toEqual([...expected.rows])
          expect([...gains]).toEqual([...expected.gains])
        }),
        { numRuns: 60 },
      )
    })

    it('never repeats a row, never gains more than before, and picks fewer as a prefix of more', async () => {
      await fc.assert(
        fc.asyncProperty(someVectors(260), fc.nat(300), async (vectors, few) => {
          const { rows, gains } = await order(vectors)
          expect(new Set(rows).size).toBe(vectors.n)
          for (let i = 1; i < vectors.n; i++) expect(gains[i]).toBeLessThanOrEqual(gains[i - 1])
          const shorter = await order(vectors, Math.min(few, vectors.n))
          expect(shorter.rows).toEqual(rows.slice(0, few))
          expect(shorter.gains).toEqual(gains.slice(0, few))
        }),
        { numRuns: 25 },
      )
    })

    it('reaches 1 - 1/e of the best set of every size, and its gains add up to its value', async () => {
      await fc.assert(
        fc.asyncProperty(someVectors(9), async (vectors) => {
          const { n } = vectors
          const cosines = referenceCosines(vectors)
          const { rows, gains } = await order(vectors)
          for (let size = 1; size <= n; size++) {
            const value = facilityLocation(cosines, n, rows.subarray(0, size))
            expect(value).toBeGreaterThanOrEqual((1 - 1 / Math.E) * optimum(cosines, n, size))
            expect(gains.subarray(0, size).reduce((a, b) => a + b)).toBeCloseTo(value, 9)
          }
        }),
        { numRuns: 25 },
      )
    })
  })
}
