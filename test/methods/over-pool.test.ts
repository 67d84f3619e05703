import { describe, expect, test } from 'vitest'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { facilityLocation } from '../../src/methods/facility-location.ts'
import { kCenter } from '../../src/methods/k-center.ts'
import type { Method } from '../../src/methods/method.ts'
import { parseOptions } from '../../src/methods/options.ts'
import { semdedup } from '../../src/methods/semdedup.ts'
import { readsTarget } from '../../src/pipeline/target-options.ts'
import { type Signals, signal } from '../../src/signals/signal.ts'

const byRows = (rows: number): ResolvedBudget => ({ unit: 'rows', rows })
const byTokens = (tokens: number): ResolvedBudget => ({ unit: 'tokens', tokens })

function select(method: Method, signals: Signals, budget: ResolvedBudget, given: object = {}, rows?: number) {
  const options = parseOptions(method, { ...given })
  return method.select({ rows: rows ?? Object.values(signals)[0]!.rows, budget, signals, options, seed: 1 })
}

const order = [3, -1, 0, 2, 1, 4]
const tokens = signal('tokens', Uint32Array.of(5, 0, 9, 2, 3, 4))

describe.each([
  [
    facilityLocation,
    {
      coverage: signal('coverage', Int32Array.from(order)),
      gain: signal('gain', Float64Array.of(1, Number.NaN, 3, 1, 2, 0)),
    },
  ],
  [
    kCenter,
    {
      spread: signal('spread', Int32Array.from(order)),
      spread_distance: signal('spread_distance', Float64Array.of(0.2, Number.NaN, Number.NaN, 0.4, 0.9, 0.1)),
    },
  ],
])('$name', (method, signals) => {
  test('takes rows in order, fewer as a subset of more', () => {
    expect([...select(method, signals, byRows(2)).selected]).toEqual([2, 4])
    expect([...select(method, signals, byRows(4)).selected]).toEqual([0, 2, 3, 4])
  })

  test('fills tokens in order, then with later rows that fit', () => {
    const { selected, tokens: count } = select(method, { ...signals, tokens }, byTokens(13))
    // 9 + 3, and no more than 1 left.
    expect([...selected]).toEqual([2, 4])
    expect(count).toBe(12)
    expect([...select(method, { ...signals, tokens }, byTokens(8)).selected]).toEqual([3, 4])
  })

  test('says how many rows have no place where the budget is not filled', () => {
    const { notices } = select(method, signals, byRows(6))
    expect(notices).toMatchObject([{ code: 'under-filled', rows: 1 }])
    expect(notices[0].message).toContain('1 rows are without a vector or tokens')
  })

  test('reads vectors of the pool and no target, of the checkpoint that was asked for', () => {
    const needs = method.needs(parseOptions(method, { checkpoint: 'early' }), 'rows')
    expect(readsTarget(needs)).toBe(false)
    expect(needs[0]).toEqual({ signal: 'embeddings', normalise: true, only: 'pool', checkpoint: 'early' })
  })
})

test('facility location says when a picked row has to stand for more rows than look at it', () => {
  const rows = 20_000
  const signals = {
    coverage: signal(
      'coverage',
      Int32Array.from({ length: rows }).map((_, row) => row),
    ),
    gain: signal('gain', new Float64Array(rows)),
  }
  expect(select(facilityLocation, signals, byRows(100)).notices).toMatchObject([{ code: 'short-lists' }])
  expect(select(facilityLocation, signals, byRows(100)).notices[0].message).toContain('--neighbours 400')
  expect(select(facilityLocation, signals, byRows(100), { neighbours: '200' }).notices).toEqual([])
  expect(select(facilityLocation, signals, byRows(400)).notices).toEqual([])
})

describe('semdedup', () => {
  const { NaN: none } = Number
  const signals = {
    redundancy: signal('redundancy', Float64Array.of(0.9, none, 0.5, none, 0.97, 0.5, none)),
    near_to: signal('near_to', Int32Array.of(1, -1, 3, -1, 0, 3, -1)),
    // The last row has no vector.
    cell: signal('cell', Int32Array.of(0, 0, 1, 1, 0, 1, -1)),
    centroid_similarity: signal('centroid_similarity', new Float64Array(7)),
  }

  test('takes the first of each cell, then those that resemble an earlier row least, ties by row', () => {
    expect([...select(semdedup, signals, byRows(2)).selected]).toEqual([1, 3])
    expect([...select(semdedup, signals, byRows(3)).selected]).toEqual([1, 2, 3])
    expect([...select(semdedup, signals, byRows(5)).selected]).toEqual([0, 1, 2, 3, 5])
  })

  test('counts rows and picks of each cell', () => {
    expect(select(semdedup, signals, byRows(3)).groups).toEqual([
      { id: 0, rows: 3, selected: 1 },
      { id: 1, rows: 3, selected: 2 },
    ])
  })

  test('with eps never takes what is nearer than that to an earlier row, and says so', () => {
    const { selected, notices } = select(semdedup, signals, byRows(6), { eps: '0.05' })
    expect([...selected]).toEqual([0, 1, 2, 3, 5])
    expect(notices[0].message).toBe(
      'only 5 rows could be selected; the budget is 6: 2 rows are without a vector or tokens or within eps of another',
    )
  })

  test('with eps 0 takes all, and with any above never an equal vector', () => {
    const equal = { ...signals, redundancy: signal('redundancy', Float64Array.of(1, none, 0.5, none, 1, 0.5, none)) }
    expect([...select(semdedup, equal, byRows(6), { eps: '0' }).selected]).toEqual([0, 1, 2, 3, 4, 5])
    expect([...select(semdedup, equal, byRows(6), { eps: '1e-9' }).selected]).toEqual([1, 2, 3, 5])
  })

  test.each([
    [{ eps: '-1' }, '--eps'],
    [{ cells: '0' }, '--cells'],
    [{ keep: 'soft' }, '--keep'],
  ])('refuses %j', (given, path) => {
    expect(() => parseOptions(semdedup, given)).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code: 'bad-option', path }) }),
    )
  })
})
