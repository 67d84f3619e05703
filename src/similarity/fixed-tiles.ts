/** Tiles of products of packed fixed-point vectors (fixed-point.ts), as WebAssembly SIMD: exact int32 sums. */

import {
  type Code,
  functionBuilder,
  I32,
  i32,
  i32x4,
  type Local,
  loopWhile,
  V128,
  v128,
} from '../webassembly/assembler.ts'
import { pairsOf } from './fixed-point.ts'
import { PANEL_COLUMNS } from './tiles.ts'

/** Rows that are summed in registers at once: half a panel. */
const ROWS = 4
const UNROLLED = 4
const LANE_BYTES = 4
/** Bytes between two pairs of components of one vector. */
const STEP = LANE_BYTES * PANEL_COLUMNS

const advance = (local: Local, by: number): Code => local.set(i32.add(local.get, i32.const(by)))
const ZERO = v128.i32x4(0, 0, 0, 0)

/** Bytes of a panel. */
export const panelBytes = (d: number): number => STEP * pairsOf(d)

/**
 * The code entry of `dots(rows, rowPanels, panels, panelCount, tile, stride)`: the products of the vectors of `rowPanels` panels from address
 * `rows` with those of `panelCount` panels from `panels`, to `tile`, an int32 matrix [8 rowPanels, 8 panelCount] whose rows are `stride` bytes
 * apart.
 */
export function fixedDotsFunction(d: number): number[] {
  const pairs = pairsOf(d)
  const build = functionBuilder(6)
  const [rows, rowPanels, panels, panelCount, tile, stride] = build.parameters
  const [x, y, out, left, steps, row, end] = Array.from({ length: 7 }, () => build.local(I32))
  const sums = Array.from({ length: 2 * ROWS }, () => build.local(V128))
  const [low, high, value] = Array.from({ length: 3 }, () => build.local(V128))
  const add = (sum: Local, y: Local) => sum.set(i32x4.add(sum.get, i32x4.dotI16x8(value.get, y.get)))
  const half = Array.from({ length: ROWS }, (_, r) => r)
  const pair = (j: number): Code[] => [
    low.set(v128.load(y.get, STEP * j)),
    high.set(v128.load(y.get, STEP * j + 16)),
    ...half.flatMap((r) => [
      value.set(v128.load32Splat(x.get, STEP * j + LANE_BYTES * r)),
      add(sums[2 * r], low),
      add(sums[2 * r + 1], high),
    ]),
  ]
  const several = (count: number): Code[] => [
    ...Array.from({ length: count }, (_, j) => pair(j)).flat(),
    advance(x, STEP * count),
    advance(y, STEP * count),
  ]
  const whole = Math.floor(pairs / UNROLLED)
  const halfPanel = (offset: number): Code[] => [
    x.set(i32.add(row.get, i32.const(offset))),
    y.set(panels.get),
    ...sums.map((sum) => sum.set(ZERO)),
    ...(whole === 0
      ? []
      : [steps.set(i32.const(whole)), loopWhile(steps.get, ...several(UNROLLED), advance(steps, -1))]),
    ...(pairs % UNROLLED === 0 ? [] : several(pairs % UNROLLED)),
    ...half.flatMap((r) => [
      v128.store(out.get, sums[2 * r].get),
      v128.store(out.get, sums[2 * r + 1].get, 16),
      out.set(i32.add(out.get, stride.get)),
    ]),
  ]
  return build.close([
    ...end.set(i32.add(panels.get, i32.mul(panelCount.get, i32.const(STEP * pairs)))),
    ...loopWhile(
      i32.ne(panels.get, end.get),
      row.set(rows.get),
      out.set(tile.get),
      left.set(rowPanels.get),
      loopWhile(
        left.get,
        ...halfPanel(0),
        ...halfPanel(LANE_BYTES * ROWS),
        advance(row, STEP * pairs),
        advance(left, -1),
      ),
      advance(panels, STEP * pairs),
      advance(tile, STEP),
    ),
    ...i32.const(0),
  ])
}

/** The code entry of `greatest(row, bytes)`: the greatest of `bytes` / 4 int32, in whole groups of eight, at least one. */
export function greatestFunction(): number[] {
  const build = functionBuilder(2)
  const [row, bytes] = build.parameters
  const end = build.local(I32)
  const most = build.local(V128)
  return build.close([
    ...end.set(i32.add(row.get, bytes.get)),
    ...most.set(v128.load(row.get)),
    ...loopWhile(
      i32.ne(row.get, end.get),
      most.set(i32x4.max(most.get, i32x4.max(v128.load(row.get), v128.load(row.get, 16)))),
      advance(row, STEP),
    ),
    ...greatestLane(most),
  ])
}

/** Columns that `nearest` takes at once. */
export const NEAREST_COLUMNS = 32

/**
 * The code entry of `nearest(row, panels, blocks)`: the greatest product of the vector whose first lane is at `row` with those of `blocks`
 * blocks of 32 columns, at least one, from `panels`.
 */
export function fixedNearestFunction(d: number): number[] {
  const pairs = pairsOf(d)
  const wide = NEAREST_COLUMNS / PANEL_COLUMNS
  const build = functionBuilder(3)
  const [row, panels, blocks] = build.parameters
  const [x, y, steps] = Array.from({ length: 3 }, () => build.local(I32))
  const sums = Array.from({ length: 2 * wide }, () => build.local(V128))
  const [value, most] = [build.local(V128), build.local(V128)]
  const column = (s: number) => STEP * pairs * (s >> 1) + 16 * (s & 1)
  const pair = (j: number): Code[] => [
    value.set(v128.load32Splat(x.get, STEP * j)),
    ...sums.map((sum, s) =>
      sum.set(i32x4.add(sum.get, i32x4.dotI16x8(value.get, v128.load(y.get, column(s) + STEP * j)))),
    ),
  ]
  const several = (count: number): Code[] => [
    ...Array.from({ length: count }, (_, j) => pair(j)).flat(),
    advance(x, STEP * count),
    advance(y, STEP * count),
  ]
  const whole = Math.floor(pairs / UNROLLED)
  const least = i32x4.splat(i32.const(-(2 ** 31)))
  return build.close([
    ...most.set(least),
    ...loopWhile(
      blocks.get,
      x.set(row.get),
      y.set(panels.get),
      ...sums.map((sum) => sum.set(ZERO)),
      ...(whole === 0
        ? []
        : [steps.set(i32.const(whole)), loopWhile(steps.get, ...several(UNROLLED), advance(steps, -1))]),
      ...(pairs % UNROLLED === 0 ? [] : several(pairs % UNROLLED)),
      ...sums.map((sum) => most.set(i32x4.max(most.get, sum.get))),
      advance(panels, STEP * pairs * wide),
      advance(blocks, -1),
    ),
    ...greatestLane(most),
  ])
}

/** The greatest of a vector's four int32. */
const greatestLane = (most: Local): Code => [
  ...most.set(i32x4.max(most.get, v128.shuffle32(most.get, most.get, 2, 3, 0, 1))),
  ...most.set(i32x4.max(most.get, v128.shuffle32(most.get, most.get, 1, 0, 3, 2))),
  ...i32x4.lane0(most.get),
]
