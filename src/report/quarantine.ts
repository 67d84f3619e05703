/** Rows that took no part: unreadable ones, and those the proxy could not score. */

import { formatFault } from '../errors.ts'
import type { ReportData } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import type { ReportSummary } from './summary.ts'
import { table } from './table.ts'

/** Most rows listed of each kind; all are counted. */
const MOST_LISTED = 20

/** Left out (undefined) where every row of the input took part. */
export function quarantineSection(
  { quarantined, bad, rows, run }: ReportData,
  { clusters }: ReportSummary,
): Html | undefined {
  const parts: Html[] = []
  const unscored = quarantined?.count ?? clusters?.unclustered.rows ?? 0
  const picked = clusters?.unclustered.selected ?? 0
  if (unscored > 0) {
    const shown = (quarantined?.shown ?? []).slice(0, MOST_LISTED)
    parts.push(html`<p>${counted(unscored, 'row')} (${percent(unscored / rows.count)} of the pool) ${
      run.imported
        ? `${unscored === 1 ? 'has' : 'have'} no loss at some checkpoint in the imported file`
        : `could not be scored, for example because the
prompt alone fills the proxy’s window, so that no response token is left`
    }. Counting such a loss as 0 would make a row look perfectly learned: ${
      picked === 0
        ? 'they are kept apart and not picked'
        : `they are kept apart, and ${count(picked)} of them were picked because the run asked for that`
    }.</p>
${
  shown.length > 0 &&
  table(
    listed(shown.length, unscored),
    [
      { head: 'row', cell: (row: (typeof shown)[number]) => count(row.row), kind: 'number' },
      {
        head: 'where',
        cell: ({ file, line }) => (file === undefined ? '' : line === undefined ? file : `${file}:${line}`),
      },
      { head: 'reason', cell: (row) => truncate(row.reason, 200) },
    ],
    shown,
  )
}`)
  }
  if (bad && bad.count > 0) {
    const shown = bad.shown.slice(0, MOST_LISTED)
    parts.push(html`<p>${counted(bad.count, 'record')} of the input could not be read and ${bad.count === 1 ? 'is' : 'are'} not in the pool.</p>
${
  shown.length > 0 &&
  table(
    listed(shown.length, bad.count),
    [{ head: 'what was found', cell: (fault: (typeof shown)[number]) => truncate(formatFault(fault), 300) }],
    shown,
  )
}`)
  }
  return parts.length === 0
    ? undefined
    : html`<section id="quarantine"><h2>Rows that took no part</h2>${parts}</section>`
}

function listed(shown: number, all: number): string {
  if (shown === all) return 'All of them'
  return shown === 1 ? `The first of ${count(all)}` : `The first ${count(shown)} of ${count(all)}`
}
