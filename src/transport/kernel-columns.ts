/** The kernel's functions that sum over candidates, for every target. */

import { GROUP_ROWS } from '../similarity/tiles.ts'
import { type Code, f32, f32x4, f64x2, functionBuilder, i32, loopWhile, V128, v128 } from '../webassembly/assembler.ts'
import { multiplyAdd } from '../webassembly/relaxed.ts'
import { exponential } from './exponential.ts'
import type { Layout } from './layout.ts'
import { advance, locals, overColumns, overRows, zero } from './loops.ts'

const done = i32.const(0)

/** Four rows at a time, so that a load and a store of the sums serve four; then those left, one at a time. */
export function gatherFunction({ columns, at: places }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(4)
  const [first, count, tile, sums] = build.parameters
  const [row4, offset, place, target] = locals(build, 4)
  const factors = locals(build, GROUP_ROWS, V128)
  const [sum] = locals(build, 1, V128)
  const madd = multiplyAdd(relaxed)
  const bytes = 4 * columns
  const rows = (height: number): Code[] => [
    ...Array.from({ length: height }, (_, r) => factors[r].set(v128.load32Splat(row4.get, places.rowFactor + 4 * r))),
    overColumns(offset, bytes, (extra) => [
      ...place.set(i32.add(tile.get, offset.get)),
      ...target.set(i32.add(sums.get, offset.get)),
      ...sum.set(v128.load(target.get, extra)),
      ...Array.from({ length: height }, (_, r) =>
        sum.set(madd(v128.load(place.get, r * bytes + extra), factors[r].get, sum.get)),
      ).flat(),
      ...v128.store(target.get, sum.get, extra),
    ]),
    advance(row4, 4 * height),
    advance(tile, height * bytes),
    advance(count, -height),
  ]
  return build.close([
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...loopWhile(i32.geU(count.get, i32.const(GROUP_ROWS)), ...rows(GROUP_ROWS)),
    ...loopWhile(count.get, ...rows(1)),
    ...done,
  ])
}

export function foldFunction({ columns }: Layout): number[] {
  const build = functionBuilder(2)
  const [sums, totals] = build.parameters
  const [left] = locals(build, 1)
  const [value] = locals(build, 1, V128)
  const upper = v128.shuffle32(value.get, value.get, 2, 3, 2, 3)
  return build.close([
    ...left.set(i32.const(columns / 4)),
    ...loopWhile(
      left.get,
      value.set(v128.load(sums.get)),
      v128.store(totals.get, f64x2.add(v128.load(totals.get), f64x2.promoteLow(value.get))),
      v128.store(totals.get, f64x2.add(v128.load(totals.get, 16), f64x2.promoteLow(upper)), 16),
      v128.store(sums.get, zero),
      advance(sums, 16),
      advance(totals, 32),
      advance(left, -1),
    ),
    ...done,
  ])
}

export function columnMostFunction({ epsilon, at: places }: Layout): number[] {
  const build = functionBuilder(5)
  const [first, count, tile, bytes, most] = build.parameters
  const [row4, offset, place, target] = locals(build, 4)
  const [square, shift, x] = locals(build, 3, V128)
  return build.close([
    ...overColumns(offset, bytes, (extra) =>
      v128.store(i32.add(most.get, offset.get), f32x4.splat(f32.const(-Infinity)), extra),
    ),
    ...overRows(
      first,
      count,
      row4,
      square.set(v128.load32Splat(row4.get, places.candidateSquares)),
      shift.set(v128.load32Splat(row4.get, places.rowFactor)),
      overColumns(offset, bytes, (extra) => [
        ...place.set(i32.add(tile.get, offset.get)),
        ...target.set(i32.add(most.get, offset.get)),
        ...x.set(f32x4.add(square.get, v128.load(offset.get, places.rescueSquares + extra))),
        ...x.set(f32x4.pmax(zero, f32x4.add(x.get, v128.load(place.get, extra)))),
        ...x.set(f32x4.sub(shift.get, f32x4.mul(x.get, f32x4.splat(f32.const(1 / epsilon))))),
        ...v128.store(place.get, x.get, extra),
        ...v128.store(target.get, f32x4.pmax(v128.load(target.get, extra), x.get), extra),
      ]),
      tile.set(i32.add(tile.get, bytes.get)),
    ),
    ...done,
  ])
}

export function columnSumsFunction(_: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(6)
  const [first, count, tile, bytes, most, sums] = build.parameters
  const [row4, offset, target] = locals(build, 3)
  const [x, whole, rest] = locals(build, 3, V128)
  return build.close([
    ...overColumns(offset, bytes, (extra) => v128.store(i32.add(sums.get, offset.get), zero, extra)),
    ...overRows(
      first,
      count,
      row4,
      overColumns(offset, bytes, (extra) => [
        ...target.set(i32.add(sums.get, offset.get)),
        ...x.set(
          f32x4.sub(v128.load(i32.add(tile.get, offset.get), extra), v128.load(i32.add(most.get, offset.get), extra)),
        ),
        ...v128.store(
          target.get,
          f32x4.add(v128.load(target.get, extra), exponential({ x, whole, rest }, relaxed)),
          extra,
        ),
      ]),
      tile.set(i32.add(tile.get, bytes.get)),
    ),
    ...done,
  ])
}
