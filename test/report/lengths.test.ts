import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lengthHistogram } from '../../src/report/lengths.ts'

const countsOf = (lengths: readonly number[], slots = Math.max(0, ...lengths) + 1) => {
  const counts = new Float64Array(slots)
  for (const length of lengths) counts[length]++
  return counts
}

describe('lengthHistogram', () => {
  it('has shares that sum to 1 in at most 40 bins of a round width, whatever the lengths', () => {
    const lengths = fc.array(fc.oneof(fc.nat(60), fc.nat(5000)), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(lengths, (all) => {
        const pool = countsOf(all)
        const picked = countsOf(all.slice(0, Math.ceil(all.length / 3)), pool.length)
        const histogram = lengthHistogram(pool, picked)
        expect(histogram.pool.length).toBeLessThanOrEqual(40)
        expect(String(histogram.width)).toMatch(/^[125]0*$/)
        for (const shares of [histogram.pool, histogram.picked]) {
          expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9)
        }
        const end = histogram.width * histogram.pool.length
        expect(histogram.beyond).toBe(all.filter((length) => length >= end).length)
        expect(histogram.beyond).toBeLessThanOrEqual(0.01 * all.length)
      }),
    )
  })

  it('is not squeezed by one long row', () => {
    const all = [...Array.from({ length: 999 }, (_, i) => i % 50), 40_000]
    const histogram = lengthHistogram(countsOf(all), countsOf([], 40_001))
    expect(histogram).toMatchObject({ width: 2, beyond: 1 })
    expect(histogram.pool).toHaveLength(25)
    expect(histogram.picked.every((share) => share === 0)).toBe(true)
  })
})
