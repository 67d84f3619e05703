import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planTextBatches } from '../../src/embedding/batches.ts'

const planOf = (lengths: number[], tokensPerBatch: number, overhead?: number) => {
  const { batches, ...rest } = planTextBatches(lengths, { tokensPerBatch, overhead })
  return { batches: batches.map(({ rows, length }) => [[...rows], length]), ...rest }
}

/** Least cost over all ways to cut the sorted lengths, batches of any size, by trying each. */
function leastCost(sorted: readonly number[], tokensPerBatch: number, overhead: number): number {
  if (sorted.length === 0) return 0
  let least = Number.POSITIVE_INFINITY
  for (let count = 1; count <= sorted.length; count++) {
    if (count > 1 && count * sorted[0] > tokensPerBatch) break
    least = Math.min(least, count * sorted[0] + overhead + leastCost(sorted.slice(count), tokensPerBatch, overhead))
  }
  return least
}

describe('batches of texts', () => {
  it('run from long to short and do not pad where the difference costs more than a batch', () => {
    expect(planOf([3, 500, 4, 3], 1000, 64)).toEqual({
      batches: [
        [[1], 500],
        [[2, 0, 3], 4],
      ],
      tokens: 510,
      padded: 512,
    })
  })

  it('pad where a batch would cost more', () => {
    expect(planOf([10, 9, 8], 1000, 64).batches).toEqual([[[0, 1, 2], 10]])
    expect(planOf([10, 9, 8], 1000, 0).batches.length).toBe(3)
  })

  it('are of nearly equal size', () => {
    const { batches } = planTextBatches(Array(101).fill(10), { tokensPerBatch: 1000 })
    expect(batches.map(({ rows }) => rows.length)).toEqual([50, 51])
  })

  it('leave out texts without tokens, and none is needed for no texts', () => {
    expect(planOf([0, 5, 0], 100).batches).toEqual([[[1], 5]])
    expect(planOf([], 100)).toEqual({ batches: [], tokens: 0, padded: 0 })
  })

  it('hold each text once, within the bound, and say what they pad', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 60 }), { maxLength: 80 }),
        fc.integer({ min: 1, max: 200 }),
        (lengths, most) => {
          const { batches, tokens, padded } = planTextBatches(lengths, { tokensPerBatch: most, overhead: 5 })
          const rows = batches.flatMap(({ rows }) => [...rows])
          expect(rows.toSorted((a, b) => a - b)).toEqual([...lengths.keys()].filter((row) => lengths[row] > 0))
          for (const { rows, length } of batches) {
            expect(length).toBe(Math.max(...[...rows].map((row) => lengths[row])))
            if (rows.length > 1) expect(rows.length * length).toBeLessThanOrEqual(most)
          }
          expect(tokens).toBe(lengths.reduce((a, b) => a + b, 0))
          expect(padded).toBe(batches.reduce((sum, { rows, length }) => sum + rows.length * length, 0))
        },
      ),
    )
  })

  it('cost no more than the best cuts of all, where the bound does not bind', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 8 }),
        fc.nat({ max: 20 }),
        (lengths, overhead) => {
          const { batches, padded } = planTextBatches(lengths, { tokensPerBatch: 1000, overhead })
          const sorted = lengths.toSorted((a, b) => b - a)
          expect(padded + overhead * batches.length).toBe(leastCost(sorted, 1000, overhead))
        },
      ),
    )
  })
})
