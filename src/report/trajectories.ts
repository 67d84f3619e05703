/** Loss trajectories of a few rows in a few clusters: what the clustering saw. */

import * as Plot from '@observablehq/plot'
import { chart, legend } from './chart.ts'
import type { ReportData, ReportTrajectories } from './data.ts'
import { type Html, html, truncate } from './html.ts'
import { count, counted, nats } from './numbers.ts'
import { type PanelRows, ROWS_PER_PANEL } from './samples.ts'
import { type ClusterSummary, quotaInWords, type ReportSummary } from './summary.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

interface Point {
  row: number
  step: number
  nll: number
}

interface Panel extends PanelRows {
  /** Mean NLL of the cluster's rows at each checkpoint, [T]. */
  mean: Float64Array
  points: Point[]
}

/** Left out (undefined) where the run has no trajectories or no clusters. */
export function trajectorySection(data: ReportData, summary: ReportSummary): Html | undefined {
  const { trajectories } = data
  const { clusters, shown } = summary
  if (!trajectories || !clusters || trajectories.steps.length === 0 || shown.panels.length === 0) return undefined
  const steps = Array.from(trajectories.steps)
  const { panels, pool } = readPanels(data, trajectories, shown.panels)
  const domain = sharedDomain(panels, pool)
  const picked = (row: number) => data.rows.selected[row] !== 0
  const draw = (panel: Panel, index: number) => {
    const { cluster, mean } = panel
    const name = clusters.label(cluster)
    const size = clusters.sizes[cluster]
    const picks = clusters.picks[cluster]
    const last = steps.length - 1
    const description =
      `${name}: ${count(size)} rows. Mean loss ${nats(mean[0])} nats a token at step ${steps[0]}, ` +
      `${nats(mean[last])} at step ${steps[last]}. The pool’s mean goes from ${nats(pool[0])} to ${nats(pool[last])}.`
    return html`<figure><figcaption><strong><bdi>${truncate(name, 60)}</bdi></strong>${counted(size, 'row')}, ${count(picks)} picked</figcaption>
${chart(
  { id: `trajectory-${index}`, title: `Loss trajectories, ${name}`, description },
  {
    width: 320,
    height: 220,
    marginLeft: 38,
    marginRight: 14,
    marginTop: 22,
    marginBottom: 40,
    x: {
      domain: [steps[0], steps[last]],
      label: 'step',
      labelOffset: 34,
      ticks: 4,
      tickFormat: (step: number) => count(step),
    },
    y: { domain, nice: true, label: 'nats a token', grid: true, ticks: 5 },
    marks: [
      Plot.line(line(steps, pool), {
        x: 'step',
        y: 'nll',
        stroke: COLOUR.muted,
        strokeWidth: 1.25,
        strokeDasharray: '4,3',
      }),
      Plot.line(panel.points, {
        x: 'step',
        y: 'nll',
        z: 'row',
        stroke: (point: Point) => (picked(point.row) ? COLOUR.picked : COLOUR.pool),
        strokeWidth: 1.5,
      }),
      Plot.line(line(steps, mean), { x: 'step', y: 'nll', stroke: COLOUR.ink, strokeWidth: 3, strokeOpacity: 0.8 }),
      // A run of one checkpoint has no lines.
      steps.length === 1 ? Plot.dot(line(steps, mean), { x: 'step', y: 'nll', fill: COLOUR.ink }) : null,
    ],
    color: { type: 'identity' },
  },
)}</figure>`
  }
  return html`<section id="trajectories"><h2>How the loss fell, row by row</h2>
<p>${
    data.run.imported
      ? html`The loss of every row at ${counted(steps.length, 'checkpoint')} was recorded elsewhere and read from <code>${data.run.imported.file}</code>`
      : `The proxy model was trained on the pool, and the loss of every row was recorded at ${counted(steps.length, 'checkpoint')}`
  }. These curves are
what the rows were clustered by: a cluster holds rows whose loss moved alike. The reason to draw from every cluster is that rows with nearly equal losses at
all checkpoints have gradients that agree along the directions in which the run moved, as long as the loss is not too curved between checkpoints
(<a href="https://arxiv.org/abs/2403.07384" rel="noreferrer">Yang et al., NeurIPS 2024</a>), so that a few rows can stand for their cluster.</p>
<p>${choice(clusters, panels)}</p>
${legend([
  { label: 'mean of the cluster', colour: COLOUR.ink, mark: 'heavy' },
  { label: 'row that was picked', colour: COLOUR.picked, mark: 'line' },
  { label: 'row that was not', colour: COLOUR.pool, mark: 'line' },
  { label: 'mean of the pool', colour: COLOUR.muted, mark: 'dashed' },
])}
<div class="panels">${panels.map(draw)}</div>
${disclosure(
  'The same as tables, with the rows’ texts',
  ...panels.map((panel) => panelTable(panel, clusters, data, trajectories, steps)),
)}
</section>`
}

/** How the clusters and rows that are shown were chosen. */
function choice({ order, sizes }: ClusterSummary, panels: readonly Panel[]): string {
  const drawn = panels.some(({ rows, cluster }) => rows.length < sizes[cluster])
  const rows = drawn ? `up to ${ROWS_PER_PANEL} rows drawn at random` : 'all rows'
  if (order.length === 1) return `There is one cluster; ${drawn ? rows : 'all its rows'} are shown.`
  const which =
    order.length === panels.length
      ? `All ${panels.length} clusters are shown, from the smallest to the largest`
      : `Shown are ${panels.length} of ${count(order.length)} clusters, at even distances in the order of their sizes: the smallest, ` +
        'the largest, and those between'
  return `${which}; of each, ${rows}. All panels share their axes.`
}

function line(steps: readonly number[], nll: ArrayLike<number>) {
  return steps.map((step, t) => ({ step, nll: nll[t] }))
}

/** Means of the panels' clusters and of the pool at each checkpoint, NaN losses left out. O(N T). */
function readPanels(data: ReportData, { steps, nll }: ReportTrajectories, chosen: readonly PanelRows[]) {
  const { rows, clusters } = data
  const panelOf = new Map(chosen.map(({ cluster }, index) => [cluster, index]))
  const index = new Int32Array(rows.count).fill(-1)
  for (let row = 0; row < rows.count; row++) index[row] = panelOf.get(clusters!.assignment[row]) ?? -1
  const panels: Panel[] = chosen.map((panel) => ({
    ...panel,
    mean: new Float64Array(steps.length),
    points: [...panel.rows].flatMap((row) =>
      Array.from(steps, (step, t) => ({ row, step, nll: nll[row * steps.length + t] })).filter((point) =>
        Number.isFinite(point.nll),
      ),
    ),
  }))
  const T = steps.length
  // The last group is the pool.
  const groups = panels.length + 1
  const sums = new Float64Array(groups * T)
  const counts = new Float64Array(groups * T)
  for (let row = 0; row < rows.count; row++) {
    const panel = index[row]
    for (let t = 0; t < T; t++) {
      const value = nll[row * T + t]
      if (!Number.isFinite(value)) continue
      sums[panels.length * T + t] += value
      counts[panels.length * T + t]++
      if (panel < 0) continue
      sums[panel * T + t] += value
      counts[panel * T + t]++
    }
  }
  const means = sums.map((sum, i) => sum / counts[i])
  for (const [p, panel] of panels.entries()) panel.mean = means.subarray(p * T, (p + 1) * T)
  const pool = means.subarray(panels.length * T)
  return { panels, pool }
}

/** Range of everything drawn, so that panels can be compared; padded where it would be empty. */
function sharedDomain(panels: readonly Panel[], pool: Float64Array): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  const take = (value: number) => {
    if (!Number.isFinite(value)) return
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  pool.forEach(take)
  for (const panel of panels) {
    panel.mean.forEach(take)
    for (const point of panel.points) take(point.nll)
  }
  if (low > high) return [0, 1]
  // Losses start at 0; a chart that begins there unless that would flatten everything shows how much is left to learn.
  if (low >= 0 && low < 0.5 * high) low = 0
  return low === high ? [low - 0.5, high + 0.5] : [low, high]
}

function panelTable(
  panel: Panel,
  clusters: ClusterSummary,
  data: ReportData,
  { nll }: ReportTrajectories,
  steps: readonly number[],
): Html {
  const { cluster, mean, rows } = panel
  const name = clusters.label(cluster)
  type Line = { name: string; picked: string; losses: ArrayLike<number>; text: string }
  const lines: Line[] = [
    { name: 'mean', picked: '', losses: mean, text: '' },
    ...[...rows].map((row) => ({
      name: `row ${row}`,
      picked: data.rows.selected[row] ? 'yes' : 'no',
      losses: steps.map((_, t) => nll[row * steps.length + t]),
      text: truncate(data.texts.get(row) ?? '', 120),
    })),
  ]
  const taken =
    clusters.picks[cluster] === clusters.sizes[cluster]
      ? 'all picked'
      : `${quotaInWords({ least: clusters.picks[cluster], most: clusters.picks[cluster] })} picked`
  return table(
    `${truncate(name, 60)}: ${counted(clusters.sizes[cluster], 'row')}, ${taken}. Loss in nats a token, by step.`,
    [
      { head: '', cell: (line) => line.name, kind: 'head' },
      { head: 'picked', cell: (line) => line.picked },
      ...steps.map((step, t) => ({
        head: count(step),
        cell: (line: Line) => nats(line.losses[t]),
        kind: 'number' as const,
      })),
      { head: 'text', cell: (line) => html`<bdi>${line.text}</bdi>` },
    ],
    lines,
  )
}
