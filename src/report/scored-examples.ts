/** Rows by their scores: the best, both sides of the edge of the pick, and some of those left out, with the reason. */

import type { ReportData, ReportScores } from './data.ts'
import { type Html, html } from './html.ts'
import { count, counted, figure } from './numbers.ts'
import type { LeftReason, RankedRows } from './ranking.ts'

/** `example` draws one row under the reason given. */
export function scoredExampleSection(
  data: ReportData,
  ranked: RankedRows,
  example: (row: number, reason: string) => Html,
): Html | undefined {
  const { scores } = data
  const { best, last, next, left } = ranked
  if (!scores || best.length + next.length + left.length === 0) return undefined
  const rowsIn = (title: string, rows: Uint32Array, why?: LeftReason) =>
    rows.length > 0 &&
    html`<h3>${title}</h3>${[...rows].map((row) => example(row, reason(row, scores, ranked, why ?? 'picked')))}`
  const heads = headsOf(scores)
  return html`<section id="examples"><h2>Rows that were picked, rows that were not</h2>
<p>${words(scores)} Those under “Others left out” were drawn at random by the run’s seed. Rows are numbered from 0, in the order of the input.</p>
<div class="examples"><div>${best.length === 0 && html`<h3>Picked</h3><p>None with a score.</p>`}
${rowsIn(heads.best, best)}
${rowsIn(heads.last, last)}</div>
<div>${rowsIn(heads.next, next, 'score')}
${left.map((kind) => rowsIn(LEFT_HEADS[kind.reason](count(kind.count)), kind.rows, kind.reason))}</div></div>
</section>`
}

function headsOf(scores: ReportScores): { best: string; last: string; next: string } {
  const { taken, boundary } = scores
  if (isOrder(scores)) return { best: 'Picked first', last: 'Picked last', next: 'Not picked' }
  if (boundary !== undefined)
    return { best: 'Picked first', last: 'Just inside the pick', next: 'Just outside the pick' }
  const other = taken === 'lowest' ? 'highest' : 'lowest'
  return {
    best: `Picked with the ${taken} scores`,
    last: `Picked with the ${other} scores`,
    next: `Left out with the ${taken} scores`,
  }
}

const LEFT_HEADS: Record<LeftReason, (rows: string) => string> = {
  score: (rows) => `Others left out by their scores (${rows} in all)`,
  passed: (rows) => `Left out in spite of their scores (${rows} in all)`,
  barred: (rows) => `Others left out whatever their scores (${rows} in all)`,
  unscored: (rows) => `Others left out without a score (${rows} in all)`,
  domain: (rows) => `Others left out: domain not kept (${rows} in all)`,
  duplicate: (rows) => `Others left out: repeat an earlier row (${rows} in all)`,
}

/** Such a score is a row's place, and only picked rows have one. */
function isOrder({ name }: ReportScores): boolean {
  return name === 'order of picking'
}

function words(scores: ReportScores): string {
  const { name, taken, boundary } = scores
  if (isOrder(scores)) return 'Rows are shown by the order in which they were picked.'
  return boundary === undefined
    ? `Rows are shown by their ${name}. The draw is noisy: a row may be passed over for one with a ${taken === 'lowest' ? 'higher' : 'lower'} score.`
    : `Rows are shown by their ${name}; the ${taken} were taken first.`
}

function reason(row: number, scores: ReportScores, ranked: RankedRows, why: LeftReason | 'picked'): string {
  const value = scores.values[row]
  const place = ranked.places.get(row)
  const standing = place === undefined ? '' : `, place ${count(place)} of ${count(ranked.scored)}`
  const unit = scores.unit === undefined ? '' : ` ${scores.unit}`
  const score = Number.isFinite(value) ? `${scores.name} ${figure(value)}${unit}${standing}` : undefined
  if (why === 'picked' && isOrder(scores) && place !== undefined)
    return `picked as number ${count(place)} of ${counted(ranked.scored, 'row')}`
  if (why === 'domain') return `its domain was not kept${score === undefined ? '' : `; ${score}`}`
  if (why === 'barred') return `${scores.barred}${score === undefined ? '' : `; ${score}`}`
  if (why === 'duplicate') return `it repeats an earlier row${score === undefined ? '' : `; ${score}`}`
  if (score === undefined) return isOrder(scores) ? 'the budget was full before it was reached' : 'it has no score'
  return why === 'passed'
    ? `nearly a duplicate of a better row, or too long for what was left of the budget; ${score}`
    : score
}
