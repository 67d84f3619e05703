/** Sources of the rows before and after the pick. */

import * as Plot from '@observablehq/plot'
import { legend, responsiveChart } from './chart.ts'
import { type Html, html, truncate, visibleText } from './html.ts'
import { axisLabel, labelWidth, shorten } from './labels.ts'
import { count, counted, percent } from './numbers.ts'
import type { ReportSummary, SourceCount } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Sources drawn one by one; smaller ones are drawn together (the table names each). */
const MOST_SOURCES = 16

/** Left out (undefined) where rows name no source. */
export function compositionSection({ sources, rows, selectedRows, clusters }: ReportSummary): Html | undefined {
  if (!sources || sources.length === 0) return undefined
  const drawn = gather(sources)
  // Bars are keyed by position, since names cut for the axis may be equal.
  const keys = new Map(drawn.map((source, i) => [`source ${i}`, axisLabel(source.name)]))
  const bars = drawn.flatMap((source, i) => [
    { source: `source ${i}`, kind: 'pool', rows: source.rows, share: source.rows / rows },
    {
      source: `source ${i}`,
      kind: 'pick',
      rows: source.selected,
      share: selectedRows === 0 ? 0 : source.selected / selectedRows,
    },
  ])
  type Bar = (typeof bars)[number]
  return html`<section id="composition"><h2>Where the rows come from</h2>
<p>${words(sources, rows, selectedRows)} ${
    clusters
      ? 'A draw that balances over clusters does not keep the shares of the sources. Where a source matters by itself, look here at whether enough of it is left.'
      : 'Where a source matters by itself, look here at whether enough of it is left.'
  }</p>
${legend([
  { label: `pool, ${counted(rows, 'row')}`, colour: COLOUR.pool, mark: 'box' },
  { label: `pick, ${counted(selectedRows, 'row')}`, colour: COLOUR.picked, mark: 'box' },
])}
<figure>${responsiveChart(
    {
      id: 'sources',
      title: 'Share of each source in the pool and in the pick',
      description: drawn
        .map(
          ({ name, rows: before, selected }) =>
            `${visibleText(truncate(name, 60))}: ${percent(before / rows)} of the pool, ${percent(selected / selectedRows)} of the pick`,
        )
        .join('; '),
    },
    (_width, narrow) => {
      const room = narrow ? 100 : 220
      const names = new Map([...keys].map(([key, name]) => [key, shorten(name, room)]))
      return {
        height: 34 + drawn.length * 40,
        marginLeft: 26 + Math.max(...[...names.values()].map(labelWidth)),
        marginRight: narrow ? 56 : 130,
        marginTop: 4,
        marginBottom: 30,
        x: {
          label: null,
          percent: true,
          ticks: narrow ? 3 : 8,
          tickFormat: (value: number) => `${value}\u00a0%`,
          nice: true,
        },
        y: { axis: null, domain: ['pool', 'pick'], padding: 0.12 },
        fy: { label: null, domain: [...keys.keys()], padding: 0.22 },
        marks: [
          Plot.axisFy({
            anchor: 'left',
            dx: -4,
            textAnchor: 'end',
            tickFormat: (key: string) => names.get(key)!,
          }),
          Plot.barX(bars, {
            x: 'share',
            y: 'kind',
            fy: 'source',
            fill: (bar: Bar) => (bar.kind === 'pool' ? COLOUR.pool : COLOUR.picked),
          }),
          Plot.text(bars, {
            x: 'share',
            y: 'kind',
            fy: 'source',
            text: (bar: Bar) => (narrow ? percent(bar.share) : `${percent(bar.share)} · ${counted(bar.rows, 'row')}`),
            textAnchor: 'start',
            dx: 5,
            fill: COLOUR.ink,
          }),
          Plot.ruleX([0], { stroke: COLOUR.muted }),
        ],
        color: { type: 'identity' },
      }
    },
  )}</figure>
${disclosure(
  'The same as a table',
  table(
    'Sources, largest first',
    [
      { head: 'source', cell: (source: SourceCount) => truncate(source.name, 200), kind: 'head' },
      { head: 'rows', cell: (source) => count(source.rows), kind: 'number' },
      { head: 'share of pool', cell: (source) => percent(source.rows / rows), kind: 'number' },
      { head: 'picked', cell: (source) => count(source.selected), kind: 'number' },
      { head: 'share of pick', cell: (source) => percent(source.selected / selectedRows), kind: 'number' },
      { head: 'share of source', cell: (source) => percent(source.selected / source.rows), kind: 'number' },
    ],
    sources,
  ),
)}
</section>`
}

function gather(sources: readonly SourceCount[]): SourceCount[] {
  if (sources.length <= MOST_SOURCES) return [...sources]
  const head = sources.slice(0, MOST_SOURCES - 1)
  const rest = sources.slice(MOST_SOURCES - 1)
  const sum = (key: 'rows' | 'selected') => rest.reduce((total, source) => total + source[key], 0)
  return [...head, { name: `${count(rest.length)} other sources`, rows: sum('rows'), selected: sum('selected') }]
}

/** The largest gain and the largest loss of share, and how many sources have no row left. */
function words(sources: readonly SourceCount[], rows: number, selectedRows: number): string {
  if (sources.length === 1) return `All rows have one source, ${truncate(sources[0].name, 60)}.`
  const parts = [`The rows have ${count(sources.length)} sources.`]
  if (selectedRows > 0) {
    const change = (source: SourceCount) => source.selected / selectedRows - source.rows / rows
    const ordered = sources.toSorted((a, b) => change(a) - change(b))
    const told = [ordered[ordered.length - 1], ordered[0]].filter((source) => Math.abs(change(source)) >= 0.0005)
    for (const source of told) {
      const verb = change(source) > 0 ? 'gains' : 'loses'
      parts.push(
        `${truncate(source.name, 60)} ${verb} the most: ${percent(source.rows / rows)} of the pool, ${percent(source.selected / selectedRows)} of the pick.`,
      )
    }
    const gone = sources.filter((source) => source.selected === 0).length
    if (gone > 0) parts.push(`${counted(gone, 'source')} ${gone === 1 ? 'has' : 'have'} no row in the pick.`)
  }
  return parts.join(' ')
}
