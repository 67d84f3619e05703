/**
 * Tiles of dot products, X [rows, d] times the transpose of Y [columns, d], as WebAssembly SIMD. Y is packed: panels of
 * eight rows of Y, each laid out [d, 8], so that two loads bring one dimension of eight. Four rows of X by eight of Y are
 * summed in registers; each product is one float32 sum over the dimensions in order, so equal rows give equal bits,
 * wherever they stand.
 */

import { type Code, functionBuilder, I32, i32, type Local, loopWhile, V128, v128 } from '../webassembly/assembler.ts'
import { multiplyAdd } from '../webassembly/relaxed.ts'

export const PANEL_COLUMNS = 8
/** Rows that the kernel takes at once; it reads, and writes the products of, whole groups. */
export const GROUP_ROWS = 4
const UNROLLED = 4

/** n rounded up to whole panels. */
export const panelled = (n: number): number => PANEL_COLUMNS * Math.ceil(n / PANEL_COLUMNS)
/** n rounded up to whole groups of rows. */
export const grouped = (n: number): number => GROUP_ROWS * Math.ceil(n / GROUP_ROWS)

/** Copies row `from` of row-major `data` [.., d] into column `to` of `panels`, times `factor`. */
export function packColumn(
  data: Float32Array,
  from: number,
  d: number,
  panels: Float32Array,
  to: number,
  factor = 1,
): void {
  const place = Math.floor(to / PANEL_COLUMNS) * PANEL_COLUMNS * d + (to % PANEL_COLUMNS)
  for (let j = 0; j < d; j++) panels[place + PANEL_COLUMNS * j] = factor * data[from * d + j]
}

const advance = (local: Local, by: number): Code => local.set(i32.add(local.get, i32.const(by)))

/**
 * The code entry of `dots(rows, groups, panels, panelCount, tile, stride)`: the products of `groups` groups of rows at
 * address `rows` with `panelCount` panels, to `tile`, whose rows are `stride` bytes apart.
 */
export function dotsFunction(d: number, relaxed: boolean): number[] {
  const build = functionBuilder(6)
  const [rows, groups, panels, panelCount, tile, stride] = build.parameters
  const [x, y, out, left, steps, row, end] = Array.from({ length: 7 }, () => build.local(I32))
  const sums = Array.from({ length: 2 * GROUP_ROWS }, () => build.local(V128))
  const [low, high, value] = Array.from({ length: 3 }, () => build.local(V128))
  const madd = multiplyAdd(relaxed)
  const dimension = (j: number): Code[] => [
    low.set(v128.load(y.get, 32 * j)),
    high.set(v128.load(y.get, 32 * j + 16)),
    ...Array.from({ length: GROUP_ROWS }, (_, r) => r).flatMap((r) => [
      value.set(v128.load32Splat(x.get, 4 * (r * d + j))),
      sums[2 * r].set(madd(value.get, low.get, sums[2 * r].get)),
      sums[2 * r + 1].set(madd(value.get, high.get, sums[2 * r + 1].get)),
    ]),
  ]
  const dimensions = (count: number): Code[] => [
    ...Array.from({ length: count }, (_, j) => dimension(j)).flat(),
    advance(x, 4 * count),
    advance(y, 32 * count),
  ]
  const whole = Math.floor(d / UNROLLED)
  return build.close([
    ...end.set(i32.add(panels.get, i32.mul(panelCount.get, i32.const(4 * PANEL_COLUMNS * d)))),
    ...loopWhile(
      i32.ne(panels.get, end.get),
      row.set(rows.get),
      out.set(tile.get),
      left.set(groups.get),
      loopWhile(
        left.get,
        x.set(row.get),
        y.set(panels.get),
        ...sums.map((sum) => sum.set(v128.i32x4(0, 0, 0, 0))),
        ...(whole === 0
          ? []
          : [steps.set(i32.const(whole)), loopWhile(steps.get, ...dimensions(UNROLLED), advance(steps, -1))]),
        ...(d % UNROLLED === 0 ? [] : dimensions(d % UNROLLED)),
        ...Array.from({ length: GROUP_ROWS }, (_, r) => r).flatMap((r) => [
          v128.store(out.get, sums[2 * r].get),
          v128.store(out.get, sums[2 * r + 1].get, 16),
          out.set(i32.add(out.get, stride.get)),
        ]),
        advance(row, 4 * GROUP_ROWS * d),
        advance(left, -1),
      ),
      advance(panels, 4 * PANEL_COLUMNS * d),
      advance(tile, 4 * PANEL_COLUMNS),
    ),
    ...i32.const(0),
  ])
}
