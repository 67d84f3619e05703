/**
 * k-means (Lloyd, 1982) with k-means++ seeding (Arthur & Vassilvitskii, SODA 2007), exact and accelerated.
 *
 * The clusters are, to the bit, those of the plain algorithm in float64 (reference.ts is that algorithm), whatever the
 * number of threads and whichever machine: bounds and float32 vectors only decide what need not be computed.
 */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { randomStream } from '../random/philox.ts'
import { type WasmMemory, WebAssembly } from '../webassembly/webassembly.ts'
import { squaredDistance } from './distance.ts'
import { drawRow } from './draw.ts'
import { kernelModule } from './kernel.ts'
import { type Layout, layoutOf, type Views, viewsOf } from './layout.ts'
import { downward } from './rounding.ts'
import { attach, type Command, type SharedProblem } from './shard.ts'
import { dealGroups, meansOf, renewTables, repair } from './update.ts'
import { validated } from './validation.ts'

export interface Points {
  /** Row-major [n, d], finite. */
  data: Float32Array
  n: number
  d: number
}

export interface KMeansOptions {
  /** Clusters, 1 <= k <= n. */
  k: number
  /** Seed of k-means++, an integer in [0, 2^53). Not used with `initial`. */
  seed: number
  /** Independent starts, of which the lowest inertia is kept (the earlier one in a tie). Default 3; 1 with `initial`. */
  restarts?: number
  /** Most rounds of assignment and update in each start. Default 20. */
  iterations?: number
  /**
   * A start also ends when the centroids' squared movements sum to no more than this (units of the points, squared).
   * Default 0: it ends when no point changes cluster.
   */
  tolerance?: number
  /** Centroids to start from, row-major [k, d], finite in float32. */
  initial?: Float32Array | Float64Array
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  onProgress?: (progress: KMeansProgress) => void
  signal?: AbortSignal
}

export interface KMeansProgress {
  /** 0-based. */
  restart: number
  restarts: number
  /** 0 while seeding, then 1-based. */
  iteration: number
  iterations: number
  /** Points that changed cluster in this iteration. */
  changed: number
}

export interface KMeansResult {
  /** Float64 [k, d]. */
  centroids: Float64Array
  /** Nearest centroid of each point, [n]; the lowest id in a tie. */
  assignment: Uint32Array
  /** Sum over the points of the squared distance to their centroid. */
  inertia: number
  /** Points in each cluster, [k]. */
  sizes: Uint32Array
  /** Rounds done by the start that was kept. */
  iterations: number
  /** Which start was kept, 0-based. */
  restart: number
}

/**
 * Clusters n points into k by squared Euclidean distance: alternately gives each point to its nearest centroid and
 * moves each centroid to the mean of its points, then assigns once more, so that `assignment`, `inertia` and `sizes`
 * belong to `centroids`.
 *
 * A cluster left empty by an assignment takes the point farthest from its own centroid (update.ts). With fewer distinct
 * points than k, the surplus clusters end empty, sizes 0, their centroids copies of points; the last assignment of a run
 * stopped by `iterations` can, rarely, leave one empty too.
 *
 * Deterministic: the same points and options give the same bits on any number of threads. Without pruning it costs
 * O(n k d) an iteration; memory beside the caller's points: 4 n (d + 2 + G) bytes, G <= 16 being ceil(k / 32) rounded up
 * to a multiple of 4, plus at most 64 MiB; all of it must fit 4 GiB.
 *
 * Errors: `WinnowError` with code `points-shape`, `non-finite-point`, `clusters`, `initial-centroids`, `kmeans-option`
 * or `points-too-large`; `signal.reason` when aborted.
 */
export async function kmeans(points: Points, options: KMeansOptions): Promise<KMeansResult> {
  const { n, d, k, restarts, iterations, tolerance } = validated(points, options)
  const { initial, seed, signal, onProgress } = options
  // Starting threads takes tens of milliseconds of a processor.
  const parallel = n * k * d * iterations * restarts > WORTH_THREADS ? options.parallel : undefined
  const layout = layoutOf(n, d, k, parallel?.threads ?? 1)
  await using problem = await openProblem(layout, parallel)
  const { views } = problem
  views.points.set(points.data)

  let best: KMeansResult | undefined
  for (let restart = 0; restart < restarts; restart++) {
    const report = (iteration: number, changed: number) =>
      onProgress?.({ restart, restarts, iteration, iterations, changed })
    report(0, 0)
    if (initial !== undefined) views.centroids.set(initial)
    else await seedCentroids(problem, layout, seed, restart, signal)
    const result = { ...(await lloyd(problem, layout, iterations, tolerance, report, signal)), restart }
    if (best === undefined || result.inertia < best.inertia) best = result
  }
  return best as KMeansResult
}

/** Multiply-adds, unpruned, below which one thread is done before others have started. */
const WORTH_THREADS = 5e8

interface Problem extends AsyncDisposable {
  views: Views
  run(command: Command): Promise<void>
}

/** Lays the problem out in memory, compiles the kernel for it and brings up the threads. */
async function openProblem(layout: Layout, parallel: Parallel | undefined): Promise<Problem> {
  const shared = parallel !== undefined
  let memory: WasmMemory
  try {
    memory = new WebAssembly.Memory({ initial: layout.pages, maximum: layout.pages, shared })
  } catch (cause) {
    throw new WinnowError(
      'failure',
      {
        code: 'points-too-large',
        message: `k-means on ${layout.n} points of ${layout.d} dimensions cannot get its memory`,
        found: `${Math.ceil(layout.pages / 16)} MiB needed`,
        expected: 'at most 4096 MiB, and as much free',
        hint: 'Use fewer points, dimensions or clusters.',
      },
      { cause },
    )
  }
  const relaxed = kernelModule(layout, shared, true)
  const bytes = WebAssembly.validate(relaxed) ? relaxed : kernelModule(layout, shared, false)
  const problem: SharedProblem = { layout, memory, module: await WebAssembly.compile(bytes) }
  const views = viewsOf(layout, memory.buffer)
  const handle = await attach(problem, 0)
  const crew = parallel?.start(new URL(`./shard${import.meta.url.slice(-3)}`, import.meta.url).href, problem)
  let turned = performance.now()
  return {
    views,
    run: async (command) => {
      views.ticket[0] = 0
      const others = crew?.run(command)
      try {
        handle(command)
      } finally {
        await others
      }
      // The event loop must turn for workers to report ready, and now and then for timers and aborts.
      if (performance.now() - turned < (crew?.gathering ? 5 : 50)) return
      await turnOfEvents()
      turned = performance.now()
    },
    [Symbol.asyncDispose]: async () => crew?.[Symbol.asyncDispose](),
  }
}

/** Lets the event loop turn once. Browsers have no setImmediate. */
function turnOfEvents(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    else setTimeout(resolve)
  })
}

/** k-means++: the first seed uniform, each next one drawn in proportion to the squared distance to the nearest so far. */
async function seedCentroids(
  problem: Problem,
  { n, d, k, blocks }: Layout,
  seed: number,
  restart: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { points, centroids, rounded, squares, totals, gapsBelow } = problem.views
  const stream = randomStream(seed, 'kmeans', restart)
  let row: number | undefined = stream.below(n)
  for (let c = 0; ; c++) {
    signal?.throwIfAborted()
    // With all points on a seed already, copies of the first seed fill up.
    for (let j = 0; j < d; j++) centroids[c * d + j] = row === undefined ? centroids[j] : points[row * d + j]
    rounded.set(centroids.subarray(c * d, (c + 1) * d), c * d)
    if (c === k - 1) return
    for (let b = 0; b < c; b++) {
      gapsBelow[b] = downward(squaredDistance(centroids, c * d, centroids, b * d, d) / 4)
    }
    await problem.run({ do: 'seed', seed: c })
    row = drawRow(squares, totals, blocks, stream.uniform())
  }
}

async function lloyd(
  problem: Problem,
  layout: Layout,
  iterations: number,
  tolerance: number,
  report: (iteration: number, changed: number) => void,
  signal: AbortSignal | undefined,
): Promise<Omit<KMeansResult, 'restart'>> {
  const { views } = problem
  const { k, blocks } = layout
  const sizes = new Uint32Array(k)
  dealGroups(layout, views)
  renewTables(layout, views, views.centroids)
  await problem.run({ do: 'reset', clusters: true })

  let iteration = 0
  let settled = false
  while (iteration < iterations && !settled) {
    signal?.throwIfAborted()
    await problem.run({ do: 'assign', sum: true })
    let changed = iteration === 0 ? layout.n : views.changed.reduce((a, b) => a + b, 0)
    iteration++
    const former = views.centroids.slice()
    meansOf(layout, views, sizes)
    if (sizes.includes(0)) {
      const means = views.centroids.slice()
      views.centroids.set(former)
      await problem.run({ do: 'measure' })
      const moved = repair(views.assignment, sizes, views.squares)
      await problem.run({ do: 'reset', clusters: false })
      views.centroids.set(means)
      if (moved > 0) {
        await problem.run({ do: 'sum' })
        meansOf(layout, views, sizes)
        changed += moved
      }
    }
    const shift = renewTables(layout, views, former)
    report(iteration, changed)
    // Unchanged clusters have unchanged means: nothing can move any more.
    if (changed === 0) settled = true
    else if (shift <= tolerance && tolerance > 0) break
  }
  if (!settled) await problem.run({ do: 'assign', sum: true })
  sizes.fill(0)
  for (let b = 0; b < blocks.count; b++) for (let c = 0; c < k; c++) sizes[c] += views.counts[b * k + c]
  await problem.run({ do: 'measure' })
  const inertia = views.totals.reduce((a, b) => a + b, 0)
  return {
    centroids: views.centroids.slice(),
    assignment: views.assignment.slice(),
    inertia,
    sizes,
    iterations: iteration,
  }
}
