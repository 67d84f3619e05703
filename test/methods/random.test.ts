import { expect, test } from 'vitest'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { random } from '../../src/methods/random.ts'
import { signal } from '../../src/signals/signal.ts'

const draw = (rows: number, budget: ResolvedBudget, seed: number, signals = {}) =>
  random.select({ rows, budget, signals, options: {}, seed }).selected

test('random takes every row equally often', () => {
  const times = new Float64Array(40)
  const seeds = 4000
  for (let seed = 0; seed < seeds; seed++) for (const row of draw(40, { unit: 'rows', rows: 10 }, seed)) times[row]++
  for (const count of times) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(seeds * 0.25 * 0.75))
})

test('random with a smaller budget is a subset of random with a larger one', () => {
  const larger = new Set(draw(500, { unit: 'rows', rows: 200 }, 9))
  for (const row of draw(500, { unit: 'rows', rows: 50 }, 9)) expect(larger.has(row)).toBe(true)
})

test('random by tokens draws long and short rows alike', () => {
  // Half the rows are ten times longer: a draw in random order has about as many of each.
  const tokens = signal(
    'tokens',
    Uint32Array.from({ length: 2000 }, (_, row) => (row < 1000 ? 100 : 1000)),
  )
  const selected = draw(2000, { unit: 'tokens', tokens: 220_000 }, 4, { tokens })
  const long = selected.filter((row) => row >= 1000).length
  expect(Math.abs(long - (selected.length - long))).toBeLessThan(5 * Math.sqrt(selected.length))
})

test('random never draws a row without tokens, and says where too few are left', () => {
  const tokens = signal(
    'tokens',
    Uint32Array.from({ length: 20 }, (_, row) => (row % 4 === 0 ? 0 : 10)),
  )
  for (const budget of [{ unit: 'rows', rows: 20 } as const, { unit: 'tokens', tokens: 200 } as const]) {
    const { selected, columns, groups, notices } = random.select({
      ...{ rows: 20, budget, options: {}, seed: 2 },
      signals: { tokens },
    })
    expect(Array.from(selected)).toEqual(Array.from({ length: 20 }, (_, row) => row).filter((row) => row % 4 !== 0))
    expect(columns.weight[1]).toBe(1)
    expect(groups).toEqual([{ id: 0, rows: 15, selected: 15 }])
    expect(notices.map(({ code, rows }) => [code, rows])).toEqual(budget.unit === 'rows' ? [['under-filled', 5]] : [])
  }
})
