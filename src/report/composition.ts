/** Sources of the rows before and after the pick. */

import * as Plot from '@observablehq/plot'
import { legend, responsiveChart } from './chart.ts'
import { type Html, html, truncate, visibleText } from './html.ts'
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
  // Names are cut for the axis; a prefix keeps two that begin alike, or hide characters, apart.
  const label = new Map(
    drawn.map((source, i) => [source, `${i}\u0000${visibleText(truncate(source.name, 26)).replace(/\s+/g, ' ')}`]),
  )
  const shown = (value: string) => value.slice(value.indexOf('\u0000') + 1)
  const bars = drawn.flatMap((source) => [
    { source: label.get(source)!, kind: 'pool', rows: source.rows, share: source.rows / rows },
    {
      source: label.get(source)!,
      kind: 'pick',
      rows: source.selected,
      share: selectedRows === 0 ? 0 : source.selected / selectedRows,
    },
  ])
  type Bar = (typeof bars)[number]
  const longest = Math.max(...drawn.map((source) => shown(label.get(source)!).length))
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
    (_width, narrow) => ({
      height: 34 + drawn.length * 40,
      marginLeft: narrow ? Math.min(120, 16 + longest * 6.5) : 16 + longest * 7,
      marginRight: narrow ? 56 : 130,
      marginTop: 4,
      marginBottom: 30,
      x: {
        label: null,
        percent: true,
        ticks: narrow ? 4 : 8,
        tickFormat: (value: number) => `${value}\u00a0%`,
        nice: true,
        grid: true,
      },
      y: { axis: null, domain: ['pool', 'pick'], padding: 0.12 },
      fy: {
        label: null,
        domain: drawn.map((source) => label.get(source)!),
        padding: 0.22,
        tickFormat: (value: string) => truncate(shown(value), narrow ? 17 : 26),
      },
      marks: [
        Plot.axisFy({
          anchor: 'left',
          dx: -4,
          textAnchor: 'end',
          tickFormat: (value: string) => truncate(shown(value), narrow ? 17 : 26),
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
    }),
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
