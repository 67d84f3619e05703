/** Memory and inner loops of the near-duplicate filter, generated for a problem. */

import { assemble, f32, f32x4, functionBuilder, I32, i32, i32x4, loopWhile, v128 } from '../webassembly/assembler.ts'
import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'
import { dotsFunction, panelled } from './tiles.ts'

/** Rows that are compared with the kept ones, and with each other, at a time. */
export const BLOCK_ROWS = 1024
/** Of these a thread takes so many. */
export const TILE_ROWS = 32
/** Kept rows that a tile is compared with before it is looked at. */
export const SLAB_COLUMNS = 1024

export interface NearSizes {
  /** The most rows that can be kept. */
  capacity: number
  d: number
  threads: number
  /** As float32 has it. */
  threshold: number
}

export interface NearLayout extends NearSizes {
  at: Places<NearRegions>
  pages: number
}

type NearRegions = ReturnType<typeof regionsOf>

function regionsOf({ capacity, d, threads }: NearSizes) {
  return {
    ticket: [Int32Array, 1],
    /** The kept rows, packed. */
    panels: [Float32Array, panelled(capacity) * d],
    /** The block's rows, row-major and packed. */
    block: [Float32Array, BLOCK_ROWS * d],
    blockPanels: [Float32Array, BLOCK_ROWS * d],
    /** The block's products with its earlier rows, [BLOCK_ROWS, BLOCK_ROWS]. */
    products: [Float32Array, BLOCK_ROWS * BLOCK_ROWS],
    /** Which kept row, if any, each of the block is near to. */
    found: [Uint32Array, BLOCK_ROWS],
    tile: [Float32Array, threads * TILE_ROWS * SLAB_COLUMNS],
  } as const
}

export function nearLayoutOf(sizes: NearSizes): NearLayout {
  const plan = { ...sizes, threshold: Math.fround(sizes.threshold) }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

export function viewsOfNear(layout: NearLayout, buffer: ArrayBufferLike): ViewsOf<NearRegions> {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}

export interface NearKernel {
  dots(rows: number, groups: number, panels: number, panelCount: number, tile: number, stride: number): number
  /** The first of `bytes` / 4 products at `row` that reaches the threshold; bytes / 4 or more if none does. */
  firstNear(row: number, bytes: number): number
}

export function nearModule(layout: NearLayout, shared: boolean, relaxed: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [],
    functions: [
      { name: 'dots', parameters: 6, code: dotsFunction(layout.d, relaxed) },
      { name: 'firstNear', parameters: 2, code: firstNearFunction(layout) },
    ],
  })
}

function firstNearFunction({ threshold }: NearLayout): number[] {
  const build = functionBuilder(2)
  const [row, bytes] = build.parameters
  const [offset, mask] = [build.local(I32), build.local(I32)]
  const reached = (extra: number) =>
    i32x4.bitmask(f32x4.le(f32x4.splat(f32.const(threshold)), v128.load(i32.add(row.get, offset.get), extra)))
  const look = mask.set(i32.or(reached(0), i32.shl(reached(16), i32.const(4))))
  return build.close([
    ...offset.set(i32.const(0)),
    ...look,
    ...loopWhile(
      i32.and(i32.eqz(mask.get), i32.ltU(i32.add(offset.get, i32.const(32)), bytes.get)),
      offset.set(i32.add(offset.get, i32.const(32))),
      look,
    ),
    // No bit set counts 32 zeros.
    ...i32.add(i32.shrU(offset.get, i32.const(2)), i32.ctz(mask.get)),
  ])
}
