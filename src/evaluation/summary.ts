/** What a comparison comes to: means, differences with intervals, verdicts and costs, as plain JSON. */

import { type CellIndex, indexCells } from './cells.ts'
import {
  type Cell,
  type Comparison,
  type ComparisonMetric,
  type ComparisonTest,
  FULL,
  type MetricName,
  NONE,
  RANDOM,
} from './comparison.ts'
import { type ComparisonCosts, costsOf } from './costs.ts'

export type Verdict = 'better than random' | 'worse than random' | 'not distinguishable from random'

/** What the statistics say of differences paired by seed and test row. */
export interface PairedDifference {
  mean: number
  /** The interval, 95 %. */
  low: number
  high: number
  /** The interval leaves out 0. */
  distinguishable: boolean
  /** Pairs of trained targets, and test rows in each. */
  seeds: number
  rows: number
}

export type Judged = PairedDifference & { verdict: Verdict }

/**
 * `differences[seed][row]`: the score of one minus that of the other, on the same test rows under the same seed. `resamples`
 * of a bootstrap: the function's own default where absent.
 */
export type CompareWith = (
  differences: readonly Float64Array[],
  options: { seed: number; resamples?: number },
) => PairedDifference

export interface Score {
  metric: MetricName
  /** Name of the test; null for the plain average over tests, each counted once whatever its rows. */
  test: string | null
  /** Mean over seeds, in the metric's unit. */
  mean: number
  /** Sample standard deviation over seeds (divided by n - 1); absent for one seed. */
  deviation?: number
  /** The score of each seed of the row. */
  values: number[]
  /** This minus random at the same budget; absent for random itself, for `full` and `none`, and where no seed is in both. */
  toRandom?: Judged
  /** Of `full` and `none`: this minus random at each budget, null where that is not known. */
  toRandomAt?: (Judged | null)[]
  /** This minus the targets trained on the whole pool, and minus the untouched one. */
  toFull?: PairedDifference
  toNone?: PairedDifference
}

/** One method at one budget, over its seeds. */
export interface SummaryRow {
  role: 'method' | 'random' | 'full' | 'none'
  /** The method's label. */
  method: string
  /** Index into the budgets; -1 for `full` and `none`. */
  budget: number
  seeds: number[]
  /** Means over seeds. The loss is that of the last steps of training; absent where nothing was trained. */
  selected: { rows: number; tokens: number }
  training: { steps: number; epochs: number; tokens: number; flops: number; seconds: number; loss?: number }
  /** Of every metric: each test, then the average. */
  scores: Score[]
}

export interface Summary extends Omit<Comparison, 'cells' | 'costs'> {
  /** By budget, then in the order of the methods; `full` and `none` at the end. Rows without a cell are left out. */
  rows: SummaryRow[]
  costs: ComparisonCosts
  /** Cells that were to be there and are not. */
  missing: { method: string; budget: number; seed: number }[]
  /** Of comparisons with random by the first metric, averaged over tests. */
  chance: Chance
}

/** How many verdicts would be given if no method differed from random at all. */
export interface Chance {
  /** Methods x budgets that have a verdict. */
  comparisons: number
  better: number
  worse: number
  /** 5 % of the comparisons: what intervals of 95 % would call better or worse, half of them each. */
  expected: number
}

/** Resamples of the intervals that no headline is about: there are hundreds, over as many rows as all tests have. */
const SECONDARY = 2000

/** Of intervals of 95 %, what share leaves out 0 where nothing differs. */
const CALLED_BY_CHANCE = 0.05

/**
 * Means, spreads, differences and verdicts of a comparison, and its costs.
 *
 * For each method, budget, metric and test: the mean over seeds of the mean over test rows; the deviation over seeds; the
 * differences to `random` at the same budget, to `full` and to `none`, paired by seed and row, with the intervals that
 * `compareWith` gives. Where only one of two has a seed, that seed is left out of their difference and told in `missing`; `none`
 * trains nothing, so that its one cell is paired with every seed. Pure, and deterministic in `comparison` and `seed` (default 0),
 * which is that of the bootstrap. Three bootstraps for each method, budget, metric and test: those that verdicts and headlines are
 * about (to random, by the first metric, averaged over tests) with all its resamples, the others with 2,000.
 *
 * @throws {WinnowError} where a cell is malformed: see `indexCells`.
 */
export function summarise(
  comparison: Comparison,
  { compareWith, seed = 0 }: { compareWith: CompareWith; seed?: number },
): Summary {
  const { cells: _cells, costs: _costs, ...rest } = comparison
  const index = indexCells(comparison)
  const rows = [
    ...comparison.budgets.flatMap((_, budget) => comparison.methods.map(({ label }) => ({ method: label, budget }))),
    ...[FULL, NONE].map((method) => ({ method, budget: -1 })),
  ].flatMap(({ method, budget }) => {
    const cells = index.of(method, budget)
    return cells.length === 0 ? [] : [rowOf(comparison, index, cells, { compareWith, seed })]
  })
  for (const row of rows) if (row.role === 'full' || row.role === 'none') placeReference(comparison, rows, row)
  const { missing } = index
  return {
    ...rest,
    rows,
    costs: costsOf(comparison),
    missing,
    chance: chanceOf(comparison, rows),
  }
}

/** What `full` and `none` are to random at each budget, from what random is to them. */
function placeReference({ budgets, metrics }: Comparison, rows: readonly SummaryRow[], reference: SummaryRow): void {
  const random = budgets.map((_, budget) => rows.find((row) => row.role === 'random' && row.budget === budget))
  for (const [i, score] of reference.scores.entries()) {
    const { better } = metrics.find(({ name }) => name === score.metric)!
    score.toRandomAt = random.map((row) => {
      const other = reference.role === 'full' ? row?.scores[i].toFull : row?.scores[i].toNone
      if (!other) return null
      // 0 - x, as -x would be -0 where nothing differs.
      const turned = { ...other, mean: 0 - other.mean, low: 0 - other.high, high: 0 - other.low }
      return { ...turned, verdict: verdictOf(turned, better) }
    })
  }
}

type Statistics = { compareWith: CompareWith; seed: number }

function rowOf(comparison: Comparison, index: CellIndex, cells: Cell[], statistics: Statistics): SummaryRow {
  const { method, budget } = cells[0]
  const mean = (of: (cell: Cell) => number) => cells.reduce((sum, cell) => sum + of(cell), 0) / cells.length
  const loss = mean(({ training }) => training.loss)
  return {
    role: method === FULL || method === NONE || method === RANDOM ? method : 'method',
    method,
    budget,
    seeds: cells.map((cell) => cell.seed),
    selected: { rows: mean((cell) => cell.selected.rows), tokens: mean((cell) => cell.selected.tokens) },
    training: {
      steps: mean(({ training }) => training.steps),
      epochs: mean(({ training }) => training.epochs),
      tokens: mean(({ training }) => training.tokens),
      flops: mean(({ training }) => training.flops),
      seconds: mean(({ training }) => training.seconds),
      loss: Number.isFinite(loss) ? loss : undefined,
    },
    scores: comparison.metrics.flatMap((metric) => {
      const { tests, metrics } = comparison
      const head = metric === metrics[0]
      const of = (measure: Measure) => scoreOf(measure, cells, index, statistics)
      const each = tests.map((test) => of({ metric, tests: [test], test: test.name, head: head && tests.length === 1 }))
      // The average of one test is that test.
      return [...each, each.length === 1 ? { ...each[0], test: null } : of({ metric, tests, test: null, head })]
    }),
  }
}

/** A metric on one test, or on the average of all; `head`: what verdicts and headlines are about. */
interface Measure {
  metric: ComparisonMetric
  tests: readonly ComparisonTest[]
  test: string | null
  head: boolean
}

function scoreOf(
  { metric, tests, test, head }: Measure,
  cells: readonly Cell[],
  index: CellIndex,
  { compareWith, seed }: Statistics,
): Score {
  const scores = (cell: Cell) => tests.map(({ name }) => cell.scores[metric.name][name])
  const values = cells.map((cell) => meanOf(scores(cell).map(meanOf)))
  const { method, budget } = cells[0]
  const differ = (other: readonly Cell[], resamples?: number): PairedDifference | undefined => {
    const pairs = cells.flatMap((cell) => {
      const paired =
        other.find((one) => one.seed === cell.seed) ?? other.find((one) => one.method === NONE && other.length === 1)
      return paired === undefined ? [] : [pairedDifferences(scores(cell), scores(paired))]
    })
    return pairs.length === 0 ? undefined : compareWith(pairs, { seed, resamples })
  }
  const reference = method === FULL || method === NONE
  const toRandom =
    reference || method === RANDOM ? undefined : differ(index.of(RANDOM, budget), head ? undefined : SECONDARY)
  return {
    metric: metric.name,
    test,
    mean: meanOf(values),
    deviation: values.length > 1 ? deviationOf(values) : undefined,
    values,
    toRandom: toRandom && { ...toRandom, verdict: verdictOf(toRandom, metric.better) },
    toFull: reference ? undefined : differ(index.of(FULL, -1), SECONDARY),
    toNone: method === NONE ? undefined : differ(index.of(NONE, -1), SECONDARY),
  }
}

/**
 * Differences row by row, of all tests one after another, such that their mean is the plain average over tests and their
 * spread that of resampling within each test: with N rows in T tests, n in test t, d' = m + N / (T n) (d - m_t), where m_t is the
 * mean difference of test t and m the average of these.
 */
export function pairedDifferences(ours: readonly Float32Array[], theirs: readonly Float32Array[]): Float64Array {
  const tests = ours.map((scores, t) => Float64Array.from(scores, (score, row) => score - theirs[t][row]))
  if (tests.length === 1) return tests[0]
  const rows = tests.reduce((sum, test) => sum + test.length, 0)
  const means = tests.map(meanOf)
  const average = meanOf(means)
  const joined = new Float64Array(rows)
  let at = 0
  for (const [t, test] of tests.entries())
    for (const difference of test)
      joined[at++] = average + (rows / (tests.length * test.length)) * (difference - means[t])
  return joined
}

function verdictOf({ mean, distinguishable }: PairedDifference, better: 'lower' | 'higher'): Verdict {
  if (!distinguishable || mean === 0) return 'not distinguishable from random'
  return mean < 0 === (better === 'lower') ? 'better than random' : 'worse than random'
}

function chanceOf({ metrics }: Comparison, rows: readonly SummaryRow[]): Chance {
  const verdicts = rows.flatMap((row) => headScore(row, metrics[0].name)?.toRandom?.verdict ?? [])
  const count = (verdict: Verdict) => verdicts.filter((one) => one === verdict).length
  return {
    comparisons: verdicts.length,
    better: count('better than random'),
    worse: count('worse than random'),
    expected: CALLED_BY_CHANCE * verdicts.length,
  }
}

function headScore(row: SummaryRow, metric: MetricName): Score | undefined {
  return row.scores.find((score) => score.metric === metric && score.test === null)
}

function meanOf(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  return sum / values.length
}

function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))
}
