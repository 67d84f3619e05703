/** Facility location on a neighbour graph: a row is covered by the columns in its own list, and by itself. */

import { FIXED_ONE } from '../similarity/fixed-point.ts'
import type { NeighbourGraph } from '../similarity/graph.ts'
import { NO_ROW } from '../similarity/neighbours.ts'
import { lazyGreedy, type Order } from './lazy-greedy.ts'

export interface SparseOptions {
  /** Default: all rows. */
  picks?: number
  signal?: AbortSignal
  onProgress?: (picked: number) => void
}

/**
 * The greedy order for f(S) = sum_i max_{j in S} s(i, j), where s(i, j) is the cosine if j is i itself or among its k nearest, else 0. Gains in
 * cosines: exact sums, rounded once. Deterministic. Memory: 8 n (k + 1) bytes beside the graph. O(n k) and O(in-degree + log n) for each of the
 * gains evaluated.
 *
 * Errors: `signal.reason` when aborted.
 */
export async function sparseOrder(
  graph: NeighbourGraph,
  { picks = graph.n, signal, onProgress }: SparseOptions = {},
): Promise<Order> {
  const { n, k, rows, similarity, self } = graph
  // By column: which rows it covers, and how well.
  const starts = new Uint32Array(n + 1)
  for (let column = 0; column < n; column++) starts[column + 1] = 1
  for (let at = 0; at < n * k; at++) if (rows[at] !== NO_ROW) starts[rows[at] + 1]++
  for (let column = 0; column < n; column++) starts[column + 1] += starts[column]
  const next = starts.slice(0, n)
  const covered = new Uint32Array(starts[n])
  const value = new Int32Array(starts[n])
  for (let row = 0; row < n; row++) {
    const at = next[row]++
    covered[at] = row
    value[at] = self[row]
    for (let r = row * k; r < (row + 1) * k; r++) {
      if (rows[r] === NO_ROW) break
      const place = next[rows[r]]++
      covered[place] = row
      value[place] = similarity[r]
    }
  }
  const best = new Int32Array(n)
  const gain = (column: number) => {
    let sum = 0
    for (let at = starts[column]; at < starts[column + 1]; at++) {
      const more = value[at] - best[covered[at]]
      if (more > 0) sum += more
    }
    return sum
  }
  const order = await lazyGreedy({
    gains: Float64Array.from({ length: n }, (_, column) => gain(column)),
    picks: Math.min(picks, n),
    gain,
    take: (column) => {
      for (let at = starts[column]; at < starts[column + 1]; at++)
        if (value[at] > best[covered[at]]) best[covered[at]] = value[at]
    },
    signal,
    onProgress,
  })
  return inCosines(order)
}

/** Gains from units of 2^-28. */
export function inCosines({ rows, gains }: Order): Order {
  return { rows, gains: gains.map((gain) => gain / FIXED_ONE) }
}
