import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ReportData } from '../../src/report/data.ts'
import { leastRows, leftReasons, rankRows } from '../../src/report/ranking.ts'
import { gotdRun, taptRun } from './target-run.ts'

describe('leastRows', () => {
  it('is the head of a stable sort, NaN left out', () => {
    const keys = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(Number.NaN)), { maxLength: 40 })
    fc.assert(
      fc.property(keys, fc.integer({ min: 1, max: 6 }), (all, limit) => {
        const sorted = [...all.keys()].filter((row) => !Number.isNaN(all[row])).sort((a, b) => all[a] - all[b] || a - b)
        expect([...leastRows(all.length, limit, (row) => all[row])]).toEqual(sorted.slice(0, limit))
      }),
    )
  })
})

describe('rows shown by their scores', () => {
  /** Rows 0-9 with scores 0, 0.1, …: 0-3 picked but for 2; 7 has no score, 8 is of a domain that was dropped, 9 repeats. */
  const data: Omit<ReportData, 'texts'> = {
    title: 'ten',
    command: 'winnow select',
    run: { method: 'got-d', budget: '3', seed: 1, timings: [], versions: {}, inputs: [] },
    rows: {
      count: 10,
      lengths: new Uint32Array(10).fill(1),
      selected: [1, 1, 0, 1, 0, 0, 0, 0, 0, 0],
      source: { codes: [0, 0, 0, 0, 0, 0, 0, 0, 1, 0], names: ['near', 'far'] },
    },
    scores: {
      name: 'calibrated gradient',
      taken: 'lowest',
      values: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, Number.NaN, Number.NaN, 0.05],
      candidates: [1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
      boundary: 0.3,
    },
    domains: {
      rows: [
        { name: 'near', rows: 9, distance: 0.1, kept: true, selected: 3 },
        { name: 'far', rows: 1, distance: 0.9, kept: false, selected: 0 },
      ],
    },
    warnings: [],
  }

  it('are the best, the edge on both sides, and others by why they were left out', () => {
    const ranked = rankRows(data)!
    expect([...ranked.best]).toEqual([0, 1, 3])
    expect([...ranked.last]).toEqual([])
    expect([...ranked.next]).toEqual([4, 5, 6])
    expect(ranked.left.map(({ reason, count, rows }) => [reason, count, [...rows]])).toEqual([
      ['score', 3, []],
      ['passed', 1, [2]],
      ['unscored', 1, [7]],
      ['domain', 1, [8]],
      ['duplicate', 1, [9]],
    ])
  })

  it('have a place among the candidates with a score: 1 + those that are strictly better', () => {
    const { places, scored } = rankRows(data)!
    expect(scored).toBe(7)
    expect([...places].sort(([a], [b]) => a - b)).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
      [5, 6],
      [6, 7],
    ])
  })

  it('are taken from the other end where the highest are picked', () => {
    const values = Array.from(data.scores!.values, (value) => -value)
    const scores = { ...data.scores!, values, taken: 'highest' as const, boundary: -0.3 }
    expect(rankRows({ ...data, scores })).toEqual(rankRows(data))
  })

  it('without a boundary, no row was passed over', () => {
    const reason = leftReasons({ ...data, scores: { ...data.scores!, boundary: undefined } })
    expect([2, 4, 7, 8, 9].map(reason)).toEqual(['score', 'score', 'unscored', 'domain', 'duplicate'])
  })

  it('are each in one place, on the side they belong to, and follow from the seed', () => {
    const run = gotdRun()
    const ranked = rankRows(run)!
    const { best, last, next, left } = ranked
    const others = [...next, ...left.flatMap(({ rows }) => [...rows])]
    expect(new Set([...best, ...last, ...others]).size).toBe(best.length + last.length + others.length)
    for (const row of [...best, ...last]) expect(run.rows.selected[row]).toBe(1)
    for (const row of others) expect(run.rows.selected[row]).toBe(0)
    expect(left.map(({ reason }) => reason)).toEqual(['score', 'passed', 'domain', 'duplicate'])
    expect(left.reduce((sum, { count }) => sum + count, 0)).toBe(1400)
    expect(rankRows(gotdRun())).toEqual(ranked)
    expect(rankRows({ ...run, run: { ...run.run, seed: 8 } })!.left).not.toEqual(left)
  })

  it('of an order of picking are the first, the last, and some that have no place', () => {
    const ranked = rankRows(taptRun())!
    expect(ranked.scored).toBe(100)
    expect([...ranked.best].map((row) => ranked.places.get(row))).toEqual([1, 2, 3, 4])
    expect([...ranked.last].map((row) => ranked.places.get(row))).toEqual([100, 99, 98])
    expect(ranked.next).toHaveLength(0)
    expect(ranked.left.map(({ reason, rows }) => [reason, rows.length])).toEqual([['unscored', 3]])
  })
})
