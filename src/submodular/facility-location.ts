/** Facility location over a set of vectors: the order in which rows best stand for all of them. */

import type { Parallel } from '../parallel/parallel.ts'
import { neighbourGraph } from '../similarity/graph.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { denseOrder } from './dense.ts'
import type { Order } from './lazy-greedy.ts'
import { sparseOrder } from './sparse.ts'

/** Rows up to which all similarities are held: 1 GiB of them. */
export const DENSE_ROWS = 16_384

export interface FacilityOptions {
  /** Picks. Default: all rows. The graph's search costs much more than the whole order. */
  picks?: number
  /** Neighbours of each row that may cover it, beyond `denseRows`. Default 64. */
  neighbours?: number
  /** Rows up to which all pairs count. Default 16,384. */
  denseRows?: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  signal?: AbortSignal
  /** Share done, in [0, 1]. */
  onProgress?: (fraction: number) => void
}

/** Share of the work that the graph is, about. */
const GRAPH = 0.95

/**
 * Greedy maximisation of f(S) = sum_i max_{j in S} sim(i, j), sim the cosine, a negative one counting as 0, so that f is monotone and f({}) = 0:
 * within 1 - 1/e of the optimum for every size (Nemhauser, Wolsey & Fisher, 1978), by lazy evaluation (Minoux, 1978), ties by row id.
 *
 * Up to `denseRows` rows over all pairs (dense.ts); beyond, over each row's exact k nearest neighbours and itself (sparse.ts), similarities to
 * others counting as 0: f is then bounded from below, and the guarantee is for the bound. With fewer than n / k picks many rows are covered by
 * nobody near; the bound is then far below f.
 *
 * Vectors need not be of unit length; a zero vector covers nothing and nobody covers it. The same order and bits on any number of threads of
 * any machine. n^2 d / 2 multiply-adds. Memory: dense 4 n^2 + 2 n d bytes; sparse 2 n d + 8 n k (threads + 3).
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `neighbours-option` or `memory`; `signal.reason` when aborted.
 */
export async function facilityOrder(vectors: Vectors, options: FacilityOptions = {}): Promise<Order> {
  const { neighbours = 64, denseRows = DENSE_ROWS, picks, onProgress, ...shared } = options
  if (vectors.n <= denseRows) return denseOrder(vectors, { ...shared, picks, onProgress })
  const graph = await neighbourGraph(vectors, {
    ...shared,
    k: neighbours,
    onProgress: ({ done, total }) => onProgress?.((GRAPH * done) / total),
  })
  const most = Math.min(vectors.n, picks ?? vectors.n)
  return sparseOrder(graph, {
    picks,
    signal: shared.signal,
    onProgress: (picked) => onProgress?.(GRAPH + (1 - GRAPH) * (picked / most)),
  })
}

/**
 * One order of the orders of disjoint parts of a pool, whose rows are ids of the pool: always the part whose next pick gains most, ties by row
 * id. That is the greedy order for the sum of the parts' objectives: f with similarities between parts counted as 0. O(n parts).
 */
export function mergeOrders(parts: readonly Order[]): Order {
  const total = parts.reduce((sum, { rows }) => sum + rows.length, 0)
  const merged: Order = { rows: new Uint32Array(total), gains: new Float64Array(total) }
  const next = new Uint32Array(parts.length)
  for (let at = 0; at < total; at++) {
    let [best, most, first] = [-1, -1, -1]
    for (let part = 0; part < parts.length; part++) {
      const { rows, gains } = parts[part]
      const place = next[part]
      if (place === rows.length) continue
      if (gains[place] < most || (gains[place] === most && rows[place] > first)) continue
      ;[best, most, first] = [part, gains[place], rows[place]]
    }
    next[best]++
    merged.rows[at] = first
    merged.gains[at] = most
  }
  return merged
}
