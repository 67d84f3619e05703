/** The exact k nearest neighbours, by cosine, of each row among all others: a sparse graph over a set of vectors. */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { openTeam } from '../webassembly/team.ts'
import { WebAssembly } from '../webassembly/webassembly.ts'
import { packFixed } from './fixed-point.ts'
import { graphLayoutOf, graphModule, TILE, viewsOfGraph } from './graph-kernel.ts'
import { attach, type Command, MOST_ROWS, productOfKey, rowOfKey, type SharedGraph } from './graph-shard.ts'
import { NO_ROW } from './neighbours.ts'
import { triangleTiles } from './triangle.ts'
import { checkFinite, checkShape } from './validation.ts'
import type { Vectors } from './vectors.ts'

export interface NeighbourGraph {
  n: number
  /** Neighbours of a row, at most. */
  k: number
  /** Row-major [n, k], best first, ties by row id; NO_ROW where there were fewer. A row is not among its own. */
  rows: Uint32Array
  /** Cosines in units of 2^-28, row-major [n, k]; 0 beside NO_ROW. */
  similarity: Int32Array
  /** [n]: each row's product with itself, which rounding leaves near 2^28; 0 for a zero vector. */
  self: Int32Array
}

export interface GraphOptions {
  /** Neighbours of each row. */
  k: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  signal?: AbortSignal
  /** Tiles done, of all. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/**
 * The k nearest of all other rows to each of n rows, among those whose cosine is above 0.
 *
 * Vectors need not be of unit length. Cosines are those of vectors in fixed point (fixed-point.ts), as exact integers: the same neighbours,
 * order and bits on any number of threads of any machine. Each pair is computed once: n (n + 1) d / 2 multiply-adds, and no matrix is held.
 * Memory: 2 n d bytes, and 8 n k for every thread and the result; below 4 GiB together.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `neighbours-option` or `memory`; `signal.reason` when aborted.
 */
export async function neighbourGraph(vectors: Vectors, options: GraphOptions): Promise<NeighbourGraph> {
  const { signal, onProgress } = options
  checkShape(vectors, 'rows')
  checkFinite(vectors.data, vectors.d, 'rows')
  const { n, d } = vectors
  if (!(Number.isSafeInteger(options.k) && options.k >= 1)) throw fault('k', options.k, 'an integer >= 1')
  if (n > MOST_ROWS) throw fault('rows', `${n} of them`, `at most ${MOST_ROWS}`)
  const k = Math.min(options.k, Math.max(1, n - 1))
  const parallel = n * n * d > WORTH_THREADS ? options.parallel : undefined
  const threads = parallel?.threads ?? 1
  const layout = graphLayoutOf({ n, d, k, threads })
  const shared = threads > 1
  const memory = allocateMemory(layout.pages, shared, `${k} neighbours of ${n} rows`, 'Ask for fewer neighbours.')
  const graph: SharedGraph = { layout, memory, module: await WebAssembly.compile(graphModule(layout, shared)) }
  const views = viewsOfGraph(layout, memory.buffer)
  packFixed(vectors, views.panels)
  views.least.fill(1)
  const handle = await attach(graph, 0)
  const url = new URL(`./graph-shard${import.meta.url.slice(-3)}`, import.meta.url).href
  await using team = openTeam<Command>(parallel, url, graph, views.ticket, handle)
  const total = triangleTiles(layout.padded / TILE)
  const stretch = Math.max(LEAST_STRETCH, Math.ceil(total / STRETCHES))
  for (let first = 0; first < total; first += stretch) {
    signal?.throwIfAborted()
    await team.run({ first }, Math.min(stretch, total - first))
    onProgress?.({ done: Math.min(total, first + stretch), total })
  }
  return { n, k, ...merged(views.keys, n, k, threads), self: views.self.slice(0, n) }
}

/** Multiply-adds, each pair twice, below which one thread is done before others have started. */
const WORTH_THREADS = 4e9
/** Between two of them progress is told and an abort heard. */
const STRETCHES = 200
const LEAST_STRETCH = 64

const fault = (message: string, found: unknown, expected: string) =>
  new WinnowError('input', { code: 'neighbours-option', message, found: String(found), expected })

/** The k best of every thread's k best, in order. */
function merged(
  keys: Float64Array,
  n: number,
  k: number,
  threads: number,
): Pick<NeighbourGraph, 'rows' | 'similarity'> {
  const rows = new Uint32Array(n * k).fill(NO_ROW)
  const similarity = new Int32Array(n * k)
  const all = new Float64Array(threads * k)
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < threads; t++) {
      const from = (t * n + i) * k
      all.set(keys.subarray(from, from + k), t * k)
    }
    all.sort()
    for (let r = 0; r < k; r++) {
      const key = all[all.length - 1 - r]
      if (key === 0) break
      rows[i * k + r] = rowOfKey(key)
      similarity[i * k + r] = productOfKey(key)
    }
  }
  return { rows, similarity }
}
