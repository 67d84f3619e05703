/** Where everything of one neighbour search lies in its WebAssembly memory. */

import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'
import { grouped, panelled } from './tiles.ts'

/** Bytes of products that a thread works on at a time: they stay in its cache. */
const TILE_BYTES = 2 ** 18
const LEAST_TILE_ROWS = 16

export interface Sizes {
  /** Queries. */
  m: number
  /** The most candidates of a block. */
  n: number
  d: number
  k: number
  threads: number
}

export interface Layout extends Sizes {
  /** m in whole panels: the length of a row of products. */
  columns: number
  /** Candidates worked on at a time. */
  tileRows: number
  at: Places<NeighbourRegions>
  pages: number
}

type NeighbourRegions = ReturnType<typeof regionsOf>
export type NeighbourViews = ViewsOf<NeighbourRegions>

function regionsOf(l: Omit<Layout, 'at' | 'pages'>) {
  return {
    ticket: [Int32Array, 1],
    panels: [Float32Array, l.columns * l.d],
    /** Row-major. */
    candidates: [Float32Array, grouped(l.n) * l.d],
    keep: [Uint8Array, l.n],
    /** For each thread: the k best rows of each query, as a heap with the worst on top, [threads, m, k]. */
    rows: [Uint32Array, l.threads * l.m * l.k],
    similarities: [Float32Array, l.threads * l.m * l.k],
    /** The worst of them, [threads, columns]: what a candidate must reach. */
    least: [Float32Array, l.threads * l.columns],
    tile: [Float32Array, l.threads * l.tileRows * l.columns],
  } as const
}

/** Plans the memory of a search. Pure. */
export function layoutOf(sizes: Sizes): Layout {
  const columns = panelled(sizes.m)
  const tileRows = Math.max(LEAST_TILE_ROWS, 4 * Math.floor(TILE_BYTES / (16 * columns)))
  const plan = { ...sizes, columns, tileRows }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

export function viewsOf(layout: Layout, buffer: ArrayBufferLike): NeighbourViews {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}
