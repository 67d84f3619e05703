/**
 * Whether a method is better than another: a bootstrap of paired differences in which training seeds are the unit, and
 * the verdict that a comparison prints.
 */

import { WinnowError } from '../errors.ts'
import { randomStream, randomWords } from '../random/philox.ts'
import { studentQuantile } from './student.ts'

export interface Interval {
  mean: number
  low: number
  high: number
}

export interface BootstrapOptions {
  /** Integer in [0, 2^53). */
  seed: number
  /** Default 10,000. */
  resamples?: number
  /** Default 0.95. */
  level?: number
}

export interface Comparison extends Interval {
  /** Whether the interval leaves out 0. */
  distinguishable: boolean
  seeds: number
  rows: number
}

/**
 * Percentile interval of the mean of differences[seed][row]: the score of a method minus that of another, with the same
 * training seed on the same test row. A resample draws seeds with replacement and, independently, test rows with
 * replacement, the same rows for all seeds, since all seeds were tested on the same ones (the pigeonhole bootstrap:
 * Owen 2007, "The pigeonhole bootstrap"):
 *
 *     mean* = 1/(S R) sum_s sum_r m_s n_r d[s][r],   m ~ Multinomial(S, 1/S), n ~ Multinomial(R, 1/R)
 *
 * With one seed only rows are drawn: the interval then says nothing of the noise of training. With few seeds it is too
 * narrow, for S seeds show only (S - 1)/S of their variance and no tails; `compareWith` mends that.
 *
 * Deterministic in the differences and `seed`. O(resamples rows), and O(resamples rows seeds) with many seeds.
 *
 * @throws {WinnowError} `bad-differences` where seeds have unlike numbers of rows, or none, or a difference is not finite;
 * `bad-option` for a level outside (0, 1) or fewer than 100 resamples.
 */
export function pairedBootstrap(differences: readonly Float64Array[], options: BootstrapOptions): Interval {
  const { seed, resamples = 10_000, level = 0.95 } = options
  const { seeds, rows } = shapeOf(differences)
  refuseOptions(resamples, level)
  const means = new Float64Array(resamples)
  const combined = new Float64Array(rows)
  const words = new Uint32Array(rows)
  const toRow = rows / 2 ** 32
  for (const [draw, ids] of drawnSeeds(seeds, seed, resamples)) {
    // With few seeds most resamples have drawn the same ones: their rows are combined once.
    combined.fill(0)
    for (let s = 0; s < seeds; s++) {
      const times = draw[s]
      const own = differences[s]
      if (times > 0) for (let row = 0; row < rows; row++) combined[row] += times * own[row]
    }
    for (const id of ids) {
      randomWords(seed, 'bootstrap-rows', id, words)
      let sum = 0
      for (let j = 0; j < rows; j++) sum += combined[Math.floor(words[j] * toRow)]
      means[id] = sum / (seeds * rows)
    }
  }
  means.sort()
  const tail = (1 - level) / 2
  return { mean: meanOf(differences), low: quantile(means, tail), high: quantile(means, 1 - tail) }
}

/**
 * The verdict on a method against another. The paired bootstrap is too narrow with few units, so the interval is widened to hold mean +- margin
 * too, which has Student's t for the few of each kind:
 *
 *     margin^2 = t(S - 1)^2 s_seeds^2 / S + t(R - 1)^2 s_rows^2 / R
 *
 * with the variances s^2 of the seeds' means and of the rows' means. (That a sum of squared margins is wide enough for a sum of independent
 * effects is Banerjee 1961, "On confidence interval for two-means problem based on separate estimates of variances and tabulated values of t".)
 * The two are distinguishable where the interval leaves out 0: docs/decisions/0019-paired-comparison.md has how often that happens to equal methods.
 * Fewer rows than a sign test could tell apart at this level (6 at 0.95) are never distinguishable.
 *
 * One seed alone says how sure the test rows are, and nothing of what another seed would have given: the first term is then 0.
 *
 * Deterministic; cost and errors as `pairedBootstrap`.
 */
export function compareWith(differences: readonly Float64Array[], options: BootstrapOptions): Comparison {
  const { level = 0.95 } = options
  const { mean, low, high } = pairedBootstrap(differences, options)
  const { seeds, rows } = shapeOf(differences)
  const margin = Math.hypot(
    studentMargin(
      differences.map((own) => sumOf(own) / rows),
      level,
    ),
    studentMargin(rowMeans(differences), level),
  )
  const interval = { mean, low: Math.min(low, mean - margin), high: Math.max(high, mean + margin) }
  const enoughRows = 2 ** (1 - rows) <= 1 - level
  return { ...interval, distinguishable: enoughRows && (interval.low > 0 || interval.high < 0), seeds, rows }
}

/** t(df, level) s / sqrt(n) of independent values; 0 for one value, which has no spread. */
function studentMargin(values: ArrayLike<number>, level: number): number {
  const n = values.length
  if (n < 2) return 0
  let mean = 0
  for (let i = 0; i < n; i++) mean += values[i] / n
  let squares = 0
  for (let i = 0; i < n; i++) squares += (values[i] - mean) ** 2
  return studentQuantile(1 - (1 - level) / 2, n - 1) * Math.sqrt(squares / (n - 1) / n)
}

/** How often each seed was drawn, and the ids of the resamples that drew them so often. */
function drawnSeeds(seeds: number, seed: number, resamples: number): Iterable<[Uint32Array, number[]]> {
  const groups = new Map<string, [Uint32Array, number[]]>()
  for (let id = 0; id < resamples; id++) {
    const draw = new Uint32Array(seeds)
    const stream = randomStream(seed, 'bootstrap-seeds', id)
    for (let i = 0; i < seeds; i++) draw[stream.below(seeds)]++
    const key = draw.join()
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [draw, [id]])
    else group[1].push(id)
  }
  return groups.values()
}

/** Quantile of sorted values, linear between order statistics. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}

function sumOf(values: Float64Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  return sum
}

function meanOf(differences: readonly Float64Array[]): number {
  let sum = 0
  for (const own of differences) sum += sumOf(own)
  return sum / (differences.length * differences[0].length)
}

function rowMeans(differences: readonly Float64Array[]): Float64Array {
  const means = new Float64Array(differences[0].length)
  for (const own of differences) for (let row = 0; row < means.length; row++) means[row] += own[row]
  for (let row = 0; row < means.length; row++) means[row] /= differences.length
  return means
}

function shapeOf(differences: readonly Float64Array[]): { seeds: number; rows: number } {
  const bad = (message: string, found: string, expected: string) =>
    new WinnowError('usage', { code: 'bad-differences', message, path: 'differences', found, expected })
  const seeds = differences.length
  const rows = differences[0]?.length ?? 0
  if (rows === 0) throw bad('there are no differences to resample', `${seeds} seeds, ${rows} rows`, 'at least one')
  for (const [index, own] of differences.entries()) {
    if (own.length !== rows)
      throw bad(`seed ${index} has not the rows of seed 0`, `${own.length} rows`, `${rows}, the same for every seed`)
    const row = own.findIndex((value) => !Number.isFinite(value))
    if (row >= 0) throw bad(`row ${row} of seed ${index} is no number`, String(own[row]), 'finite differences')
  }
  return { seeds, rows }
}

function refuseOptions(resamples: number, level: number): void {
  const bad = (path: string, message: string, expected: string) =>
    new WinnowError('usage', { code: 'bad-option', message, path, expected })
  if (!(Number.isSafeInteger(resamples) && resamples >= 100 && resamples <= 2 ** 24))
    throw bad('resamples', `${resamples} resamples give no interval`, 'a whole number from 100 to 16,777,216')
  if (!(level > 0 && level < 1)) throw bad('level', `${level} is no level of an interval`, 'a number between 0 and 1')
}
