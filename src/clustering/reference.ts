/**
 * k-means as it is written in a textbook, in float64 on one thread, with nothing saved and nothing pruned: the oracle
 * that the accelerated one must equal bit for bit. It shares with it only definitions: the distance, the order of sums
 * (blocks.ts), the draw and the repair of empty clusters.
 */

import { randomStream } from '../random/philox.ts'
import { blocksOf } from './blocks.ts'
import { squaredDistance } from './distance.ts'
import { drawRow } from './draw.ts'
import type { KMeansOptions, KMeansResult, Points } from './kmeans.ts'
import { repair } from './update.ts'
import { validated } from './validation.ts'

type ReferenceOptions = Omit<KMeansOptions, 'parallel' | 'onProgress' | 'signal'> & {
  /** Sees the inertia after every assignment. */
  onInertia?: (inertia: number) => void
}

/** As `kmeans`, in O(n k d) an iteration. */
export function referenceKmeans(points: Points, options: ReferenceOptions): KMeansResult {
  const { k, d, restarts, iterations, tolerance } = validated(points, options)
  let best: KMeansResult | undefined
  for (let restart = 0; restart < restarts; restart++) {
    const centroids =
      options.initial === undefined ? seeds(points, k, options.seed, restart) : Float64Array.from(options.initial)
    let assignment = new Uint32Array(points.n)
    let iteration = 0
    let settled = false
    while (iteration < iterations && !settled) {
      const nearest = assign(points, centroids, k)
      options.onInertia?.(inertiaOf(points, centroids, nearest, k).total)
      const sizes = sizesOf(nearest, k)
      const moved = sizes.includes(0) ? repair(nearest, sizes, inertiaOf(points, centroids, nearest, k).squares) : 0
      settled = iteration > 0 && moved === 0 && nearest.every((c, row) => c === assignment[row])
      assignment = nearest
      const former = centroids.slice()
      update(points, assignment, centroids, k)
      iteration++
      let shift = 0
      for (let c = 0; c < k; c++) shift += squaredDistance(centroids, c * d, former, c * d, d)
      if (shift <= tolerance && tolerance > 0) break
    }
    assignment = assign(points, centroids, k)
    const inertia = inertiaOf(points, centroids, assignment, k).total
    options.onInertia?.(inertia)
    if (best === undefined || inertia < best.inertia)
      best = { centroids, assignment, inertia, sizes: sizesOf(assignment, k), iterations: iteration, restart }
  }
  return best as KMeansResult
}

/** argmin_c |x - c|^2 for each point, the lowest c in a tie. */
function assign({ data, n, d }: Points, centroids: Float64Array, k: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: n }, (_, row) => {
    let nearest = 0
    let least = Infinity
    for (let c = 0; c < k; c++) {
      const square = squaredDistance(data, row * d, centroids, c * d, d)
      if (square < least) {
        least = square
        nearest = c
      }
    }
    return nearest
  })
}

function sizesOf(assignment: Uint32Array, k: number): Uint32Array<ArrayBuffer> {
  const sizes = new Uint32Array(k)
  for (const c of assignment) sizes[c]++
  return sizes
}

/** Each centroid becomes the mean of its points; one without points stays. */
function update({ data, n, d }: Points, assignment: Uint32Array, centroids: Float64Array, k: number): void {
  const { rows } = blocksOf(n, d, k)
  const sums = new Float64Array(k * d)
  for (let first = 0; first < n; first += rows) {
    const blockSums = new Float64Array(k * d)
    for (let row = first; row < Math.min(n, first + rows); row++)
      for (let j = 0; j < d; j++) blockSums[assignment[row] * d + j] += data[row * d + j]
    for (let i = 0; i < k * d; i++) sums[i] += blockSums[i]
  }
  const sizes = sizesOf(assignment, k)
  for (let c = 0; c < k; c++)
    if (sizes[c] > 0) for (let j = 0; j < d; j++) centroids[c * d + j] = sums[c * d + j] / sizes[c]
}

/** Squared distance of each point to its centroid, their sums by block, and the sum of those. */
function inertiaOf({ data, n, d }: Points, centroids: Float64Array, assignment: Uint32Array, k: number) {
  const squares = Float64Array.from({ length: n }, (_, row) =>
    squaredDistance(data, row * d, centroids, assignment[row] * d, d),
  )
  const totals = blockTotals(squares, blocksOf(n, d, k).rows)
  return { squares, total: totals.reduce((a, b) => a + b, 0) }
}

function blockTotals(squares: Float64Array, rows: number): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: Math.ceil(squares.length / rows) }, (_, b) =>
    squares.subarray(b * rows, (b + 1) * rows).reduce((a, s) => a + s, 0),
  )
}

/** k-means++, each new seed measured against every point. */
function seeds({ data, n, d }: Points, k: number, seed: number, restart: number): Float64Array<ArrayBuffer> {
  const stream = randomStream(seed, 'kmeans', restart)
  const blocks = blocksOf(n, d, k)
  const centroids = new Float64Array(k * d)
  const squares = new Float64Array(n).fill(Infinity)
  let row: number | undefined = stream.below(n)
  for (let c = 0; c < k; c++) {
    for (let j = 0; j < d; j++) centroids[c * d + j] = row === undefined ? centroids[j] : data[row * d + j]
    for (let i = 0; i < n; i++) squares[i] = Math.min(squares[i], squaredDistance(data, i * d, centroids, c * d, d))
    if (c < k - 1) row = drawRow(squares, blockTotals(squares, blocks.rows), blocks, stream.uniform())
  }
  return centroids
}
