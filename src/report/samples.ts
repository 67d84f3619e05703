/** Which rows the page shows: a pure function of the run, so that the caller can fetch just their texts first. */

import { type RandomStream, randomStream, sample } from '../random/philox.ts'
import { type Coverage, coverageOf } from './coverage.ts'
import type { ReportClusters, ReportData, ReportTarget } from './data.ts'
import { type RankedRows, rankRows } from './ranking.ts'

/** Panels of trajectories, rows in each, and example rows on each side. */
export const PANELS = 6
export const ROWS_PER_PANEL = 5
export const EXAMPLES = 5

export interface PanelRows {
  cluster: number
  /** At most `ROWS_PER_PANEL` rows of the cluster, drawn uniformly without replacement, ascending. */
  rows: Uint32Array
}

export interface ShownRows {
  panels: PanelRows[]
  /** Uniform draws among picked and among other rows, ascending. Empty where rows are shown by their scores. */
  picked: Uint32Array
  left: Uint32Array
  /** Where the method scores rows. */
  ranked?: RankedRows
  /** Where rows have a nearest target row. */
  coverage?: Coverage
}

/**
 * Draws the rows to show, by the run's seed (purpose `report …`): rows of `PANELS` clusters that span the sizes, and examples
 * of picked and of other rows: by their scores where they have any, else at random. O(N).
 */
export function sampleRows(data: Omit<ReportData, 'texts'>): ShownRows {
  const { rows, clusters, trajectories, run } = data
  const draw = (count: number, member: (row: number) => boolean, limit: number, stream: RandomStream) => {
    const members = new Uint32Array(count)
    for (let row = 0, at = 0; row < rows.count; row++) if (member(row)) members[at++] = row
    return sample(members, Math.min(limit, count), stream).toSorted()
  }
  let pickedCount = 0
  for (let row = 0; row < rows.count; row++) if (rows.selected[row]) pickedCount++
  const panels: PanelRows[] = []
  if (clusters && trajectories) {
    const sizes = clusterSizes(clusters, rows.count)
    for (const cluster of spanningClusters(sizes, PANELS)) {
      const stream = randomStream(run.seed, 'report trajectories', cluster)
      const member = (row: number) => clusters.assignment[row] === cluster
      panels.push({ cluster, rows: draw(sizes[cluster], member, ROWS_PER_PANEL, stream) })
    }
  }
  const picked = (row: number) => rows.selected[row] !== 0
  const left = (row: number) => rows.selected[row] === 0
  const ranked = rankRows(data)
  const coverage = coverageOf(data)
  if (ranked) return { panels, picked: new Uint32Array(0), left: new Uint32Array(0), ranked, coverage }
  return {
    panels,
    picked: draw(pickedCount, picked, EXAMPLES, randomStream(run.seed, 'report picked')),
    left: draw(rows.count - pickedCount, left, EXAMPLES, randomStream(run.seed, 'report left')),
    coverage,
  }
}

/** The distinct rows whose texts the page shows, ascending: what to put into `ReportData.texts`. */
export function shownRows(data: Omit<ReportData, 'texts'>): Uint32Array {
  const shown = sampleRows(data)
  const { panels, coverage } = shown
  const besideTargets = [...(coverage?.busiest ?? []), ...(coverage?.neglected ?? [])].flatMap(({ rows }) => [...rows])
  const all = new Set([...panels.flatMap((panel) => [...panel.rows]), ...exampleRows(shown), ...besideTargets])
  return Uint32Array.from(all).sort()
}

/**
 * The distinct target rows whose texts the page shows, ascending: what to put into `ReportTarget.texts`. Those with the most
 * and the fewest picks, and the nearest of each example. Empty where rows have no nearest target row.
 */
export function shownTargets(data: Omit<ReportData, 'texts'>): Uint32Array {
  const { target } = data
  const shown = sampleRows(data)
  const { coverage } = shown
  if (!target?.nearest || !coverage) return new Uint32Array(0)
  const all = new Set([...coverage.busiest, ...coverage.neglected].map((neighbours) => neighbours.target))
  for (const row of exampleRows(shown)) {
    const nearest = nearestTarget(target, row)
    if (nearest !== undefined) all.add(nearest)
  }
  return Uint32Array.from(all).sort()
}

/** The rows of the examples section, each as often as it stands there. */
export function exampleRows({ picked, left, ranked }: ShownRows): number[] {
  if (!ranked) return [...picked, ...left]
  return [...ranked.best, ...ranked.last, ...ranked.next, ...ranked.left.flatMap(({ rows }) => [...rows])]
}

/** The target row nearest to a row of the pool, if it has one. */
export function nearestTarget({ nearest, rows }: ReportTarget, row: number): number | undefined {
  const target = nearest?.[row] ?? -1
  return target >= 0 && target < rows ? target : undefined
}

/** |C_k|, [K]. O(N). */
export function clusterSizes(clusters: ReportClusters, rows: number): Uint32Array {
  const sizes = new Uint32Array(clusters.count)
  for (let row = 0; row < rows; row++) {
    const cluster = clusters.assignment[row]
    if (cluster >= 0 && cluster < clusters.count) sizes[cluster]++
  }
  return sizes
}

/** Non-empty clusters in ascending order of size, ties by id: the order in which a balanced draw visits them. */
export function ascendingClusters(sizes: ArrayLike<number>): number[] {
  return Array.from({ length: sizes.length }, (_, k) => k)
    .filter((k) => sizes[k] > 0)
    .sort((a, b) => sizes[a] - sizes[b] || a - b)
}

/** Of the clusters in ascending order of size, the `limit` at evenly spaced ranks: the smallest, the largest, those between. */
export function spanningClusters(sizes: ArrayLike<number>, limit: number): number[] {
  const order = ascendingClusters(sizes)
  if (order.length <= limit) return order
  return Array.from({ length: limit }, (_, i) => order[Math.round((i * (order.length - 1)) / (limit - 1))])
}
