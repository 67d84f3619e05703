/** Memory and inner loops of facility location with every similarity at hand, generated for a problem. */

import { fixedLanes } from '../similarity/fixed-point.ts'
import { fixedDotsFunction } from '../similarity/fixed-tiles.ts'
import { TILE } from '../similarity/graph-kernel.ts'
import { assemble, functionBuilder, I32, i32, i32x4, i64x2, loopWhile, V128, v128 } from '../webassembly/assembler.ts'
import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'

export interface DenseSizes {
  n: number
  d: number
  threads: number
}

export interface DenseLayout extends DenseSizes {
  /** n in whole tiles. */
  padded: number
  at: Places<DenseRegions>
  pages: number
}

type DenseRegions = ReturnType<typeof regionsOf>

function regionsOf({ d, threads, padded }: Omit<DenseLayout, 'at' | 'pages'>) {
  return {
    ticket: [Int32Array, 1],
    panels: [Int32Array, fixedLanes(padded, d)],
    /** Products, row-major [padded, padded], symmetric; rows beyond n are zeros. */
    similarity: [Int32Array, padded * padded],
    /** How well each row is covered by the picks so far. */
    best: [Int32Array, padded],
    /** Halves of the sums that `gain` leaves, for each thread. */
    sums: [Uint32Array, 4 * threads],
  } as const
}

export function denseLayoutOf(sizes: DenseSizes): DenseLayout {
  const plan = { ...sizes, padded: TILE * Math.ceil(sizes.n / TILE) }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

export function viewsOfDense(layout: DenseLayout, buffer: ArrayBufferLike): ViewsOf<DenseRegions> {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}

export interface DenseKernel {
  dots(rows: number, rowPanels: number, panels: number, panelCount: number, tile: number, stride: number): number
  /** sum_i max(0, s_i - best_i) over the row of similarities at `row`, as two uint64 to be added, at `sums`. */
  gain(row: number, sums: number): number
  /** best_i = max(best_i, s_i). */
  take(row: number): number
}

export function denseModule(layout: DenseLayout, shared: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [],
    functions: [
      { name: 'dots', parameters: 6, code: fixedDotsFunction(layout.d) },
      { name: 'gain', parameters: 2, code: gainFunction(layout) },
      { name: 'take', parameters: 1, code: takeFunction(layout) },
    ],
  })
}

/** Bytes of a round of the loops below; rows are whole tiles. */
const ROUND = 32

function gainFunction({ at, padded }: DenseLayout): number[] {
  const build = functionBuilder(2)
  const [row, sums] = build.parameters
  const offset = build.local(I32)
  const more = build.local(V128)
  const totals = Array.from({ length: 4 }, () => build.local(V128))
  const zero = v128.i32x4(0, 0, 0, 0)
  const add = (extra: number, [low, high]: typeof totals) => {
    const similarity = v128.load(i32.add(row.get, offset.get), extra)
    return [
      // A best cover is at least 0: similarities below do not count.
      ...more.set(i32x4.max(zero, i32x4.sub(similarity, v128.load(offset.get, at.best + extra)))),
      ...low.set(i64x2.add(low.get, i64x2.extendLowU(more.get))),
      ...high.set(i64x2.add(high.get, i64x2.extendHighU(more.get))),
    ]
  }
  const [a, b, c, d] = totals
  return build.close([
    ...offset.set(i32.const(0)),
    ...totals.flatMap((total) => total.set(zero)),
    ...loopWhile(
      i32.ltU(offset.get, i32.const(4 * padded)),
      add(0, [a, b]),
      add(16, [c, d]),
      offset.set(i32.add(offset.get, i32.const(ROUND))),
    ),
    ...v128.store(sums.get, i64x2.add(i64x2.add(a.get, b.get), i64x2.add(c.get, d.get))),
    ...i32.const(0),
  ])
}

function takeFunction({ at, padded }: DenseLayout): number[] {
  const build = functionBuilder(1)
  const [row] = build.parameters
  const offset = build.local(I32)
  return build.close([
    ...offset.set(i32.const(0)),
    ...loopWhile(
      i32.ltU(offset.get, i32.const(4 * padded)),
      v128.store(
        offset.get,
        i32x4.max(v128.load(offset.get, at.best), v128.load(i32.add(row.get, offset.get))),
        at.best,
      ),
      offset.set(i32.add(offset.get, i32.const(16))),
    ),
    ...i32.const(0),
  ])
}
