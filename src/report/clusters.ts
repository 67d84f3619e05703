/** Sizes of the clusters against what was picked of each: how a balanced draw evens them out. */

import * as Plot from '@observablehq/plot'
import { legend, responsiveChart } from './chart.ts'
import { type Html, html } from './html.ts'
import { count, percent } from './numbers.ts'
import { type ClusterSummary, quotaInWords, type ReportSummary } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

/** Past this many clusters, neighbours in the order of sizes are averaged, so that the drawing stays small. */
const MOST_MARKS = 200

interface Mark {
  /** 1-based position in the ascending order of sizes (the middle one, where several share a mark). */
  rank: number
  size: number
  picks: number
}

/** Left out (undefined) where the method forms no clusters. */
export function clusterSection({ clusters, rows, selectedRows }: ReportSummary): Html | undefined {
  if (!clusters) return undefined
  const { order, sizes, picks, quota } = clusters
  const marks = marksOf(clusters)
  const perMark = Math.ceil(order.length / MOST_MARKS)
  const smallest = sizes[order[0]]
  const largest = sizes[order[order.length - 1]]
  const logarithmic = largest >= 10 * Math.max(1, Math.min(smallest, quota?.least ?? smallest))
  const scale = countScale(marks, quota?.most ?? 0, logarithmic)
  const level = quota && quota.most - quota.least <= 1 ? quota.most : undefined
  return html`<section id="clusters"><h2>Cluster sizes and what was taken</h2>
<p>${words(clusters, rows, selectedRows)}</p>
${
  order.length > 1 &&
  html`<p>A uniform draw takes the same share of every cluster, so the largest clusters fill the budget. A balanced draw goes through the clusters from
the smallest to the largest and gives each an equal part of what is left of the budget: small clusters are taken whole, large ones are thinned.</p>`
}
${legend([
  {
    label: perMark > 1 ? 'rows in the cluster (mean of neighbours)' : 'rows in the cluster',
    colour: COLOUR.pool,
    mark: 'dot',
  },
  { label: 'rows picked', colour: COLOUR.picked, mark: 'dot' },
  ...(level === undefined
    ? []
    : [{ label: `balanced quota: ${quotaInWords(quota!)}`, colour: COLOUR.ink, mark: 'dashed' as const }]),
])}
<figure>${responsiveChart(
    {
      id: 'cluster-sizes',
      title: 'Rows in each cluster and rows picked of it',
      description: `${count(order.length)} clusters from ${count(smallest)} to ${count(largest)} rows. ${words(clusters, rows, selectedRows)}`,
    },
    (width, narrow) => {
      const radius = Math.max(1.25, Math.min(5, (0.36 * (width - 60)) / marks.length))
      return {
        height: narrow ? 260 : 320,
        marginLeft: 52,
        marginBottom: 38,
        x: {
          domain: [0.5, order.length + 0.5],
          label: 'clusters, smallest first',
          ticks: rankTicks(order.length),
          tickFormat: (rank: number) => count(rank),
        },
        y: { ...scale.options, label: logarithmic ? 'rows (log scale)' : 'rows' },
        marks: [
          ...scale.axis,
          level === undefined
            ? null
            : Plot.ruleY([scale.position(level)], { stroke: COLOUR.ink, strokeDasharray: '4,3', strokeWidth: 1.25 }),
          Plot.ruleX(marks, {
            x: 'rank',
            y1: (mark: Mark) => scale.position(mark.picks),
            y2: (mark: Mark) => scale.position(mark.size),
            stroke: COLOUR.pool,
            strokeWidth: Math.max(0.75, radius * 0.7),
            strokeOpacity: 0.6,
          }),
          Plot.dot(marks, { x: 'rank', y: (mark: Mark) => scale.position(mark.size), r: radius, fill: COLOUR.pool }),
          Plot.dot(marks, { x: 'rank', y: (mark: Mark) => scale.position(mark.picks), r: radius, fill: COLOUR.picked }),
        ],
      }
    },
  )}</figure>
${disclosure(
  'The same as a table',
  table(
    'Clusters in ascending order of size',
    [
      { head: 'cluster', cell: (k: number) => clusters.label(k), kind: 'head' },
      { head: 'rows', cell: (k) => count(sizes[k]), kind: 'number' },
      { head: 'share of pool', cell: (k) => percent(sizes[k] / rows), kind: 'number' },
      { head: 'picked', cell: (k) => count(picks[k]), kind: 'number' },
      { head: 'share of cluster', cell: (k) => percent(picks[k] / sizes[k]), kind: 'number' },
      { head: 'share of pick', cell: (k) => percent(picks[k] / selectedRows), kind: 'number' },
    ],
    order,
  ),
)}
</section>`
}

function words({ order, sizes, picks, whole, quota }: ClusterSummary, rows: number, selectedRows: number): string {
  if (order.length === 1)
    return `All rows are in one cluster; ${count(picks[order[0]])} of ${count(sizes[order[0]])} were picked.`
  const parts: string[] = []
  if (whole > 0) {
    let held = 0
    for (const k of order) if (picks[k] === sizes[k]) held += sizes[k]
    parts.push(
      whole === order.length
        ? `All ${count(whole)} clusters were taken whole.`
        : `Of ${count(order.length)} clusters, ${count(whole)} ${whole === 1 ? 'was' : 'were'} taken whole (${percent(held / rows)} of the pool).`,
    )
  }
  if (quota) {
    const rest = order.length - whole
    parts.push(
      `From ${whole > 0 ? `each of the other ${count(rest)}` : `each of the ${count(rest)} clusters`}, ${quotaInWords(quota)} were picked.`,
    )
    const last = order[order.length - 1]
    parts.push(
      `The largest cluster holds ${percent(sizes[last] / rows)} of the pool and ${percent(picks[last] / selectedRows)} of the pick.`,
    )
  }
  return parts.join(' ')
}

function marksOf({ order, sizes, picks }: ClusterSummary): Mark[] {
  const perMark = Math.ceil(order.length / MOST_MARKS)
  const marks: Mark[] = []
  for (let start = 0; start < order.length; start += perMark) {
    const members = order.slice(start, start + perMark)
    const mean = (column: ArrayLike<number>) => members.reduce((sum, k) => sum + column[k], 0) / members.length
    marks.push({ rank: start + (members.length + 1) / 2, size: mean(sizes), picks: mean(picks) })
  }
  return marks
}

interface CountScale {
  /** Where a count stands on the axis. */
  position: (rows: number) => number
  options: Plot.ScaleOptions
  axis: Plot.Markish[]
}

/** The count axis. A logarithm has no 0: clusters without a pick sit at half a row, under a tick that says 0. */
function countScale(marks: readonly Mark[], quota: number, logarithmic: boolean): CountScale {
  const most = Math.max(quota, ...marks.map((mark) => mark.size))
  if (!logarithmic) {
    return {
      position: (rows) => rows,
      options: { domain: [0, most] },
      axis: [Plot.gridY(evenTicks(most)), Plot.axisY(evenTicks(most), { tickFormat: count })],
    }
  }
  const none = marks.some((mark) => mark.picks === 0)
  const ticks = none ? [0.5] : []
  for (let power = 1; power <= most; power *= 10) {
    for (const factor of most <= 2000 ? [1, 2, 5] : [1]) if (power * factor <= most) ticks.push(power * factor)
  }
  return {
    position: (rows) => Math.max(0.5, rows),
    options: { type: 'log', domain: [none ? 0.5 : 0.9, most * 1.1] },
    // Texts are given outright: a tick format on a logarithmic axis would leave out every other one.
    axis: [Plot.gridY(ticks), Plot.axisY(ticks, { text: (rows: number) => (rows === 0.5 ? '0' : count(rows)) })],
  }
}

function rankTicks(clusters: number): number[] {
  const ticks = evenTicks(clusters)
  ticks[0] = 1
  return ticks[1] === 1 ? ticks.slice(1) : ticks
}

/** Whole numbers from 0 to at most `end`, at most seven, a round step apart. */
function evenTicks(end: number): number[] {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(end / 6)))
  const step = ([1, 2, 5].find((factor) => end / (factor * power) <= 6) ?? 10) * power
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step)
}
