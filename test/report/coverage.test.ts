import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { coverageOf } from '../../src/report/coverage.ts'
import type { ReportData } from '../../src/report/data.ts'
import { gotdRun } from './target-run.ts'

/** A run of which only the columns matter. */
function run(nearest: number[], selected: number[], targets: number, values?: number[]): Omit<ReportData, 'texts'> {
  return {
    title: 'small',
    command: 'winnow select',
    run: { method: 'got-d', budget: '1', seed: 1, timings: [], versions: {}, inputs: [] },
    rows: { count: nearest.length, lengths: nearest.map(() => 1), selected },
    scores: values && { name: 'calibrated gradient', taken: 'lowest', values },
    target: { rows: targets, files: [], nearest, texts: new Map() },
    warnings: [],
  }
}

describe('coverage of the target', () => {
  it('counts picked rows and candidates at the nearest target row of each', () => {
    const coverage = coverageOf(run([0, 0, 2, 2, 2, 9, -1], [1, 0, 1, 1, 0, 1, 1], 4))!
    expect([...coverage.picks]).toEqual([1, 0, 2, 0])
    expect([...coverage.pool]).toEqual([2, 0, 3, 0])
    expect([coverage.pickedRows, coverage.poolRows, coverage.unreached]).toEqual([3, 5, 2])
    expect([...coverage.order]).toEqual([2, 0, 1, 3])
  })

  it('the busiest tenth is at least one row; its shares are of the pick and of the candidates', () => {
    const { tenth } = coverageOf(run([0, 0, 2, 2, 2], [1, 0, 1, 1, 0], 4))!
    expect(tenth).toEqual({ rows: 1, pick: 2 / 3, pool: 3 / 5 })
  })

  it('neglected rows are those with the fewest picks, among them first those with the most candidates', () => {
    const nearest = [0, 1, 2, 3, 4, 4, 5, 5, 5, 6]
    const picks = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    const coverage = coverageOf(run(nearest, picks, 8))!
    expect(coverage.busiest.map(({ target }) => target)).toEqual([0, 1, 2])
    expect(coverage.neglected.map(({ target }) => target)).toEqual([5, 4, 6])
  })

  it('rows beside a target row are the best picked ones, or the best that were left out where none was picked', () => {
    const nearest = [0, 0, 0, 0, 1, 1, 1]
    const picks = [0, 1, 1, 1, 0, 0, 0]
    const coverage = coverageOf(run(nearest, picks, 2, [-9, 3, 1, 2, Number.NaN, 5, 4]))!
    expect(coverage.busiest.map(({ target, rows }) => [target, [...rows]])).toEqual([
      [0, [2, 3]],
      [1, [6, 5]],
    ])
    expect(coverage.neglected).toEqual([])
  })

  it('every target row is shown at most once, whatever the columns', () => {
    const row = fc.record({ at: fc.integer({ min: -1, max: 9 }), picked: fc.integer({ min: 0, max: 1 }) })
    fc.assert(
      fc.property(fc.array(row, { maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (rows, targets) => {
        const nearest = rows.map(({ at }) => at)
        const picked = rows.map((one) => one.picked)
        const coverage = coverageOf(run(nearest, picked, targets))!
        const shown = [...coverage.busiest, ...coverage.neglected].map(({ target }) => target)
        expect(new Set(shown).size).toBe(shown.length)
        expect(shown).toHaveLength(Math.min(targets, 6))
        expect(coverage.picks.reduce((sum, n) => sum + n, 0)).toBe(coverage.pickedRows)
        for (const one of [...coverage.busiest, ...coverage.neglected]) {
          for (const at of one.rows) expect(nearest[at]).toBe(one.target)
        }
      }),
    )
  })

  it('is not there without nearest target rows', () => {
    const { target, ...data } = gotdRun()
    expect(coverageOf(data)).toBeUndefined()
    expect(coverageOf({ ...data, target: { ...target!, nearest: undefined } })).toBeUndefined()
  })
})
