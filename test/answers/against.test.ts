import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { differences } from '../../src/answers/against.ts'
import type { ScoredLine } from '../../src/answers/lines.ts'

const lines = (test: string, values: (number | null)[], score = 'exact-match', reference?: string): ScoredLine[] =>
  values.map((value, row) => ({ test, row, ...(reference && { reference }), scores: { [score]: value } }))

const told = (own: ScoredLine[], other: ScoredLine[], seed = 0) => differences(own, other, { seed, name: 'other' })

describe('differences of two models', () => {
  it('are means over the same rows, by test and over all tests, each counted once', () => {
    const own = [...lines('a', [100, 100, 0, 100]), ...lines('b', [0, 100])]
    const other = [...lines('b', [0, 0]), ...lines('a', [0, 100, 0, 0])]
    const found = told(own, other)
    expect(found.map(({ test, rows, own: ours, other: theirs, mean }) => [test, rows, ours, theirs, mean])).toEqual([
      ['a', 4, 75, 25, 50],
      ['b', 2, 50, 0, 50],
      [null, 6, 62.5, 12.5, 50],
    ])
    // Fewer than 6 rows tell nothing apart.
    expect(found[0]).toMatchObject({ distinguishable: false, better: null })
  })

  it('say which is better where the interval leaves out 0, by the direction of the score', () => {
    const many = (value: number) => Array.from({ length: 40 }, (_, i) => value + (i % 3))
    const [{ mean, low, high, better }] = told(lines('a', many(5)), lines('a', many(4)))
    for (const value of [mean, low, high]) expect(value).toBeCloseTo(1, 9)
    expect(better).toBe('own')
    expect(told(lines('a', many(5), 'nll'), lines('a', many(4), 'nll'))[0].better).toBe('other')
    expect(told(lines('a', many(5)), lines('a', many(5)))[0]).toMatchObject({ mean: 0, better: null })
  })

  it('leave out rows that either has no score for', () => {
    const found = told(lines('a', [3, null, 1, 2], 'nll'), lines('a', [2, 1, null, 2], 'nll'))
    expect(found).toMatchObject([{ score: 'nll', rows: 2, mean: 0.5 }])
  })

  it('turn about with the models', () => {
    const scores = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })), {
      ...{ minLength: 6, maxLength: 12 },
    })
    fc.assert(
      fc.property(scores, (both) => {
        const [own, other] = [0, 1].map((side) =>
          lines(
            'a',
            both.map((pair) => pair[side]),
          ),
        )
        const [there, back] = [told(own, other)[0], told(other, own)[0]]
        expect(there.mean).toBeCloseTo(-back.mean, 9)
        expect(there.low).toBeLessThanOrEqual(there.mean + 1e-9)
        expect(there.high).toBeGreaterThanOrEqual(there.mean - 1e-9)
        expect(there.own).toBe(back.other)
      }),
      { numRuns: 5 },
    )
  })

  it('are refused where rows, references or scores are not the same', () => {
    const own = lines('a', [1, 2], 'nll', 'yes')
    expect(() => told(own, lines('a', [1], 'nll'))).toThrow(/other has no scores of row 1 of the test set a/)
    expect(() => told(own, lines('b', [1, 2], 'nll'))).toThrow(/row 0 of the test set a/)
    expect(() => told(own, lines('a', [1, 2], 'nll', 'no'))).toThrow(
      /measured by another answer.*found no.*expected yes/,
    )
    expect(() => told(own, lines('a', [1, 2], 'bleu'))).toThrow(/none of the scores.*found bleu/)
  })
})
