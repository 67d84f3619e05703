/**
 * How often equal methods are told apart, and how often unequal ones are: `node bench/statistics.ts [trials]`.
 * Differences are mean + effect of the seed + effect of the row + noise. The effect of a seed is in units of the noise of a seed's mean, noise /
 * sqrt(rows); the effect of a row in units of the noise.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { compareWith, pairedBootstrap } from '../src/evaluation/statistics.ts'
import { studentQuantile } from '../src/evaluation/student.ts'
import { randomStream } from '../src/random/philox.ts'

const trials = Number(process.argv[2] ?? 1000)
const RESAMPLES = 500

interface Condition {
  seeds: number
  rows: number
  seedEffect: number
  rowEffect: number
  /** Of the mean, in units of noise / sqrt(rows). */
  shift: number
  kind: 'normal' | 'exact match'
}

function draw({ seeds, rows, seedEffect, rowEffect, shift, kind }: Condition, id: number): Float64Array[] {
  const stream = randomStream(19, `${seeds} ${rows} ${seedEffect} ${rowEffect} ${shift} ${kind}`, id)
  const unit = 1 / Math.sqrt(rows)
  const effects = () => Float64Array.from({ length: rows }, () => rowEffect * stream.normal())
  if (kind === 'normal') {
    const ofRows = effects()
    return Array.from({ length: seeds }, () => {
      const own = shift * unit + seedEffect * unit * stream.normal()
      return ofRows.map((effect) => own + effect + stream.normal())
    })
  }
  // Both models answer right where a skill of theirs is above the row's difficulty: differences are -1, 0 and 1.
  const difficulty = Float64Array.from({ length: rows }, () => 1.5 * stream.normal())
  const [left, right] = [effects(), effects()]
  return Array.from({ length: seeds }, () => {
    const [a, b] = [seedEffect * unit * stream.normal() + shift * unit, seedEffect * unit * stream.normal()]
    return difficulty.map(
      (hard, row) => Number(a + left[row] + stream.normal() > hard) - Number(b + right[row] + stream.normal() > hard),
    )
  })
}

const excludes = (low: number, high: number) => low > 0 || high < 0

/** Whether each rule tells the differences from none. */
function verdicts(differences: Float64Array[], seed: number): Record<string, boolean> {
  const { mean, low, high } = pairedBootstrap(differences, { seed, resamples: RESAMPLES })
  const means = differences.map((own) => own.reduce((sum, value) => sum + value, 0) / own.length)
  const rowMeans = differences[0].map((_, row) => differences.reduce((sum, own) => sum + own[row], 0) / means.length)
  const error = (values: ArrayLike<number>) => {
    let squares = 0
    for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2
    return Math.sqrt(squares / (values.length - 1) / values.length)
  }
  const ofSeeds = means.length < 2 ? 0 : studentQuantile(0.975, means.length - 1) * error(means)
  const ofRows = studentQuantile(0.975, rowMeans.length - 1) * error(rowMeans)
  const within = (margin: number) => Math.abs(mean) <= margin
  return {
    'rows alone': !within(ofRows),
    bootstrap: excludes(low, high),
    't of seeds': means.length > 1 && !within(ofSeeds),
    'bootstrap and t': excludes(low, high) && !within(ofSeeds),
    compareWith: compareWith(differences, { seed, resamples: RESAMPLES }).distinguishable,
  }
}

const conditions: Condition[] = []
for (const kind of ['normal', 'exact match'] as const)
  for (const seeds of [1, 3, 5])
    for (const rows of kind === 'normal' ? [30, 300] : [300])
      for (const rowEffect of [0, 1])
        for (const seedEffect of seeds === 1 ? [0] : [0, 0.5, 1, 2, 5])
          conditions.push({ seeds, rows, seedEffect, rowEffect, shift: 0, kind })
for (const seeds of [3, 5, 10])
  for (const seedEffect of [0, 1])
    for (const shift of [2, 4]) conditions.push({ seeds, rows: 300, seedEffect, rowEffect: 1, shift, kind: 'normal' })

const results = conditions.map((condition) => {
  const counts: Record<string, number> = {}
  for (let id = 0; id < trials; id++)
    for (const [rule, told] of Object.entries(verdicts(draw(condition, id), id)))
      counts[rule] = (counts[rule] ?? 0) + Number(told)
  const rates = Object.fromEntries(Object.entries(counts).map(([rule, count]) => [rule, count / trials]))
  console.log(JSON.stringify(condition), JSON.stringify(rates))
  return { ...condition, rates }
})
const differences = Array.from(
  { length: 5 },
  (_, id) => draw({ seeds: 1, rows: 10_000, seedEffect: 0, rowEffect: 1, shift: 0, kind: 'normal' }, id)[0],
)
const start = performance.now()
compareWith(differences, { seed: 1 })
const seconds = (performance.now() - start) / 1000
console.log(`5 seeds, 10,000 rows, 10,000 resamples: ${seconds.toFixed(2)} s`)
mkdirSync('bench/results', { recursive: true })
writeFileSync(
  'bench/results/statistics.json',
  `${JSON.stringify({ trials, resamples: RESAMPLES, results, seconds }, null, 2)}\n`,
)
