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
