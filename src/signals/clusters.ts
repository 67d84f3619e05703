/** The `clusters` signal: k-means over rows of a matrix signal, rows without a finite value left out. */

import { WinnowError } from '../errors.ts'
import { type Signal, signal } from './signal.ts'

/** The cluster of a row that is in none: its losses are not all finite. */
export const NO_CLUSTER = 0xffffffff

export interface ClusterOptions {
  /** K, or `auto`: 100 for 10,000 rows or more, else floor(sqrt(rows)). For each group where there are groups. */
  clusters: number | 'auto'
  /** `standard`: each column to mean 0 and deviation 1 over the clustered rows. `none`: as it is, as in the paper. */
  normalise: 'none' | 'standard'
  restarts: number
  iterations: number
  seed: number
}

/** k-means on points row-major [n, d]: clustering/'s, with threads, progress and cancelling bound in by the caller. */
export type Kmeans = (
  points: { data: Float32Array; n: number; d: number },
  options: { k: number; seed: number; restarts: number; iterations: number },
) => KmeansOutcome | Promise<KmeansOutcome>

interface KmeansOutcome {
  /** Row-major [k, d]. */
  centroids: Float32Array | Float64Array
  /** [n] */
  assignment: ArrayLike<number>
  inertia: number
}

export interface Clusters {
  /** [N]: cluster of each row, NO_CLUSTER for rows left out. Clusters of one group have consecutive ids. */
  signal: Signal
  /** [K, d] row-major, in the units of the input also where it was normalised. */
  centroids: Signal
  /** [K] rows in each. */
  sizes: Uint32Array
  /** [K] group code of each cluster, where there are groups. */
  groups?: Uint32Array
  /** Sum of squared distances to the centroids, in the units that were clustered. */
  inertia: number
  /** Rows left out for a NaN or infinite value. */
  quarantined: number
}

/** K of METHODS: 100 when there are 10,000 rows or more, else floor(sqrt(rows)); at least 1. */
export function defaultClusterCount(rows: number): number {
  return rows >= 10_000 ? 100 : Math.max(1, Math.floor(Math.sqrt(rows)))
}

/**
 * `count` of `columns` column indices, evenly spaced, the last one always among them; all of them if there are fewer.
 * Of checkpoints at even steps these are again checkpoints at (nearly) even steps.
 */
export function evenColumns(columns: number, count: number): Uint32Array {
  const taken = Math.min(columns, count)
  return Uint32Array.from({ length: taken }, (_, index) => Math.ceil(((index + 1) * columns) / taken) - 1)
}

/** Keep only some columns of a matrix signal. O(N count). */
export function takeColumns(matrix: Signal, columns: Uint32Array): Signal {
  if (columns.length === matrix.columns) return matrix
  const data = new Float32Array(matrix.rows * columns.length)
  for (let row = 0, at = 0; row < matrix.rows; row++)
    for (let c = 0; c < columns.length; c++) data[at++] = matrix.data[row * matrix.columns + columns[c]]
  const columnNames = matrix.columnNames && Array.from(columns, (column) => matrix.columnNames![column])
  return signal(matrix.name, data, { ...matrix, columns: columns.length, columnNames, sha256: undefined })
}

/**
 * Cluster the rows of `matrix` ([N, d]), within each group of `groups` (a categorical signal) if given. Rows with a
 * value that is not finite are left out. A group with fewer rows than K gets a cluster for each of its rows.
 *
 * Deterministic in the input and the seed, as far as `kmeans` is.
 *
 * @throws {WinnowError} `too-many-clusters` when K exceeds the rows that can be clustered; `nothing-to-cluster`.
 */
export async function clusterRows(
  matrix: Signal,
  options: ClusterOptions,
  kmeans: Kmeans,
  groups?: Signal,
): Promise<Clusters> {
  const { rows, columns } = matrix
  const kept = finiteRows(matrix)
  if (kept.length === 0)
    throw new WinnowError('input', {
      code: 'nothing-to-cluster',
      message: `no row of signal ${matrix.name} has only finite values`,
      found: `${rows} rows`,
      hint: 'The prompts may fill the whole window: raise the maximum length.',
    })
  if (typeof options.clusters === 'number' && groups === undefined && options.clusters > kept.length)
    throw new WinnowError('usage', {
      code: 'too-many-clusters',
      message: 'there are fewer rows than clusters',
      path: '--clusters',
      found: String(options.clusters),
      expected: `at most ${kept.length}`,
    })

  const scale = options.normalise === 'standard' ? standardScale(matrix, kept) : undefined
  const assignment = new Uint32Array(rows).fill(NO_CLUSTER)
  const centroids: number[] = []
  const groupOfCluster: number[] = []
  let inertia = 0
  for (const { group, members } of membersByGroup(kept, groups)) {
    const wanted = options.clusters === 'auto' ? defaultClusterCount(members.length) : options.clusters
    const k = Math.min(wanted, members.length)
    const data = gather(matrix, members, scale)
    const { restarts, iterations, seed } = options
    const outcome = await kmeans({ data, n: members.length, d: columns }, { k, seed, restarts, iterations })
    const first = groupOfCluster.length
    for (let i = 0; i < members.length; i++) assignment[members[i]] = first + outcome.assignment[i]
    for (let i = 0; i < k * columns; i++) {
      const c = i % columns
      centroids.push(scale ? outcome.centroids[i] * scale.deviation[c] + scale.mean[c] : outcome.centroids[i])
    }
    for (let cluster = 0; cluster < k; cluster++) groupOfCluster.push(group)
    inertia += outcome.inertia
  }

  const sizes = new Uint32Array(groupOfCluster.length)
  for (const row of kept) sizes[assignment[row]]++
  const { clusters, normalise, restarts, iterations, seed } = options
  const within = groups?.name ?? null
  const provenance = { of: matrix.name, within, clusters, normalise, restarts, iterations, seed, inertia }
  return {
    signal: signal('clusters', assignment, { provenance }),
    centroids: signal('centroids', Float32Array.from(centroids), {
      columns,
      columnNames: matrix.columnNames,
      provenance,
    }),
    sizes,
    groups: groups && Uint32Array.from(groupOfCluster),
    inertia,
    quarantined: rows - kept.length,
  }
}

/** Rows whose every value is finite, ascending. */
function finiteRows({ data, rows, columns }: Signal): Uint32Array {
  const kept = new Uint32Array(rows)
  let count = 0
  for (let row = 0, at = 0; row < rows; row++, at += columns) {
    let finite = true
    for (let c = 0; c < columns; c++) finite &&= Number.isFinite(data[at + c])
    if (finite) kept[count++] = row
  }
  return kept.slice(0, count)
}

function membersByGroup(kept: Uint32Array, groups: Signal | undefined): { group: number; members: Uint32Array }[] {
  if (groups === undefined) return [{ group: 0, members: kept }]
  const byGroup = new Map<number, number[]>()
  for (const row of kept) {
    const group = groups.data[row]
    const members = byGroup.get(group)
    if (members === undefined) byGroup.set(group, [row])
    else members.push(row)
  }
  return [...byGroup]
    .sort(([a], [b]) => a - b)
    .map(([group, members]) => ({ group, members: Uint32Array.from(members) }))
}

interface Scale {
  mean: Float64Array
  /** 1 where a column is constant. */
  deviation: Float64Array
}

function standardScale({ data, columns }: Signal, kept: Uint32Array): Scale {
  const mean = new Float64Array(columns)
  const deviation = new Float64Array(columns)
  for (const row of kept) for (let c = 0; c < columns; c++) mean[c] += data[row * columns + c]
  for (let c = 0; c < columns; c++) mean[c] /= kept.length
  for (const row of kept) for (let c = 0; c < columns; c++) deviation[c] += (data[row * columns + c] - mean[c]) ** 2
  for (let c = 0; c < columns; c++) deviation[c] = Math.sqrt(deviation[c] / kept.length) || 1
  return { mean, deviation }
}

function gather({ data, rows, columns }: Signal, members: Uint32Array, scale: Scale | undefined): Float32Array {
  if (scale === undefined && members.length === rows && data instanceof Float32Array) return data
  const points = new Float32Array(members.length * columns)
  let at = 0
  for (const row of members)
    for (let c = 0; c < columns; c++) {
      const value = data[row * columns + c]
      points[at++] = scale ? (value - scale.mean[c]) / scale.deviation[c] : value
    }
  return points
}
