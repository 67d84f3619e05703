/** Memory and inner loops of the neighbour graph, generated for a problem. */

import { assemble, call, functionBuilder, I32, i32, i32x4, loopWhile, v128 } from '../webassembly/assembler.ts'
import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'
import { fixedLanes } from './fixed-point.ts'
import { fixedDotsFunction } from './fixed-tiles.ts'
import { PANEL_COLUMNS } from './tiles.ts'

/** Rows, and columns, of a tile: its vectors and its products stay in a core's own cache. */
export const TILE = 128
export const TILE_PANELS = TILE / PANEL_COLUMNS

export interface GraphSizes {
  n: number
  d: number
  k: number
  threads: number
}

export interface GraphLayout extends GraphSizes {
  /** n in whole tiles. */
  padded: number
  at: Places<GraphRegions>
  pages: number
}

type GraphRegions = ReturnType<typeof regionsOf>

function regionsOf({ n, d, k, threads, padded }: Omit<GraphLayout, 'at' | 'pages'>) {
  return {
    ticket: [Int32Array, 1],
    panels: [Int32Array, fixedLanes(padded, d)],
    /** What a product must reach to count for a row. A stale one, which another thread wrote over, only lets more through. */
    least: [Int32Array, padded],
    /** Each row's product with itself. */
    self: [Int32Array, padded],
    /** For each thread: the k best neighbours of each row as keys, a heap with the worst on top, [threads, n, k]. */
    keys: [Float64Array, threads * n * k],
    tile: [Int32Array, threads * TILE * TILE],
  } as const
}

export function graphLayoutOf(sizes: GraphSizes): GraphLayout {
  const plan = { ...sizes, padded: TILE * Math.ceil(sizes.n / TILE) }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

export function viewsOfGraph(layout: GraphLayout, buffer: ArrayBufferLike): ViewsOf<GraphRegions> {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}

export interface GraphKernel {
  dots(rows: number, rowPanels: number, panels: number, panelCount: number, tile: number, stride: number): number
  /**
   * Calls `core.offer(place)` (in bytes from the row's start) for each of the row's `bytes` / 4 products that reaches `least`, or what stands
   * for its column at `leastAt`. Eight at a time: some beyond the last are looked at too.
   */
  scan(row: number, leastAt: number, least: number, bytes: number): number
}

export function graphModule(layout: GraphLayout, shared: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [{ name: 'offer', parameters: 1 }],
    functions: [
      { name: 'dots', parameters: 6, code: fixedDotsFunction(layout.d) },
      { name: 'scan', parameters: 4, code: scanFunction() },
    ],
  })
}

function scanFunction(): number[] {
  const build = functionBuilder(4)
  const [row, leastAt, least, bytes] = build.parameters
  const [offset, mask] = [build.local(I32), build.local(I32)]
  const reached = (extra: number) => {
    const products = v128.load(i32.add(row.get, offset.get), extra)
    const ofColumn = i32x4.ge(products, v128.load(i32.add(leastAt.get, offset.get), extra))
    return i32x4.bitmask(v128.or(ofColumn, i32x4.ge(products, i32x4.splat(least.get))))
  }
  return build.close([
    ...offset.set(i32.const(0)),
    ...loopWhile(
      i32.ltU(offset.get, bytes.get),
      mask.set(i32.or(reached(0), i32.shl(reached(16), i32.const(4)))),
      loopWhile(
        mask.get,
        call(0, i32.add(offset.get, i32.shl(i32.ctz(mask.get), i32.const(2)))),
        mask.set(i32.and(mask.get, i32.sub(mask.get, i32.const(1)))),
      ),
      offset.set(i32.add(offset.get, i32.const(32))),
    ),
    ...i32.const(0),
  ])
}
