import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adjustedRand } from '../../src/analysis/agreement.ts'
import { randomStream, shuffle } from '../../src/random/philox.ts'

describe('the adjusted Rand index', () => {
  it('is 1 of groupings that differ in names alone, and that of pairs counted by hand', () => {
    expect(adjustedRand([0, 0, 1, 2], [5, 5, 3, 9])).toBe(1)
    // Pairs together in both: 1; in the first 2, in the second 3; of 10: (1 - 0.6) / (2.5 - 0.6).
    expect(adjustedRand([0, 0, 1, 1, 2], [0, 0, 0, 1, 2])).toBeCloseTo(0.4 / 1.9, 12)
  })

  it('is about 0 of shuffled groupings', () => {
    const of = Uint32Array.from({ length: 600 }, (_, row) => row % 12)
    const index = adjustedRand(of, shuffle(of.slice(), randomStream(1, 'test')))!
    expect(Math.abs(index)).toBeLessThan(0.03)
  })

  it('leaves out rows in no group, and is undefined where chance decides', () => {
    expect(adjustedRand([0, 0, 1, 7, 1], [1, 1, 0, 0, 7], 7)).toBe(1)
    expect(adjustedRand([0, 0, 0], [1, 1, 1])).toBeUndefined()
    expect(adjustedRand([0, 1, 2], [2, 1, 0])).toBeUndefined()
    expect(adjustedRand([], [])).toBeUndefined()
  })

  it('is symmetric and at most 1', () => {
    const labels = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { minLength: 2, maxLength: 40 })
    fc.assert(
      fc.property(labels, (pairs) => {
        const [a, b] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)]
        const index = adjustedRand(a, b)
        expect(adjustedRand(b, a)).toBe(index)
        if (index !== undefined) expect(index).toBeLessThanOrEqual(1 + 1e-12)
      }),
    )
  })
})
