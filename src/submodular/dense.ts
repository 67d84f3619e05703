/** Facility location with every similarity at hand: exact, for as many rows as their matrix has room for. */

import type { Parallel } from '../parallel/parallel.ts'
import { packFixed } from '../similarity/fixed-point.ts'
import { TILE } from '../similarity/graph-kernel.ts'
import { triangleTiles } from '../similarity/triangle.ts'
import { checkFinite, checkShape } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { openTeam } from '../webassembly/team.ts'
import { WebAssembly } from '../webassembly/webassembly.ts'
import { denseLayoutOf, denseModule, viewsOfDense } from './dense-kernel.ts'
import { attach, type Command, openKernel, type SharedDense } from './dense-shard.ts'
import { lazyGreedy, type Order } from './lazy-greedy.ts'
import { inCosines } from './sparse.ts'

export interface DenseOptions {
  /** Default: all rows. */
  picks?: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  signal?: AbortSignal
  /** Share done, in [0, 1]. */
  onProgress?: (fraction: number) => void
}

/** Multiply-adds, each pair twice, below which one thread is done before others have started. */
const WORTH_THREADS = 4e9
/** Share of the work that the matrix is, about. */
const MATRIX = 0.6
const STRETCHES = 20

/**
 * The greedy order for f(S) = sum_i max(0, max_{j in S} cos(i, j)), all pairs. Cosines are those of fixed-point.ts, gains exact sums of them,
 * rounded once: the same order and bits on any number of threads of any machine. n^2 d / 2 multiply-adds, then O(n) for each gain evaluated.
 * Memory: 4 n^2 bytes and 2 n d; below 4 GiB together.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite` or `memory`; `signal.reason` when aborted.
 */
export async function denseOrder(vectors: Vectors, options: DenseOptions = {}): Promise<Order> {
  const { signal, onProgress } = options
  checkShape(vectors, 'rows')
  checkFinite(vectors.data, vectors.d, 'rows')
  const { n, d } = vectors
  const picks = Math.min(n, options.picks ?? n)
  const parallel = n * n * d > WORTH_THREADS ? options.parallel : undefined
  const threads = parallel?.threads ?? 1
  const layout = denseLayoutOf({ n, d, threads })
  const shared = threads > 1
  const memory = allocateMemory(layout.pages, shared, `all similarities of ${n} rows`, 'Use a neighbour graph.')
  const problem: SharedDense = { layout, memory, module: await WebAssembly.compile(denseModule(layout, shared)) }
  const views = viewsOfDense(layout, memory.buffer)
  packFixed(vectors, views.panels)
  {
    const handle = await attach(problem, 0)
    const url = new URL(`./dense-shard${import.meta.url.slice(-3)}`, import.meta.url).href
    await using team = openTeam<Command>(parallel, url, problem, views.ticket, handle)
    const total = triangleTiles(layout.padded / TILE)
    const stretch = Math.ceil(total / STRETCHES)
    for (let first = 0; first < total; first += stretch) {
      signal?.throwIfAborted()
      await team.run({ first }, Math.min(stretch, total - first))
      onProgress?.((MATRIX * Math.min(total, first + stretch)) / total)
    }
  }
  const { gain, take } = await openKernel(problem, 0)
  const order = await lazyGreedy({
    gains: Float64Array.from({ length: n }, (_, row) => gain(row)),
    picks,
    gain,
    take,
    signal,
    onProgress: (picked) => onProgress?.(MATRIX + (1 - MATRIX) * (picked / picks)),
  })
  return inCosines(order)
}
