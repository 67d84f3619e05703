/** A few rows that were picked and a few that were not, with the reason. */

import type { ReportData, ReportTarget } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import { nearestTarget } from './samples.ts'
import { scoredExampleSection } from './scored-examples.ts'
import type { ReportSummary } from './summary.ts'

/** Longest text shown of a row, in UTF-16 units. */
const TEXT_LENGTH = 700

/** The same for the target row beneath it. */
const NEAREST_LENGTH = 200

/** Left out (undefined) where there is nothing to show. */
export function exampleSection(data: ReportData, summary: ReportSummary): Html | undefined {
  const { picked, left, ranked } = summary.shown
  if (ranked) return scoredExampleSection(data, ranked, (row, reason) => example(row, data, reason))
  if (picked.length + left.length === 0) return undefined
  const rowsIn = (title: string, rows: Uint32Array) =>
    html`<div><h3>${title}</h3>${rows.length === 0 ? html`<p>None.</p>` : [...rows].map((row) => example(row, data, reason(row, data, summary)))}</div>`
  return html`<section id="examples"><h2>Rows that were picked, rows that were not</h2>
<p>Drawn at random by the run’s seed, ${picked.length} from the picked rows and ${left.length} from the others. Rows are numbered from 0, in the order of the input.${
    summary.clusters &&
    ` Inside a cluster the draw is uniform: a row that was left out is not worse than one that was taken, its place went to another of its kind.`
  }</p>
<div class="examples">${rowsIn('Picked', picked)}${rowsIn('Not picked', left)}</div>
</section>`
}

function example(row: number, data: ReportData, reason: string): Html {
  const { rows, texts, target } = data
  const picked = rows.selected[row] !== 0
  const source = rows.source?.names[rows.source.codes[row]]
  const text = texts.get(row)
  return html`<article class="example${picked && ' picked'}">
<header><strong>row ${count(row)}</strong>${source !== undefined && html` · <bdi>${truncate(source, 60)}</bdi>`} · ${counted(rows.lengths[row], 'token')}<br>${reason}</header>
${text !== undefined && html`<p class="text" dir="auto">${truncate(text, TEXT_LENGTH)}</p>`}
${target && nearestText(target, row)}</article>`
}

function nearestText(target: ReportTarget, row: number): Html | undefined {
  const nearest = nearestTarget(target, row)
  if (nearest === undefined) return undefined
  const text = target.texts.get(nearest)
  return html`<p class="near">nearest target row ${count(nearest)}${text !== undefined && html`: <bdi>${truncate(text, NEAREST_LENGTH)}</bdi>`}</p>`
}

/** Why the row was or was not picked, as far as the method tells. */
function reason(row: number, { rows, clusters: columns, quarantined }: ReportData, summary: ReportSummary): string {
  const { clusters } = summary
  const picked = rows.selected[row] !== 0
  if (!columns || !clusters) {
    const share = percent(summary.selectedRows / summary.rows)
    return picked
      ? `one of ${counted(summary.selectedRows, 'row')} picked (${share} of the pool)`
      : `not among the ${share} picked`
  }
  const cluster = columns.assignment[row]
  if (!(cluster >= 0 && cluster < columns.count)) {
    const known = quarantined?.shown.find((shown) => shown.row === row)
    const why = known ? truncate(known.reason, 200) : 'it could not be scored'
    return `in no cluster: ${why}${picked ? '; rows of this kind were asked for' : ''}`
  }
  const size = clusters.sizes[cluster]
  const picks = clusters.picks[cluster]
  const name = truncate(clusters.label(cluster), 60)
  if (picks === size) return `${name}: taken whole, ${counted(size, 'row')}`
  if (picks === 0) return `${name}: none of its ${counted(size, 'row')} was picked`
  const drawn = `${count(picks)} of its ${counted(size, 'row')} were drawn (${percent(picks / size)})`
  return `${name}: ${drawn}, ${picked ? 'this one among them' : 'this one was not among them'}`
}
