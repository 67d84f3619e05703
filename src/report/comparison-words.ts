/** A comparison in words and figures, for the page, the terminal and the read-out alike. */

import type { ComparisonMetric, MetricName } from '../evaluation/comparison.ts'
import type { Judged, Score, Summary, SummaryRow, Verdict } from '../evaluation/summary.ts'
import { count, counted } from './numbers.ts'

/** One line of a table of results: a method, `full` or `none`, and what it is at each budget. */
export interface ResultRow {
  role: SummaryRow['role']
  method: string
  /** Undefined where there is no cell. */
  cells: ({ score: Score; toRandom?: Judged } | undefined)[]
}

export function scoreOf(row: SummaryRow | undefined, metric: MetricName, test: string | null): Score | undefined {
  return row?.scores.find((score) => score.metric === metric && score.test === test)
}

/** Methods in their order, then full data and the untouched model, which are the same at every budget. */
export function resultRows(summary: Summary, metric: MetricName, test: string | null = null): ResultRow[] {
  const { rows, budgets, methods } = summary
  const picks = methods.map(({ label }): ResultRow => {
    const all = budgets.map((_, budget) => rows.find((row) => row.method === label && row.budget === budget))
    const cells = all.map((row) => {
      const score = scoreOf(row, metric, test)
      return score && { score, toRandom: score.toRandom }
    })
    return { role: all.find((row) => row)?.role ?? 'method', method: label, cells }
  })
  const references = rows
    .filter((row) => row.budget < 0)
    .map((row): ResultRow => {
      const score = scoreOf(row, metric, test)!
      const cells = budgets.map((_, budget) => ({ score, toRandom: score.toRandomAt?.[budget] ?? undefined }))
      return { role: row.role, method: row.method, cells }
    })
  return [...picks, ...references]
}

/** Decimals that show two digits of the width of a usual interval: one to four. */
export function decimalsOf(summary: Summary, { name, unit }: ComparisonMetric): number {
  const widths = summary.rows
    .flatMap((row) => scoreOf(row, name, null)?.toRandom ?? [])
    .map(({ low, high }) => high - low)
    .filter((width) => width > 0)
    .sort((a, b) => a - b)
  const usual = widths[widths.length >> 1]
  const least = unit === '%' ? 1 : 2
  if (usual === undefined) return least
  return Math.min(4, Math.max(least, 1 - Math.floor(Math.log10(usual))))
}

/** Decimals that tell the ticks of an axis apart. */
export function tickDecimals([low, high]: readonly [number, number]): number {
  return Math.max(0, 1 - Math.floor(Math.log10(high - low)))
}

/** A score, with a true minus sign: 2.345, −0.120. */
export function fixed(value: number, decimals: number): string {
  const digits = Math.abs(value).toFixed(decimals)
  return value < 0 && Number(digits) !== 0 ? `−${digits}` : digits
}

/** A difference always shows its sign, save what rounds to 0. */
export function signed(value: number, decimals: number): string {
  const text = fixed(value, decimals)
  return value > 0 && Number(text) !== 0 ? `+${text}` : text
}

/** `2.345 ± 0.012`, or the score alone of one seed. */
export function spread({ mean, deviation }: Score, decimals: number): string {
  return deviation === undefined ? fixed(mean, decimals) : `${fixed(mean, decimals)} ± ${fixed(deviation, decimals)}`
}

export const MARKS: Record<Verdict, string> = {
  'better than random': '▲',
  'worse than random': '▼',
  'not distinguishable from random': '·',
}

/** `a`, `a and b`, `a, b and 3 more`. */
export function listed(names: readonly string[], most = 6): string {
  const shown = names.length > most ? names.slice(0, most - 1) : names
  const rest = names.length - shown.length
  const all = rest > 0 ? [...shown, `${count(rest)} more`] : shown
  return all.length < 2 ? (all[0] ?? '') : `${all.slice(0, -1).join(', ')} and ${all[all.length - 1]}`
}

const isAre = (n: number) => (n === 1 ? 'is' : 'are')

/** What the scores are averages of: ` on average over 3 tests`, or ` on gsm8k`. */
export function onTests({ tests }: Summary): string {
  return tests.length === 1 ? ` on ${tests[0].name}` : ` on average over ${count(tests.length)} tests`
}

/** What the data say, a sentence each, the verdicts first. Every number comes from the summary. */
export function findings(summary: Summary): string[] {
  const [metric] = summary.metrics
  return [
    ...summary.budgets.map((_, budget) => verdictsAt(summary, budget)).filter((text) => text !== undefined),
    ...references(summary, metric),
    chanceSentence(summary),
    payback(summary),
  ].filter((text) => text !== undefined)
}

/** `At 10%, 3 of 17 methods beat random in test loss on average over 6 tests (…), 2 are worse (…), and 12 are …`. */
function verdictsAt(summary: Summary, budget: number): string | undefined {
  const [metric] = summary.metrics
  const judged = summary.rows
    .filter((row) => row.budget === budget)
    .flatMap((row) => {
      const verdict = scoreOf(row, metric.name, null)?.toRandom?.verdict
      return verdict === undefined ? [] : [{ method: row.method, verdict }]
    })
  if (judged.length === 0) return undefined
  const of = (verdict: Verdict) => judged.filter((one) => one.verdict === verdict).map(({ method }) => method)
  const [better, worse, same] = [
    of('better than random'),
    of('worse than random'),
    of('not distinguishable from random'),
  ]
  const named = (names: readonly string[], most: number) => (names.length === 0 ? '' : ` (${listed(names, most)})`)
  const head = `${better.length === 0 ? 'none' : count(better.length)} of ${counted(judged.length, 'method')} beat${better.length === 1 ? 's' : ''} random`
  const tail = [
    worse.length > 0 && `${count(worse.length)} ${isAre(worse.length)} worse${named(worse, 4)}`,
    same.length > 0 && `${count(same.length)} ${isAre(same.length)} not distinguishable from it`,
  ].filter((part) => part !== false)
  return `At ${summary.budgets[budget].text}, ${head} in ${metric.title}${onTests(summary)}${named(better, 6)}${tail.map((part) => `; ${part}`).join('')}.`
}

/** Where random lies between the untouched model and full data. */
function references(summary: Summary, metric: ComparisonMetric): string[] {
  const decimals = decimalsOf(summary, metric)
  const at = (role: SummaryRow['role'], budget: number) =>
    scoreOf(
      summary.rows.find((row) => row.role === role && row.budget === budget),
      metric.name,
      null,
    )
  const unit = metric.unit === '' ? '' : ` ${metric.unit}`
  const [full, none] = [at('full', -1), at('none', -1)]
  const parts = summary.budgets.flatMap(({ text }, budget) => {
    const random = at('random', budget)
    return random ? [`${fixed(random.mean, decimals)} with a random ${text}`] : []
  })
  if (none) parts.unshift(`${fixed(none.mean, decimals)} untouched`)
  if (full) parts.push(`${fixed(full.mean, decimals)} with the whole pool`)
  const sentences =
    parts.length > 0 ? [`The model’s ${metric.title}: ${listed(parts, 12)}${unit && ` (${metric.unit})`}.`] : []
  if (!full) return sentences
  const picks = summary.rows.filter((row) => row.role === 'method' && scoreOf(row, metric.name, null)?.toFull)
  const reached = picks.filter((row) => {
    const { mean, distinguishable } = scoreOf(row, metric.name, null)!.toFull!
    return !distinguishable || mean < 0 === (metric.better === 'lower')
  })
  const names = reached.map((row) => `${row.method} at ${summary.budgets[row.budget].text}`)
  if (picks.length > 0)
    sentences.push(
      `${reached.length === 0 ? 'None' : count(reached.length)} of ${counted(picks.length, 'pick')} ${reached.length < 2 ? 'is' : 'are'} as good as the whole pool or not distinguishable from it${names.length > 0 ? `: ${listed(names)}` : ''}.`,
    )
  return sentences
}

/** How much of what was called would have been called anyway. */
export function chanceSentence({ chance }: Summary): string | undefined {
  if (chance.comparisons === 0) return undefined
  const called = chance.better + chance.worse
  return (
    `Of ${counted(chance.comparisons, 'comparison')} with random, ${called === 0 ? 'none' : count(called)} ${called < 2 ? 'was' : 'were'} called better or worse; ` +
    `intervals of 95\u00a0% would call at most about ${chance.expected.toFixed(1)} by chance if no method differed from it.`
  )
}

/** A pick is worth its cost only by what it is better than a free one. */
function payback({ chance }: Summary): string | undefined {
  if (chance.comparisons === 0 || chance.better > 0) return undefined
  return 'No method gave a better model than random anywhere here, so none was worth its cost: a random pick of the same size is free.'
}

/** What a reader must know before trusting the numbers: what is missing, what one seed does not show. */
export function cautions(summary: Summary): string[] {
  const { seeds, missing, budgets, notices, tests } = summary
  const texts = [...notices]
  if (seeds.length === 1)
    texts.push(
      'Every target was trained under one seed: the intervals tell how far another draw of test rows could move a difference, not how far another seed could.',
    )
  else if (seeds.length < 3)
    texts.push('Every target was trained under two seeds: three or more are needed to tell a method from its luck.')
  const small = tests.filter(({ rows }) => rows < 30).map(({ name, rows }) => `${name} (${counted(rows, 'row')})`)
  if (small.length > 0) texts.push(`Tests this small move with every row: ${listed(small)}.`)
  const byRow = new Map<string, number[]>()
  for (const { method, budget, seed } of missing) {
    const name = budget < 0 ? method : `${method} at ${budgets[budget].text}`
    byRow.set(name, [...(byRow.get(name) ?? []), seed])
  }
  if (byRow.size > 0) {
    const names = [...byRow].map(([name, lost]) => `${name} (seed ${lost.join(', ')})`)
    texts.push(
      `${counted(missing.length, 'trained target')} ${isAre(missing.length)} missing: ${listed(names, 12)}. Differences are taken over the seeds that both sides have.`,
    )
  }
  return texts
}

/** How the numbers were made, a sentence each. */
export function reading(summary: Summary): string[] {
  const { training, steps, epochs, methods, seeds } = summary
  const fixedPicks = methods.filter(({ deterministic }) => deterministic).length
  return [
    training === 'steps'
      ? `Every target was trained for ${steps === undefined ? 'the same number of steps' : counted(steps, 'step')}, whatever the pick: a smaller pick is seen more often.`
      : `Every target was trained for ${epochs === undefined ? 'the same number of epochs' : counted(epochs, 'epoch')}: a smaller pick means fewer steps, and a model that has seen less.`,
    `A score is the mean over test rows${summary.tests.length > 1 ? ', an average the plain mean over tests' : ''}, both over ${counted(seeds.length, 'seed')}${seeds.length > 1 ? '; ± is the standard deviation over seeds' : ''}.`,
    'A difference to random is paired: the same seed, the same test row. Its interval is one of 95\u00a0% by paired bootstrap; a method is called better or worse where the interval leaves out 0.',
    ...(summary.tests.length > 1 || summary.metrics.length > 1
      ? [
          `The count of what chance would call is about ${summary.metrics[0].title}${onTests(summary)} alone: of single tests and other metrics as large a share is called by chance.`,
        ]
      : []),
    'Not distinguishable does not mean equal: the interval says how large a difference could have been missed.',
    ...(fixedPicks > 0 && seeds.length > 1
      ? [
          `${counted(fixedPicks, 'method')} ${fixedPicks === 1 ? 'gives' : 'give'} the same pick under every seed: between ${fixedPicks === 1 ? 'its' : 'their'} seeds only the training differs.`,
        ]
      : []),
    ...(methods.some(({ label }) => label.includes('@'))
      ? [
          'A method that reads one checkpoint of the proxy stands here once for an early and once for a late one, and is counted for each.',
        ]
      : []),
  ]
}
