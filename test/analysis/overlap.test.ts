import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expectedOverlap, jaccard, overlapTable, sharedRows } from '../../src/analysis/overlap.ts'

const pick = fc.uniqueArray(fc.nat(60)).map((rows) => Uint32Array.from(rows).sort())

describe('the overlap of two picks', () => {
  it('is the share of rows of either that are in both', () => {
    const [a, b] = [Uint32Array.of(1, 3, 5, 7), Uint32Array.of(3, 4, 5)]
    expect(sharedRows(a, b)).toBe(2)
    expect(jaccard(a, b)).toBeCloseTo(2 / 5, 12)
    expect(jaccard(a, new Uint32Array())).toBe(0)
    expect(jaccard(new Uint32Array(), new Uint32Array())).toBe(1)
  })

  it('agrees with sets, is symmetric, and is 1 of a pick with itself', () => {
    fc.assert(
      fc.property(pick, pick, (a, b) => {
        const union = new Set([...a, ...b]).size
        const shared = [...a].filter((row) => b.includes(row)).length
        expect(sharedRows(a, b)).toBe(shared)
        expect(jaccard(a, b)).toBe(union === 0 ? 1 : shared / union)
        expect(jaccard(b, a)).toBe(jaccard(a, b))
        expect(jaccard(a, a)).toBe(1)
      }),
    )
  })
})

/** Every subset of {0 .. rows-1} of this size. */
function subsets(rows: number, size: number, from = 0): number[][] {
  if (size === 0) return [[]]
  return Array.from({ length: Math.max(0, rows - from) }, (_, i) => from + i).flatMap((first) =>
    subsets(rows, size - 1, first + 1).map((rest) => [first, ...rest]),
  )
}

describe('what random picks share', () => {
  it.each([
    [7, 3, 4],
    [7, 5, 6],
    [8, 2, 2],
    [6, 6, 3],
    [5, 0, 3],
  ])('is the mean over every pair of picks: of %i rows, %i and %i', (rows, a, b) => {
    const first = Uint32Array.from({ length: a }, (_, row) => row)
    const all = subsets(rows, b).map((other) => Uint32Array.from(other))
    const mean = (of: (other: Uint32Array) => number) => all.reduce((sum, one) => sum + of(one), 0) / all.length
    const expected = mean((other) => jaccard(first, other))
    const found = expectedOverlap(rows, a, b)
    expect(found.jaccard).toBeCloseTo(expected, 12)
    expect(found.shared).toBeCloseTo(
      mean((other) => sharedRows(first, other)),
      12,
    )
    expect(found.deviation).toBeCloseTo(Math.sqrt(mean((other) => (jaccard(first, other) - expected) ** 2)), 8)
  })

  it('stays finite for a pool of millions', () => {
    const { jaccard: mean, deviation } = expectedOverlap(5_000_000, 500_000, 1_000_000)
    expect(mean).toBeCloseTo(100_000 / 1_400_000, 5)
    expect(deviation).toBeGreaterThan(0)
    expect(deviation).toBeLessThan(0.001)
  })

  it('cannot be asked of picks larger than the pool', () => {
    expect(() => expectedOverlap(5, 6, 1)).toThrow(RangeError)
  })
})

describe('the table of several picks', () => {
  it('has every two beside what random ones would share', () => {
    const picks = [
      { name: 'a', rows: Uint32Array.of(0, 1) },
      { name: 'b', rows: Uint32Array.of(1, 2, 3) },
    ]
    const table = overlapTable(4, picks)
    expect(table).toMatchObject({
      names: ['a', 'b'],
      sizes: [2, 3],
      shared: [
        [2, 1],
        [1, 3],
      ],
    })
    expect(table.jaccard).toEqual([
      [1, 0.25],
      [0.25, 1],
    ])
    expect(table.expected[0][1]).toBe(expectedOverlap(4, 2, 3).jaccard)
    expect(table.expected[0][0]).toBe(1)
  })
})
