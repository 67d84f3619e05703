/** Rows that took no part: unreadable ones, and those the proxy could not score. */

import { formatFault } from '../errors.ts'
import type { ReportData } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, percent } from './numbers.ts'
import { table } from './table.ts'

/** Most rows listed of each kind; all are counted. */
const MOST_LISTED = 20

/** Left out (undefined) where every row of the input took part. */
export function quarantineSection({ quarantined, bad, rows }: ReportData): Html | undefined {
  const parts: Html[] = []
  if (quarantined && quarantined.count > 0) {
    const shown = quarantined.shown.slice(0, MOST_LISTED)
    parts.push(html`<p>${counted(quarantined.count, 'row')} (${percent(quarantined.count / rows.count)} of the pool) could not be scored, for example because the
prompt alone fills the proxy’s window, so that no response token is left. ${quarantined.count === 1 ? 'It is' : 'They are'} in no cluster and not picked.
Counting such a loss as 0 would make the row look perfectly learned.</p>
${
  shown.length > 0 &&
  table(
    listed(shown.length, quarantined.count),
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
  return shown === all ? 'All of them' : `The first ${count(shown)} of ${count(all)}`
}
