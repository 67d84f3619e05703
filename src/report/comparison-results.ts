/** The results of a comparison as tables: methods by budgets, and by tests. */

import type { ComparisonMetric } from '../evaluation/comparison.ts'
import type { Judged, Score, Summary, Verdict } from '../evaluation/summary.ts'
import { decimalsOf, fixed, MARKS, onTests, type ResultRow, resultRows, signed, spread } from './comparison-words.ts'
import { type Html, html } from './html.ts'
import { count, counted } from './numbers.ts'
import { disclosure } from './table.ts'

/** In words for those who do not see the mark. */
const SHORT: Record<Verdict, string> = {
  'better than random': 'better',
  'worse than random': 'worse',
  'not distinguishable from random': 'not distinguishable',
}

export function resultSection(summary: Summary): Html {
  const [metric, ...others] = summary.metrics
  return html`<section id="results"><h2>Results</h2>
<p>${sentenceCase(metric.title)}${metric.unit && ` in ${metric.unit}`}${onTests(summary)}; ${metric.better} is better. ${
    summary.seeds.length > 1 && `Mean ± standard deviation over ${count(summary.seeds.length)} seeds, then`
  }${summary.seeds.length > 1 ? ' ' : 'Below each score'} the difference to random at the same budget with its 95&nbsp;% interval:
${MARKS['better than random']} better, ${MARKS['worse than random']} worse, ${MARKS['not distinguishable from random']} not distinguishable from random.</p>
${budgetTable(summary, metric, null)}
${others.map((other) => disclosure(`The same in ${other.title}`, budgetTable(summary, other, null)))}
${
  summary.tests.length > 1 &&
  summary.metrics.map((each) => disclosure(`${sentenceCase(each.title)} on each test`, ...testTables(summary, each)))
}
${disclosure('Against the whole pool and the untouched model', againstReferences(summary, metric))}
</section>`
}

export const sentenceCase = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1)

/** Methods by budgets. */
function budgetTable(summary: Summary, metric: ComparisonMetric, test: string | null): Html {
  const heads = summary.budgets.map(({ text, rows }) =>
    rows === undefined ? text : `${text} (${counted(rows, 'row')})`,
  )
  const caption = `${sentenceCase(metric.title)} by budget${test === null ? '' : ` on ${test}`}`
  return grid(caption, heads, resultRows(summary, metric.name, test), decimalsOf(summary, metric))
}

/** For each budget: methods by tests, the average last. */
function testTables(summary: Summary, metric: ComparisonMetric): Html[] {
  const tests = [...summary.tests.map(({ name }) => name), null]
  const byTest = tests.map((test) => resultRows(summary, metric.name, test))
  const heads = [...summary.tests.map(({ name, rows }) => `${name} (${counted(rows, 'row')})`), 'average']
  return summary.budgets.map(({ text }, budget) => {
    const rows = byTest[0].map((row, i) => ({ ...row, cells: byTest.map((rows) => rows[i].cells[budget]) }))
    return grid(`${sentenceCase(metric.title)} at ${text}, by test`, heads, rows, decimalsOf(summary, metric))
  })
}

function grid(caption: string, heads: readonly string[], rows: readonly ResultRow[], decimals: number): Html {
  return html`<div class="scroll"><table class="results"><caption>${caption}</caption>
<thead><tr><th scope="col">method</th>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map(
    ({ method, role, cells }) =>
      html`<tr${(role === 'full' || role === 'none') && html` class="reference"`}><th scope="row"><bdi>${breakable(method)}</bdi>${role === 'full' && ' (the whole pool)'}${role === 'none' && ' (untouched)'}</th>${cells.map((cell) => gridCell(cell, decimals))}</tr>\n`,
  )}</tbody></table></div>`
}

/** A label may break before its checkpoint. */
function breakable(label: string): Html {
  const at = label.indexOf('@')
  return at > 0 ? html`${label.slice(0, at)}<wbr>${label.slice(at)}` : html`${label}`
}

function gridCell(cell: { score: Score; toRandom?: Judged } | undefined, decimals: number): Html {
  if (!cell) return html`<td>–</td>`
  const { score, toRandom } = cell
  if (!toRandom) return html`<td>${spread(score, decimals)}</td>`
  const { verdict } = toRandom
  const kind = verdict === 'better than random' ? 'better' : verdict === 'worse than random' ? 'worse' : 'same'
  return html`<td class="${kind}">${spread(score, decimals)}<span class="difference">${withInterval(toRandom, decimals)}
${MARKS[verdict]}<span class="unseen"> ${SHORT[verdict]}</span></span></td>`
}

/** −0.099 [−0.109, −0.090] */
export function withInterval(
  { mean, low, high }: { mean: number; low: number; high: number },
  decimals: number,
): string {
  return `${signed(mean, decimals)} [${fixed(low, decimals)}, ${fixed(high, decimals)}]`
}

/** Differences to `full` and `none`, a row a pick. */
function againstReferences(summary: Summary, metric: ComparisonMetric): Html {
  const decimals = decimalsOf(summary, metric)
  const picks = summary.rows.filter((row) => row.budget >= 0)
  const cell = (difference: Score['toFull']) =>
    html`<td class="number">${difference === undefined ? '–' : withInterval(difference, decimals)}</td>`
  return html`<div class="scroll"><table><caption>${sentenceCase(metric.title)}: difference with 95&nbsp;% interval; tokens are means over seeds</caption>
<thead><tr><th scope="col">method</th><th scope="col">budget</th><th scope="col" class="number">rows picked</th><th scope="col" class="number">tokens picked</th><th scope="col" class="number">tokens trained</th><th scope="col" class="number">epochs</th><th scope="col" class="number">training loss</th><th scope="col" class="number">to the whole pool</th><th scope="col" class="number">to the untouched model</th></tr></thead>
<tbody>${picks.map((row) => {
    const score = row.scores.find(({ metric: name, test }) => name === metric.name && test === null)!
    return html`<tr><th scope="row"><bdi>${row.method}</bdi></th><td>${summary.budgets[row.budget].text}</td><td class="number">${count(row.selected.rows)}</td><td class="number">${count(row.selected.tokens)}</td><td class="number">${count(row.training.tokens)}</td><td class="number">${row.training.epochs.toFixed(1)}</td><td class="number">${row.training.loss === undefined ? '–' : row.training.loss.toFixed(3)}</td>${cell(score.toFull)}${cell(score.toNone)}</tr>\n`
  })}</tbody></table></div>`
}
