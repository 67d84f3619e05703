/**
 * Where everything of one k-means problem lies in its WebAssembly memory, so that the kernel and every thread see the
 * same arrays without copies.
 *
 * Centroids are kept twice. `centroids` are the float64 ones that the result is made of. `tiles` are float32 copies for
 * the scan: clusters are dealt into *groups* of neighbouring clusters, a group into *tiles* of a few SIMD vectors, and
 * a tile is laid out [d, slots] so that one load brings one dimension of four clusters. Slots beyond k hold +Infinity.
 */

import { type Blocks, blocksOf } from './blocks.ts'

/** SIMD vectors of four clusters in a tile, a power of two; 8 measured fastest at K = 100, d = 12. */
export const TILE_VECTORS = 8
/** Rows that the search takes through its passes together. */
export const CHUNK_ROWS = 512
const TILE_SLOTS = 4 * TILE_VECTORS
/** Distance bounds kept for a point, one for each group; more would prune better and cost more memory. */
const MOST_GROUPS = 16
const PAGE = 65536

export interface Layout {
  n: number
  d: number
  k: number
  threads: number
  blocks: Blocks
  groups: number
  tilesPerGroup: number
  slotsPerGroup: number
  /** `groups` rounded up to whole vectors: bounds stored per point. */
  bounds: number
  /** Byte offsets. */
  at: Record<Region, number>
  pages: number
}

type Region = keyof typeof REGIONS

/** Region: element type and length. */
const REGIONS = {
  /** float32 [n, d], the caller's points. */
  points: [Float32Array, (l: Sizes) => l.n * l.d],
  /** Cluster of each point, [n]. */
  assignment: [Uint32Array, (l: Sizes) => l.n],
  /** Upper bound of each point's distance to its own centroid, [n]. */
  upper: [Float32Array, (l: Sizes) => l.n],
  /** Lower bound of its distance to every other centroid of a group, [n, bounds]. */
  lower: [Float32Array, (l: Sizes) => l.n * l.bounds],
  /** Squared distances float64 [n]: shares the memory of `lower`, never needed at the same time. */
  squares: [Float64Array, (l: Sizes) => l.n],
  /** float64 [k, d]. */
  centroids: [Float64Array, (l: Sizes) => l.k * l.d],
  /** The same rounded to float32, [k, d]. */
  rounded: [Float32Array, (l: Sizes) => l.k * l.d],
  /** The same dealt into tiles, [groups, tiles, d, slots]. */
  tiles: [Float32Array, (l: Sizes) => l.slots * l.d],
  /** Cluster in each slot, [groups * slotsPerGroup]. */
  slotCluster: [Uint32Array, (l: Sizes) => l.slots],
  /** Group of each cluster, [k]. */
  groupOf: [Uint32Array, (l: Sizes) => l.k],
  /** Upper bound of how far each centroid moved last, [k]. */
  drift: [Float32Array, (l: Sizes) => l.k],
  /** The largest of these in each group, [bounds]. */
  groupDrift: [Float32Array, (l: Sizes) => l.bounds],
  /** Lower bound of half the distance to the nearest other centroid, [k]. */
  separation: [Float32Array, (l: Sizes) => l.k],
  /** Upper bound of |float32 centroid - float64 centroid| over the clusters, [1]. */
  rounding: [Float32Array, () => 1],
  /** Below a quarter of the squared distances between the newest seed and the earlier ones, [k]. */
  gapsBelow: [Float32Array, (l: Sizes) => l.k],
  /** Sums of points per block and cluster, [blocks, k, d]. */
  sums: [Float64Array, (l: Sizes) => l.blocks * l.k * l.d],
  /** Points per block and cluster, [blocks, k]. */
  counts: [Uint32Array, (l: Sizes) => l.blocks * l.k],
  /** A float64 sum per block, [blocks]. */
  totals: [Float64Array, (l: Sizes) => l.blocks],
  /** Points that changed cluster, per block, [blocks]. */
  changed: [Uint32Array, (l: Sizes) => l.blocks],
  /** The next block to take, [1]. */
  ticket: [Int32Array, () => 1],
  /** For each thread: the squares of all slots, then a list of rows, their open groups and squares. */
  scratch: [Uint32Array, (l: Sizes) => l.threads * scratchWords(l.slots)],
} as const

interface Sizes {
  n: number
  d: number
  k: number
  threads: number
  bounds: number
  slots: number
  blocks: number
}

/** 32-bit words of scratch for a thread, whole cache lines. */
export function scratchWords(slots: number): number {
  return 16 * Math.ceil((slots + 3 * CHUNK_ROWS) / 16)
}

/** Plans the memory of n points of d dimensions in k clusters on a number of threads. Pure. */
export function layoutOf(n: number, d: number, k: number, threads: number): Layout {
  const wanted = Math.min(MOST_GROUPS, Math.ceil(k / TILE_SLOTS))
  const tilesPerGroup = Math.ceil(k / (wanted * TILE_SLOTS))
  const slotsPerGroup = tilesPerGroup * TILE_SLOTS
  const groups = Math.ceil(k / slotsPerGroup)
  const bounds = 4 * Math.ceil(groups / 4)
  const blocks = blocksOf(n, d, k)
  const sizes = { n, d, k, threads, bounds, slots: groups * slotsPerGroup, blocks: blocks.count }
  const at = {} as Record<Region, number>
  let end = 64
  for (const name of Object.keys(REGIONS) as Region[]) {
    const [type, length] = REGIONS[name]
    at[name] = name === 'squares' ? at.lower : end
    const bytes = length(sizes) * type.BYTES_PER_ELEMENT
    end = Math.max(end, at[name] + 64 * Math.ceil(bytes / 64))
  }
  return {
    ...{ n, d, k, threads, blocks, groups, tilesPerGroup, slotsPerGroup, bounds, at },
    // The scan may read one vector past a row.
    pages: Math.ceil((end + 64) / PAGE),
  }
}

export type Views = { [R in Region]: InstanceType<(typeof REGIONS)[R][0]> }

type ViewConstructor = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Views[Region]

/** Typed arrays over every region of the memory. */
export function viewsOf(layout: Layout, buffer: ArrayBufferLike): Views {
  const slots = layout.groups * layout.slotsPerGroup
  const sizes = { ...layout, slots, blocks: layout.blocks.count }
  const views = Object.entries(REGIONS).map(([name, [type, length]]) => [
    name,
    new (type as ViewConstructor)(buffer, layout.at[name as Region], length(sizes)),
  ])
  return Object.fromEntries(views)
}
