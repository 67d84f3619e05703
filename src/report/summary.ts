/** Everything counted over the rows of the pool, once, in passes of O(N): the sections only read it. */

import type { ReportData, ReportRows } from './data.ts'
import { ascendingClusters, clusterSizes, type ShownRows, sampleRows } from './samples.ts'

export interface ReportSummary {
  rows: number
  tokens: number
  selectedRows: number
  selectedTokens: number
  shown: ShownRows
  clusters?: ClusterSummary
  sources?: SourceCount[]
}

export interface ClusterSummary {
  /** |C_k| and rows picked of each cluster, [K]. */
  sizes: Uint32Array
  picks: Uint32Array
  /** Non-empty clusters in ascending order of size. */
  order: number[]
  label: (cluster: number) => string
  /** Clusters picked whole, and the fewest and most rows picked of the others (undefined if there are none). */
  whole: number
  quota?: { least: number; most: number }
  /** Rows in no cluster, and how many of them were picked all the same (because that was asked for). */
  unclustered: { rows: number; selected: number }
}

export interface SourceCount {
  name: string
  rows: number
  selected: number
}

export function summarise(data: Omit<ReportData, 'texts'>): ReportSummary {
  const { rows } = data
  let tokens = 0
  let selectedRows = 0
  let selectedTokens = 0
  for (let row = 0; row < rows.count; row++) {
    tokens += rows.lengths[row]
    if (rows.selected[row]) {
      selectedRows++
      selectedTokens += rows.lengths[row]
    }
  }
  const shown = sampleRows(data)
  return {
    rows: rows.count,
    tokens,
    selectedRows,
    selectedTokens,
    shown,
    clusters: summariseClusters(data),
    sources: countSources(rows),
  }
}

function summariseClusters({ rows, clusters }: Omit<ReportData, 'texts'>): ClusterSummary | undefined {
  if (!clusters) return undefined
  const sizes = clusterSizes(clusters, rows.count)
  const picks = new Uint32Array(clusters.count)
  const unclustered = { rows: 0, selected: 0 }
  for (let row = 0; row < rows.count; row++) {
    const cluster = clusters.assignment[row]
    const known = cluster >= 0 && cluster < clusters.count
    if (!known) unclustered.rows++
    if (!rows.selected[row]) continue
    if (known) picks[cluster]++
    else unclustered.selected++
  }
  const order = ascendingClusters(sizes)
  if (order.length === 0) return undefined
  const partial = order.filter((k) => picks[k] < sizes[k])
  let quota: ClusterSummary['quota']
  for (const k of partial) {
    quota = { least: Math.min(quota?.least ?? picks[k], picks[k]), most: Math.max(quota?.most ?? picks[k], picks[k]) }
  }
  const { labels } = clusters
  const label = (cluster: number) => labels?.[cluster] ?? `cluster ${cluster}`
  return { sizes, picks, order, label, whole: order.length - partial.length, quota, unclustered }
}

/** Rows and picked rows of each source, largest first; rows without a source are counted as `(no source)`. */
function countSources({ count, selected, source }: ReportRows): SourceCount[] | undefined {
  if (!source) return undefined
  const { codes, names } = source
  // One slot past the names holds the rows without one.
  const rows = new Float64Array(names.length + 1)
  const picked = new Float64Array(names.length + 1)
  for (let row = 0; row < count; row++) {
    const known = codes[row] >= 0 && codes[row] < names.length
    const slot = known ? codes[row] : names.length
    rows[slot]++
    if (selected[row]) picked[slot]++
  }
  return [...names, '(no source)']
    .map((name, slot) => ({ name, rows: rows[slot], selected: picked[slot] }))
    .filter((source) => source.rows > 0)
    .sort((a, b) => b.rows - a.rows)
}

/** How a balanced draw treated the clusters that it did not take whole: "17 rows", "17 or 18 rows", "12 to 18 rows". */
export function quotaInWords({ least, most }: { least: number; most: number }): string {
  const noun = most === 1 ? 'row' : 'rows'
  if (least === most) return `${most} ${noun}`
  return least + 1 === most ? `${least} or ${most} ${noun}` : `${least} to ${most} ${noun}`
}
