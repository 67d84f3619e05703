/** The kernel's functions that work along a candidate's row of targets. */

import { GROUP_ROWS } from '../similarity/tiles.ts'
import {
  type Code,
  F32,
  f32,
  f32x4,
  f64,
  f64x2,
  functionBuilder,
  i32,
  i32x4,
  type Local,
  loopWhile,
  V128,
  v128,
} from '../webassembly/assembler.ts'
import { multiplyAdd } from '../webassembly/relaxed.ts'
import { exponential, logarithm } from './exponential.ts'
import type { Layout } from './layout.ts'
import { advance, at, locals, overColumns, overRows, overSegments, wideSum, zero } from './loops.ts'

const done = i32.const(0)

export function prepareFunction({ d, at: places }: Layout): number[] {
  const build = functionBuilder(2)
  const [first, last] = build.parameters
  const [row4, end4, x, o, end] = locals(build, 5)
  const [value, squares] = locals(build, 2, V128)
  const [rest] = locals(build, 1, F32)
  const whole = 16 * Math.floor(d / 4)
  const tail = (j: number): Code[] => [
    rest.set(f32.sub(f32.load(x.get, 4 * j), f32.load(o.get, 4 * j))),
    f32.store(x.get, rest.get, 4 * j),
  ]
  const tailSquare = (j: number): Code =>
    f64.mul(f64.promote(f32.load(x.get, 4 * j)), f64.promote(f32.load(x.get, 4 * j)))
  const tails = Array.from({ length: d % 4 }, (_, j) => j)
  const upper = v128.shuffle32(value.get, value.get, 2, 3, 2, 3)
  return build.close([
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...end4.set(i32.shl(last.get, i32.const(2))),
    ...loopWhile(
      i32.ltU(row4.get, end4.get),
      x.set(at(places.candidates, i32.mul(row4.get, i32.const(d)))),
      o.set(i32.const(places.origin)),
      end.set(i32.const(places.origin + whole)),
      squares.set(zero),
      loopWhile(
        i32.ltU(o.get, end.get),
        value.set(f32x4.sub(v128.load(x.get), v128.load(o.get))),
        v128.store(x.get, value.get),
        squares.set(f64x2.add(squares.get, f64x2.mul(f64x2.promoteLow(value.get), f64x2.promoteLow(value.get)))),
        squares.set(f64x2.add(squares.get, f64x2.mul(f64x2.promoteLow(upper), f64x2.promoteLow(upper)))),
        advance(x, 16),
        advance(o, 16),
      ),
      ...tails.flatMap(tail),
      f32.store(
        row4.get,
        f32.demote(
          tails
            .map(tailSquare)
            .reduce((a, b) => f64.add(a, b), f64.add(f64x2.lane0(squares.get), f64x2.lane1(squares.get))),
        ),
        places.candidateSquares,
      ),
      advance(row4, 4),
    ),
    ...done,
  ])
}

/** The least or most of four lanes into lane 0 of `value`. */
function acrossLanes(value: Local, choose: (a: Code, b: Code) => Code): Code[] {
  return [
    [2, 3, 0, 1],
    [1, 0, 3, 2],
  ].map((order) => value.set(choose(value.get, v128.shuffle32(value.get, value.get, ...order))))
}

/** C = max(0, |t|^2 + |x|^2 - 2 t.x); the products come with their factor -2. */
export function costsFunction({ columns, at: places }: Layout): number[] {
  const build = functionBuilder(3)
  const [first, count, tile] = build.parameters
  const [row4, offset] = locals(build, 2)
  const [square, cost, least, most] = locals(build, 4, V128)
  const bytes = 4 * columns
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      square.set(v128.load32Splat(row4.get, places.candidateSquares)),
      least.set(f32x4.splat(f32.const(Infinity))),
      most.set(f32x4.splat(f32.const(-Infinity))),
      overColumns(offset, bytes, (extra) => [
        ...cost.set(
          f32x4.pmax(
            zero,
            f32x4.add(
              f32x4.add(square.get, v128.load(offset.get, places.targetSquares + extra)),
              v128.load(i32.add(tile.get, offset.get), extra),
            ),
          ),
        ),
        ...v128.store(i32.add(tile.get, offset.get), cost.get, extra),
        ...least.set(f32x4.pmin(least.get, cost.get)),
        ...most.set(f32x4.pmax(most.get, f32x4.sub(v128.load(offset.get, places.targetBase + extra), cost.get))),
      ]),
      ...acrossLanes(least, f32x4.pmin),
      ...acrossLanes(most, f32x4.pmax),
      f32.store(row4.get, f32x4.lane0(least.get), places.rowLeast),
      f32.store(row4.get, f32x4.lane0(most.get), places.rowMost),
      advance(tile, bytes),
    ),
    ...done,
  ])
}

/** The same from costs that were kept. */
export function recallFunction({ columns, at: places }: Layout): number[] {
  const build = functionBuilder(4)
  const [first, count, tile, source] = build.parameters
  const [row4, offset] = locals(build, 2)
  const [cost, most] = locals(build, 2, V128)
  const bytes = 4 * columns
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      most.set(f32x4.splat(f32.const(-Infinity))),
      overColumns(offset, bytes, (extra) => [
        ...cost.set(v128.load(i32.add(source.get, offset.get), extra)),
        ...v128.store(i32.add(tile.get, offset.get), cost.get, extra),
        ...most.set(f32x4.pmax(most.get, f32x4.sub(v128.load(offset.get, places.targetBase + extra), cost.get))),
      ]),
      ...acrossLanes(most, f32x4.pmax),
      f32.store(row4.get, f32x4.lane0(most.get), places.rowMost),
      advance(tile, bytes),
      advance(source, bytes),
    ),
    ...done,
  ])
}

export function nearestFunction({ columns, at: places }: Layout): number[] {
  const build = functionBuilder(3)
  const [first, count, tile] = build.parameters
  const [row4, offset, mask] = locals(build, 3)
  const [least] = locals(build, 1, V128)
  const look = mask.set(i32x4.bitmask(f32x4.eq(v128.load(i32.add(tile.get, offset.get)), least.get)))
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      least.set(v128.load32Splat(row4.get, places.rowLeast)),
      offset.set(i32.const(0)),
      look,
      // The least cost is one of the row's. A row of NaN has none: its answer is past the end.
      loopWhile(
        i32.and(i32.eqz(mask.get), i32.ltU(offset.get, i32.const(4 * columns - 16))),
        advance(offset, 16),
        look,
      ),
      i32.store(row4.get, i32.add(i32.shrU(offset.get, i32.const(2)), i32.ctz(mask.get)), places.nearest),
      advance(tile, 4 * columns),
    ),
    ...done,
  ])
}

export function softenFunction({ columns, epsilon, at: places }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(3)
  const [first, count, tile] = build.parameters
  const [row4, offset] = locals(build, 2)
  const [most, x, whole, rest] = locals(build, 4, V128)
  const sum = wideSum(build)
  const madd = multiplyAdd(relaxed)
  const place = i32.add(tile.get, offset.get)
  const gain = f32x4.sub(v128.load(offset.get, places.targetBase), v128.load(place))
  const gainAt = (extra: number) =>
    extra === 0 ? gain : f32x4.sub(v128.load(offset.get, places.targetBase + extra), v128.load(place, extra))
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      most.set(v128.load32Splat(row4.get, places.rowMost)),
      sum.reset,
      overSegments(
        offset,
        4 * columns,
        (extra) => [
          ...x.set(f32x4.mul(f32x4.sub(gainAt(extra), most.get), f32x4.splat(f32.const(1 / epsilon)))),
          ...x.set(exponential({ x, whole, rest }, relaxed)),
          ...v128.store(place, x.get, extra),
          ...sum.add(extra, (partial) => madd(x.get, v128.load(offset.get, places.targetScale + extra), partial)),
        ],
        sum.fold,
      ),
      sum.store(at(places.rowSum, i32.shl(row4.get, i32.const(1)))),
      advance(tile, 4 * columns),
    ),
    ...done,
  ])
}

export function scaleFunction({ columns, at: places }: Layout): number[] {
  const build = functionBuilder(3)
  const [first, count, tile] = build.parameters
  const [row4, offset] = locals(build, 2)
  const [factor] = locals(build, 1, V128)
  const place = i32.add(tile.get, offset.get)
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      factor.set(v128.load32Splat(row4.get, places.rowFactor)),
      overColumns(offset, 4 * columns, (extra) =>
        v128.store(place, f32x4.mul(v128.load(place, extra), factor.get), extra),
      ),
      advance(tile, 4 * columns),
    ),
    ...done,
  ])
}

/** One group of four rows, so that a load of the targets' scales serves four. */
export function sumsFunction({ columns, at: places }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(2)
  const [first, tile] = build.parameters
  const [offset, place] = locals(build, 2)
  const [scale] = locals(build, 1, V128)
  const rows = Array.from({ length: GROUP_ROWS }, () => wideSum(build, 1))
  const madd = multiplyAdd(relaxed)
  const bytes = 4 * columns
  return build.close([
    ...rows.flatMap((row) => row.reset),
    ...overSegments(
      offset,
      bytes,
      (extra) => [
        ...place.set(i32.add(tile.get, offset.get)),
        ...scale.set(v128.load(offset.get, places.targetScale + extra)),
        ...rows.flatMap((row, r) =>
          row.add(extra, (partial) => madd(v128.load(place.get, r * bytes + extra), scale.get, partial)),
        ),
      ],
      rows.flatMap((row) => row.fold),
    ),
    ...rows.flatMap((row, r) => row.store(at(places.rowSum, i32.shl(i32.add(first.get, i32.const(r)), i32.const(3))))),
    ...done,
  ])
}

/**
 * The sums of one group of four rows while the group before is gathered: that one is in cache, so its work goes on while this one comes
 * from memory.
 */
export function sweepFunction({ columns, at: places }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(3)
  const [first, tile, sums] = build.parameters
  const [former, offset, place, target] = locals(build, 4)
  const [scale, sum] = locals(build, 2, V128)
  const factors = locals(build, GROUP_ROWS, V128)
  const rows = Array.from({ length: GROUP_ROWS }, () => wideSum(build, 1))
  const madd = multiplyAdd(relaxed)
  const bytes = 4 * columns
  const before = GROUP_ROWS * bytes
  return build.close([
    ...former.set(i32.shl(i32.sub(first.get, i32.const(GROUP_ROWS)), i32.const(2))),
    ...factors.flatMap((factor, r) => factor.set(v128.load32Splat(former.get, places.rowFactor + 4 * r))),
    ...tile.set(i32.sub(tile.get, i32.const(before))),
    ...rows.flatMap((row) => row.reset),
    ...overSegments(
      offset,
      bytes,
      (extra) => [
        ...place.set(i32.add(tile.get, offset.get)),
        ...target.set(i32.add(sums.get, offset.get)),
        ...scale.set(v128.load(offset.get, places.targetScale + extra)),
        ...rows.flatMap((row, r) =>
          row.add(extra, (partial) => madd(v128.load(place.get, before + r * bytes + extra), scale.get, partial)),
        ),
        ...sum.set(v128.load(target.get, extra)),
        ...factors.flatMap((factor, r) => sum.set(madd(v128.load(place.get, r * bytes + extra), factor.get, sum.get))),
        ...v128.store(target.get, sum.get, extra),
      ],
      rows.flatMap((row) => row.fold),
    ),
    ...rows.flatMap((row, r) => row.store(at(places.rowSum, i32.shl(i32.add(first.get, i32.const(r)), i32.const(3))))),
    ...done,
  ])
}

export function entropiesFunction({ columns, at: places }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(3)
  const [first, count, tile] = build.parameters
  const [row4, offset] = locals(build, 2)
  const [k, x, whole, rest] = locals(build, 4, V128)
  const sum = wideSum(build)
  const madd = multiplyAdd(relaxed)
  return build.close([
    ...overRows(
      first,
      count,
      row4,
      sum.reset,
      overSegments(
        offset,
        4 * columns,
        (extra) => [
          ...k.set(v128.load(i32.add(tile.get, offset.get), extra)),
          // 0 log 0 is to be 0.
          ...x.set(f32x4.pmax(k.get, f32x4.splat(f32.const(1e-37)))),
          ...x.set(logarithm({ x, whole, rest }, relaxed)),
          ...k.set(f32x4.mul(k.get, v128.load(offset.get, places.targetScale + extra))),
          ...sum.add(extra, (partial) => madd(x.get, k.get, partial)),
        ],
        sum.fold,
      ),
      sum.store(at(places.rowSum, i32.shl(row4.get, i32.const(1)))),
      advance(tile, 4 * columns),
    ),
    ...done,
  ])
}
