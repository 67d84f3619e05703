/** Between two assignments: new centroids from the block sums, and the tables that the search prunes by. */

import { squaredDistance } from './distance.ts'
import type { Layout, Views } from './layout.ts'
import { downward, upward } from './rounding.ts'

/** Adds the block sums in block order: `centroids` become means, those without points stay. Fills `sizes`. */
export function meansOf({ k, d, blocks }: Layout, views: Views, sizes: Uint32Array): void {
  const { sums, counts, centroids } = views
  const total = new Float64Array(k * d)
  sizes.fill(0)
  for (let b = 0; b < blocks.count; b++) {
    for (let i = 0; i < k * d; i++) total[i] += sums[b * k * d + i]
    for (let c = 0; c < k; c++) sizes[c] += counts[b * k + c]
  }
  for (let c = 0; c < k; c++) {
    if (sizes[c] === 0) continue
    for (let j = 0; j < d; j++) centroids[c * d + j] = total[c * d + j] / sizes[c]
  }
}

/**
 * Gives each empty cluster (in id order) the row farthest from its own centroid, out of clusters of more than one row;
 * ties go to the lower row. A row at distance 0 is never moved: with fewer distinct points than clusters, clusters
 * stay empty. Changes `assignment`, `sizes` and `squares`; returns how many rows moved. O(empty * n).
 */
export function repair(assignment: Uint32Array, sizes: Uint32Array, squares: Float64Array): number {
  let moved = 0
  for (let empty = 0; empty < sizes.length; empty++) {
    if (sizes[empty] > 0) continue
    let farthest = -1
    for (let row = 0; row < squares.length; row++) {
      if (squares[row] > (farthest < 0 ? 0 : squares[farthest]) && sizes[assignment[row]] > 1) farthest = row
    }
    if (farthest < 0) break
    sizes[assignment[farthest]]--
    sizes[empty] = 1
    assignment[farthest] = empty
    squares[farthest] = 0
    moved++
  }
  return moved
}

/**
 * Deals clusters into groups of near ones: halves the set along its widest dimension until each part fits a group.
 * Writes `slotCluster` and `groupOf`. Any dealing gives the same result; a good one prunes more.
 */
export function dealGroups({ d, groups, slotsPerGroup }: Layout, views: Views): void {
  const { centroids, slotCluster, groupOf } = views
  const spread = (clusters: number[], j: number) => {
    const values = clusters.map((c) => centroids[c * d + j])
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    return values.reduce((a, b) => a + (b - mean) ** 2, 0)
  }
  const deal = (clusters: number[], firstGroup: number, count: number): void => {
    if (count === 1) {
      for (const [slot, c] of clusters.entries()) {
        slotCluster[firstGroup * slotsPerGroup + slot] = c
        groupOf[c] = firstGroup
      }
      return
    }
    let widest = 0
    let most = -1
    for (let j = 0; j < d; j++) {
      const s = spread(clusters, j)
      if (s > most) [widest, most] = [j, s]
    }
    const sorted = clusters.toSorted((a, b) => centroids[a * d + widest] - centroids[b * d + widest] || a - b)
    const left = count >> 1
    const least = clusters.length - (count - left) * slotsPerGroup
    const share = Math.round((clusters.length * left) / count)
    const cut = Math.min(left * slotsPerGroup, Math.max(least, share))
    deal(sorted.slice(0, cut), firstGroup, left)
    deal(sorted.slice(cut), firstGroup + left, count - left)
  }
  slotCluster.fill(0xffffffff)
  deal(Array.from(groupOf.keys()), 0, groups)
}

/**
 * Renews what the search reads of the centroids: float32 copies, how far each moved since `former` (float64 [k, d]),
 * and how far the nearest other centroid is. O(k^2 d).
 * Returns the sum of squared movements.
 */
export function renewTables(layout: Layout, views: Views, former: Float64Array): number {
  const { k, d, slotsPerGroup } = layout
  const { centroids, rounded, tiles, slotCluster, groupOf, drift, groupDrift, separation, rounding } = views
  let shift = 0
  let worst = 0
  groupDrift.fill(0)
  for (let c = 0; c < k; c++) {
    const square = squaredDistance(centroids, c * d, former, c * d, d)
    shift += square
    drift[c] = square === 0 ? 0 : upward(Math.sqrt(square))
    groupDrift[groupOf[c]] = Math.max(groupDrift[groupOf[c]], drift[c])
    for (let i = c * d; i < (c + 1) * d; i++) rounded[i] = centroids[i]
    worst = Math.max(worst, squaredDistance(centroids, c * d, rounded, c * d, d))
  }
  // Beside the rounding of the centroids: squares below float32's smallest normal number lose their digits.
  rounding[0] = upward(Math.sqrt(worst) + Math.sqrt(d) * 2 ** -70)
  separation.set(halfSeparations(centroids, k, d))
  const tileSlots = slotsPerGroup / layout.tilesPerGroup
  for (let slot = 0; slot < slotCluster.length; slot++) {
    const c = slotCluster[slot]
    const place = Math.floor(slot / tileSlots) * tileSlots * d + (slot % tileSlots)
    for (let j = 0; j < d; j++) tiles[place + j * tileSlots] = c === 0xffffffff ? Infinity : rounded[c * d + j]
  }
  return shift
}

/** Beyond, the table costs more than it saves: k^2 d / 2 operations on one thread. */
const MOST_SEPARATION_WORK = 2 ** 27

function halfSeparations(centroids: Float64Array, k: number, d: number): Float32Array {
  if (k * k * d > MOST_SEPARATION_WORK) return new Float32Array(k)
  const least = new Float64Array(k).fill(Infinity)
  for (let a = 0; a < k; a++) {
    for (let b = a + 1; b < k; b++) {
      const square = squaredDistance(centroids, a * d, centroids, b * d, d)
      if (square < least[a]) least[a] = square
      if (square < least[b]) least[b] = square
    }
  }
  return Float32Array.from(least, (square) => Math.max(0, downward(Math.sqrt(square) / 2)))
}
