/**
 * The nearest centroid of a run of points, as WebAssembly SIMD.
 *
 * It works in float32 but decides only what float32 can prove: every bound is widened by more than all the rounding
 * behind it (rounding.ts), and a point whose two best centroids stay within the margins is handed to `core.exact`, which
 * compares float64 distances. So the clusters are those of a float64 search over all centroids, ties included, and
 * neither the width of the vectors nor a fused multiply-add can change them.
 *
 * Pruning is Yinyang's (Ding et al., ICML 2015) over groups of clusters, with Hamerly's separation test (SDM 2010): a
 * point keeps an upper bound u of the distance to its own centroid and for each group a lower bound l of the distance
 * to the others; centroids that moved by at most p make them u + p and l - p. Groups with l > u are not looked at.
 */

import {
  block,
  type Code,
  call,
  F32,
  f32,
  f32x4,
  functionBuilder,
  I32,
  i32,
  i32x4,
  leaveIf,
  loopWhile,
  V128,
  v128,
  when,
} from './assembler.ts'
import { overDimensions, step, UNROLLED } from './dimensions.ts'
import { type Layout, TILE_VECTORS } from './layout.ts'
import { FARTHEST, margin, NARROW, WIDEN } from './rounding.ts'

const NONE = i32.const(-1)
const ZEROS = v128.i32x4(0, 0, 0, 0)

/** The code entry of `assign(first, last, scratch) -> changed`; function 0 is `exact(4 * row)`. */
export function searchFunction(layout: Layout, relaxed: boolean): number[] {
  const { d, at, bounds, groups, tilesPerGroup, slotsPerGroup } = layout
  const build = functionBuilder(3)
  const [first, last, scratch] = build.parameters
  const locals = (count: number, type: number) => Array.from({ length: count }, () => build.local(type))
  // The row: its points, 4 * its number, its bounds, its cluster.
  const [rowStart, row4, bound, cluster, changed] = locals(5, I32)
  const [mask, group, best, bestGroup, x, tile, tileStart, tilesLeft, slot, left] = locals(10, I32)
  const [upper, limit, bestSquare, square, separation, slack] = locals(6, F32)
  const [splat, difference, nearest, runnerUp, names, swapped, less] = locals(7, V128)
  const sums = locals(TILE_VECTORS, V128)

  const madd = (a: Code, b: Code, c: Code) => (relaxed ? f32x4.relaxedMadd(a, b, c) : f32x4.add(c, f32x4.mul(a, b)))
  const element = (base: number, index: Code) => i32.add(i32.const(base), i32.shl(index, i32.const(2)))
  const boundOf = (index: Code) => i32.add(bound.get, i32.shl(index, i32.const(2)))
  /** Not below the true distance, given its float32 square to a rounded centroid. */
  const atMost = (s: Code) => f32.add(f32.mul(f32.sqrt(s), f32.const(1 + margin(d))), slack.get)
  /** Not above it. */
  const atLeast = (s: Code) =>
    f32.sub(f32.mul(f32.min(f32.sqrt(s), f32.const(FARTHEST)), f32.const(1 - margin(d))), slack.get)

  const vectors = Array.from({ length: bounds / 4 }, (_, q) => q)
  const openIn = (q: number, lower: Code, u: Code) =>
    i32.shl(i32x4.bitmask(f32x4.le(lower, f32x4.splat(u))), i32.const(4 * q))
  const existing = (open: Code) => (groups === bounds ? open : i32.and(open, i32.const(2 ** groups - 1)))
  /** One bit for each group whose lower bound does not exceed u. */
  const openGroups = (u: Code) =>
    existing(vectors.map((q) => openIn(q, v128.load(bound.get, 16 * q), u)).reduce((a, b) => i32.or(a, b)))

  /** Loosens the row's bounds by what the centroids moved; leaves the open groups in `mask`. */
  const loosen: Code[] = [
    upper.set(f32.add(f32.load(row4.get, at.upper), f32.load(element(at.drift, cluster.get)))),
    upper.set(f32.mul(upper.get, f32.const(WIDEN))),
    mask.set(i32.const(0)),
    ...vectors.flatMap((q) => [
      difference.set(f32x4.sub(v128.load(bound.get, 16 * q), v128.load(i32.const(at.groupDrift), 16 * q))),
      difference.set(f32x4.mul(difference.get, f32x4.splat(f32.const(NARROW)))),
      v128.store(bound.get, difference.get, 16 * q),
      mask.set(i32.or(mask.get, openIn(q, difference.get, upper.get))),
    ]),
    mask.set(existing(mask.get)),
  ]

  const whole = Math.floor(d / 4)
  const tail = whole > UNROLLED ? 0 : 4 * whole
  /** `square` = |x - c|^2 for the row's own centroid. */
  const ownSquare: Code[] = [
    x.set(rowStart.get),
    tile.set(i32.add(i32.const(at.rounded), i32.mul(cluster.get, i32.const(4 * d)))),
    splat.set(ZEROS),
    ...overDimensions(whole, [x, 16], [tile, 16], left, (offset) => [
      ...difference.set(f32x4.sub(v128.load(x.get, offset), v128.load(tile.get, offset))),
      ...splat.set(madd(difference.get, difference.get, splat.get)),
    ]),
    splat.set(f32x4.add(splat.get, v128.shuffle32(splat.get, splat.get, 2, 3, 0, 1))),
    splat.set(f32x4.add(splat.get, v128.shuffle32(splat.get, splat.get, 1, 0, 3, 2))),
    square.set(f32x4.lane0(splat.get)),
    ...Array.from({ length: d % 4 }, (_, j) => 4 * (tail + j)).flatMap((offset) => [
      limit.set(f32.sub(f32.load(x.get, offset), f32.load(tile.get, offset))),
      square.set(f32.add(square.get, f32.mul(limit.get, limit.get))),
    ]),
  ]

  /** Squares to one tile's centroids: the least of each lane into `nearest`, `names`, the second least `runnerUp`. */
  const scanTile: Code[] = [
    x.set(rowStart.get),
    ...sums.map((sum) => sum.set(ZEROS)),
    ...overDimensions(d, [x, 4], [tile, 16 * TILE_VECTORS], left, (xOffset, tileOffset) => [
      ...splat.set(v128.load32Splat(x.get, xOffset)),
      ...sums.flatMap((sum, q) => [
        ...difference.set(f32x4.sub(v128.load(tile.get, tileOffset + 16 * q), splat.get)),
        ...sum.set(madd(difference.get, difference.get, sum.get)),
      ]),
    ]),
    ...sums.flatMap((sum) => [
      less.set(f32x4.lt(sum.get, nearest.get)),
      runnerUp.set(f32x4.pmin(runnerUp.get, f32x4.pmax(sum.get, nearest.get))),
      nearest.set(f32x4.pmin(nearest.get, sum.get)),
      names.set(v128.bitselect(i32x4.splat(slot.get), names.get, less.get)),
      step(slot, 4),
    ]),
  ]

  /** Brings the least of `nearest` into every lane (`difference` keeps the lanes), of all others into `runnerUp`. */
  const mergeLanes: Code[] = [
    v128.store(scratch.get, i32x4.add(names.get, v128.i32x4(0, 1, 2, 3))),
    difference.set(nearest.get),
    ...[
      [1, 0, 3, 2],
      [2, 3, 0, 1],
    ].flatMap((order) => [
      swapped.set(v128.shuffle32(nearest.get, nearest.get, ...order)),
      runnerUp.set(f32x4.pmin(runnerUp.get, v128.shuffle32(runnerUp.get, runnerUp.get, ...order))),
      runnerUp.set(f32x4.pmin(runnerUp.get, f32x4.pmax(nearest.get, swapped.get))),
      nearest.set(f32x4.pmin(nearest.get, swapped.get)),
    ]),
  ]
  const winningLane = i32.ctz(i32x4.bitmask(f32x4.eq(difference.get, nearest.get)))
  const winningSlot = i32.load(i32.add(scratch.get, i32.shl(winningLane, i32.const(2))))

  /** Looks at every centroid of `group`, renews its lower bound and, if it has the nearest so far, the best. */
  const scanGroup: Code[] = [
    slot.set(i32.mul(group.get, i32.const(slotsPerGroup))),
    tile.set(i32.add(i32.const(at.tiles), i32.mul(slot.get, i32.const(4 * d)))),
    nearest.set(f32x4.splat(f32.const(Infinity))),
    runnerUp.set(nearest.get),
    names.set(i32x4.splat(slot.get)),
    ...(tilesPerGroup === 1
      ? scanTile
      : [
          tileStart.set(tile.get),
          tilesLeft.set(i32.const(tilesPerGroup)),
          loopWhile(
            tilesLeft.get,
            ...scanTile,
            step(tileStart, 16 * TILE_VECTORS * d),
            tile.set(tileStart.get),
            step(tilesLeft, -1),
          ),
        ]),
    ...mergeLanes,
    square.set(f32x4.lane0(nearest.get)),
    when(
      f32.lt(square.get, bestSquare.get),
      [
        // The centroid that was best so far becomes one of its group's others.
        when(i32.ne(bestGroup.get, NONE), [
          f32.store(boundOf(bestGroup.get), f32.min(f32.load(boundOf(bestGroup.get)), atLeast(bestSquare.get))),
        ]),
        bestSquare.set(square.get),
        best.set(i32.load(i32.shl(winningSlot, i32.const(2)), at.slotCluster)),
        bestGroup.set(group.get),
        f32.store(boundOf(group.get), atLeast(f32x4.lane0(runnerUp.get))),
        limit.set(f32.min(limit.get, atMost(square.get))),
      ],
      [f32.store(boundOf(group.get), atLeast(square.get))],
    ),
  ]

  /** One row; leaves the enclosing block as soon as the row is known to keep its cluster. */
  const visitRow: Code[] = [
    cluster.set(i32.load(row4.get, at.assignment)),
    ...loosen,
    f32.store(row4.get, upper.get, at.upper),
    leaveIf(i32.eqz(mask.get), 0),
    separation.set(f32.load(element(at.separation, cluster.get))),
    leaveIf(f32.lt(upper.get, separation.get), 0),
    ...ownSquare,
    limit.set(f32.min(upper.get, atMost(square.get))),
    f32.store(row4.get, limit.get, at.upper),
    leaveIf(f32.lt(limit.get, separation.get), 0),
    mask.set(openGroups(limit.get)),
    leaveIf(i32.eqz(mask.get), 0),
    // The own centroid is the one to beat, unless its group is about to be looked at anyway.
    best.set(cluster.get),
    bestGroup.set(i32.load(element(at.groupOf, cluster.get))),
    bestSquare.set(square.get),
    when(i32.and(i32.shl(i32.const(1), bestGroup.get), mask.get), [
      bestSquare.set(f32.const(Infinity)),
      bestGroup.set(NONE),
    ]),
    loopWhile(
      mask.get,
      group.set(i32.ctz(mask.get)),
      mask.set(i32.and(mask.get, i32.sub(mask.get, i32.const(1)))),
      when(f32.le(f32.load(boundOf(group.get)), limit.get), scanGroup),
    ),
    upper.set(atMost(bestSquare.get)),
    when(
      // Not proven that all others are farther, or float32 overflowed and nothing was found.
      i32.or(openGroups(upper.get), i32.eq(bestGroup.get, NONE)),
      [call(0, row4.get), best.set(i32.load(row4.get, at.assignment))],
      [f32.store(row4.get, upper.get, at.upper), i32.store(row4.get, best.get, at.assignment)],
    ),
    changed.set(i32.add(changed.get, i32.ne(best.get, cluster.get))),
  ]

  return build.close([
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...rowStart.set(i32.add(i32.const(at.points), i32.mul(first.get, i32.const(4 * d)))),
    ...bound.set(i32.add(i32.const(at.lower), i32.mul(first.get, i32.const(4 * bounds)))),
    ...slack.set(f32.load(i32.const(at.rounding))),
    ...loopWhile(
      i32.ltU(row4.get, i32.shl(last.get, i32.const(2))),
      block(...visitRow),
      step(row4, 4),
      step(rowStart, 4 * d),
      step(bound, 4 * bounds),
    ),
    ...changed.get,
  ])
}
