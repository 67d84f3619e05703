import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maybeBrokenRow, normaliseRows, type Pooling, pool } from '../../src/embedding/pooling.ts'
import { largestDifference } from './vectors.ts'

/** Two rows of three places, d = 2; the second row has two tokens, and what stands behind them is no number. */
const states = Float32Array.of(1, 2, 3, 4, 5, 9, 10, 20, 40, 80, Number.NaN, Number.NaN)

describe('pooling', () => {
  it.each([
    ['mean', [3, 5, 25, 50]],
    ['cls', [1, 2, 10, 20]],
    ['last', [5, 9, 40, 80]],
    ['weighted-mean', [22 / 6, 37 / 6, 30, 60]],
  ] as const)('%s sees the tokens of each row and nothing of the padding', (pooling, vectors) => {
    const found = pool(pooling, { states, length: 3, dimensions: 2, tokens: [3, 2] })
    expect(largestDifference(found, vectors)).toBeLessThan(1e-12)
  })

  it('of one token is that token, and of equal tokens one of them', () => {
    const poolings: Pooling[] = ['mean', 'cls', 'last', 'weighted-mean']
    fc.assert(
      fc.property(
        fc.constantFrom(...poolings),
        fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 6 }),
        (pooling, token, count) => {
          const repeated = Float32Array.from(Array(count).fill(token).flat())
          const found = pool(pooling, { states: repeated, length: count, dimensions: token.length, tokens: [count] })
          expect(largestDifference(found, token)).toBeLessThan(1e-9)
        },
      ),
    )
  })
})

describe('rows of vectors', () => {
  it('are scaled to length 1, zeros left', () => {
    expect([...normaliseRows(Float64Array.of(3, 4, 0, 0, 0, -2), 2)]).toEqual([0.6000000000000001, 0.8, 0, 0, 0, -1])
  })

  it('that are not finite are found', () => {
    expect(maybeBrokenRow(Float64Array.of(1, 2, 3, Number.NaN), 2)).toBe(1)
    expect(maybeBrokenRow(Float64Array.of(1, Number.NEGATIVE_INFINITY, 3, 4), 2)).toBe(0)
    expect(maybeBrokenRow(Float64Array.of(1, 2), 2)).toBeUndefined()
  })
})
