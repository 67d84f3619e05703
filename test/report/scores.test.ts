import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ReportScores } from '../../src/report/data.ts'
import { scoreHistogram } from '../../src/report/scores.ts'

const sum = (counts: ArrayLike<number>) => Array.from(counts).reduce((total, n) => total + n, 0)

function histogramOf(values: number[], selected: number[], rest: Partial<ReportScores> = {}) {
  const scores: ReportScores = { name: 'score', taken: 'lowest', values, ...rest }
  return scoreHistogram(scores, { count: values.length, lengths: values, selected })
}

describe('scoreHistogram', () => {
  it('counts every candidate with a score once, in at most 60 bins of a round width', () => {
    const value = fc.oneof(
      fc.double({ noNaN: true, min: -1, max: 1 }),
      fc.double({ noNaN: true, min: -1e6, max: 1e6 }),
      fc.constantFrom(0, 1e-12, -3, 1e9, Number.NaN, Number.POSITIVE_INFINITY),
    )
    const row = fc.record({ value, candidate: fc.nat(1), picked: fc.nat(1) })
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 200 }), (rows) => {
        const members = rows.filter(({ value, candidate }) => candidate && Number.isFinite(value))
        const histogram = histogramOf(
          rows.map(({ value }) => value),
          rows.map(({ picked }) => picked),
          { candidates: rows.map(({ candidate }) => candidate) },
        )
        expect(histogram === undefined).toBe(members.length === 0)
        if (!histogram) return
        const { pool, picked, scored, width, below, above } = histogram
        expect([scored, sum(pool)]).toEqual([members.length, members.length])
        expect(sum(picked)).toBe(members.filter((member) => member.picked).length)
        for (const [bin, count] of pool.entries()) expect(picked[bin]).toBeLessThanOrEqual(count)
        expect(pool.length).toBeGreaterThan(0)
        expect(pool.length).toBeLessThanOrEqual(60)
        expect(width.toExponential()).toMatch(/^[125]e/)
        expect(below + above).toBeLessThan(members.length)
      }),
    )
  })

  it('is not squeezed by a long tail: rows beyond the axis are counted in the outermost bins', () => {
    const values = Array.from({ length: 2000 }, (_, row) => (row % 1000 === 0 ? 1000 + row : (row % 100) / 100))
    const histogram = histogramOf(values, new Array(2000).fill(0))!
    expect(histogram).toMatchObject({ width: 0.02, start: 0, below: 0, above: 2, least: 0, most: 2000 })
    expect(histogram.pool.at(-1)).toBe(42)
  })

  it('shows all of a pick in the far tail, and the boundary', () => {
    const values = Array.from({ length: 10_000 }, (_, row) => (row < 20 ? -50 - row : row / 10_000))
    const histogram = histogramOf(
      values,
      values.map((value) => (value < 0 ? 1 : 0)),
      { boundary: -50 },
    )!
    expect(histogram.start).toBeLessThanOrEqual(-69)
    expect(histogram.below).toBe(0)
    const one = histogramOf([0, 0, 0], [0, 0, 0], { boundary: 7 })!
    expect(one.start + one.width * one.pool.length).toBeGreaterThan(7)
  })

  it('gives equal scores one bin', () => {
    for (const value of [0, -0.25, 123_456_789.123, 1e-9]) {
      const histogram = histogramOf([value, value], [1, 0])!
      expect([[...histogram.pool], [...histogram.picked]]).toEqual([[2], [1]])
      expect(histogram.start).toBeLessThanOrEqual(value)
      expect(histogram.start + histogram.width).toBeGreaterThan(value)
    }
  })
})
