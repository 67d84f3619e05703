/** Tables: the figures behind every chart, for reading, copying and screen readers. */

import { type Html, type HtmlValue, html } from './html.ts'
import { count } from './numbers.ts'

export interface Column<Row> {
  head: string
  /** What stands in the cell; strings are escaped. */
  cell: (row: Row) => HtmlValue
  /** Numbers are set flush right. Default `text`. */
  kind?: 'number' | 'text' | 'head'
}

/** Most rows of a table; a page must stay small whatever the pool. */
export const TABLE_ROWS = 500

/** A table inside its own scrolling box; past `TABLE_ROWS` it ends with a note of how many rows were left out. */
export function table<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): Html {
  const shown = rows.slice(0, TABLE_ROWS)
  const left = rows.length - shown.length
  const kindClass = (column: Column<Row>) => (column.kind === 'number' ? 'number' : 'plain')
  const cell = (column: Column<Row>, row: Row) =>
    column.kind === 'head'
      ? html`<th scope="row"><bdi>${column.cell(row)}</bdi></th>`
      : html`<td class="${kindClass(column)}">${column.cell(row)}</td>`
  return html`<div class="scroll"><table><caption>${caption}${left > 0 && ` (${count(left)} more not shown)`}</caption>
<thead><tr>${columns.map((column) => html`<th scope="col" class="${kindClass(column)}">${column.head}</th>`)}</tr></thead>
<tbody>${shown.map((row) => html`<tr>${columns.map((column) => cell(column, row))}</tr>\n`)}</tbody></table></div>`
}

/** Something to open: tables that repeat a chart. */
export function disclosure(summary: string, ...content: Html[]): Html {
  return html`<details><summary>${summary}</summary>${content}</details>`
}
