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
  type Code,
  call,
  F32,
  f32,
  f32x4,
  functionBuilder,
  I32,
  i32,
  i32x4,
  type Local,
  loopWhile,
  select,
  V128,
  v128,
  when,
} from '../webassembly/assembler.ts'
import { multiplyAdd, overDimensions, squareOf, step } from './dimensions.ts'
import { CHUNK_ROWS, type Layout, TILE_VECTORS } from './layout.ts'
import { LARGEST, margin, NARROW, WIDEN } from './rounding.ts'

const NONE = i32.const(-1)
const ZEROS = v128.i32x4(0, 0, 0, 0)

/** The code entry of `assign(first, last, scratch) -> changed`; function 0 is `exact(4 * row)`. */
export function searchFunction(layout: Layout, relaxed: boolean): number[] {
  const { d, at, bounds, groups, tilesPerGroup, slotsPerGroup } = layout
  const build = functionBuilder(3)
  const [first, last, scratch] = build.parameters
  const locals = (count: number, type: number) => Array.from({ length: count }, () => build.local(type))
  // The row: 4 * its number, its point, its bounds, its cluster.
  const [row4, point, bound, cluster, changed] = locals(5, I32)
  const [end4, stop4, list, listEnd, open] = locals(5, I32)
  const [mask, group, best, bestGroup, x, tile, tileStart, tilesLeft, squares, slot, left, nearer, ownGroup] = locals(
    13,
    I32,
  )
  const [upper, limit, bestSquare, bestLimit, secondSquare, square, slack] = locals(7, F32)
  const [splat, difference, nearest, runnerUp, swapped] = locals(5, V128)
  const sums = locals(TILE_VECTORS, V128)
  const seconds = locals(TILE_VECTORS, V128)

  const madd = multiplyAdd(relaxed)
  const element = (base: number, index: Code) => i32.add(i32.const(base), i32.shl(index, i32.const(2)))
  const boundOf = (index: Code) => i32.add(bound.get, i32.shl(index, i32.const(2)))
  /** Not below the true distance, given its float32 square to a rounded centroid. */
  const atMost = (s: Code) => f32.add(f32.mul(f32.sqrt(s), f32.const(1 + margin(d))), slack.get)
  /** Not above it; a square that overflowed must have been cut to LARGEST. */
  const atLeast = (s: Code) => f32.sub(f32.mul(f32.sqrt(s), f32.const(1 - margin(d))), slack.get)

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

  /** `square` = |x - c|^2 for the row's own centroid. */
  const ownSquare: Code[] = [
    x.set(point.get),
    tile.set(i32.add(i32.const(at.rounded), i32.mul(cluster.get, i32.const(4 * d)))),
    ...squareOf(d, { x, c: tile, left, sum: splat, difference, rest: limit, square }, relaxed),
  ]

  /** Squares to one tile's centroids: all to `squares`, the least of each lane to `nearest`, the next to `runnerUp`. */
  const scanTile: Code[] = [
    x.set(point.get),
    ...sums.map((sum) => sum.set(ZEROS)),
    ...overDimensions(d, [x, 4], [tile, 16 * TILE_VECTORS], left, (xOffset, tileOffset) => [
      ...splat.set(v128.load32Splat(x.get, xOffset)),
      ...sums.flatMap((sum, q) => [
        ...difference.set(f32x4.sub(v128.load(tile.get, tileOffset + 16 * q), splat.get)),
        ...sum.set(madd(difference.get, difference.get, sum.get)),
      ]),
    ]),
    ...sums.map((sum, q) => v128.store(squares.get, sum.get, 16 * q)),
    ...leastTwo(sums, seconds, swapped),
    runnerUp.set(f32x4.pmin(f32x4.pmin(runnerUp.get, seconds[0].get), f32x4.pmax(nearest.get, sums[0].get))),
    nearest.set(f32x4.pmin(nearest.get, sums[0].get)),
    step(squares, 16 * TILE_VECTORS),
  ]

  /** Brings the least of `nearest` into every lane, and of all others into `runnerUp`. */
  const mergeLanes: Code[] = [
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
  const scanTiles = [
    tileStart.set(tile.get),
    tilesLeft.set(i32.const(tilesPerGroup)),
    loopWhile(
      tilesLeft.get,
      ...scanTile,
      step(tileStart, 16 * TILE_VECTORS * d),
      tile.set(tileStart.get),
      step(tilesLeft, -1),
    ),
  ]
  const squaresOf = (index: Local) => i32.add(scratch.get, i32.mul(index.get, i32.const(4 * slotsPerGroup)))

  /**
   * Looks at every centroid of `group`, renews its lower bound and takes its least square if it is the best so far:
   * without a branch, for there is no telling which group has the nearest.
   */
  const scanGroup: Code[] = [
    tile.set(i32.add(i32.const(at.tiles), i32.mul(group.get, i32.const(4 * d * slotsPerGroup)))),
    squares.set(squaresOf(group)),
    nearest.set(f32x4.splat(f32.const(LARGEST))),
    runnerUp.set(nearest.get),
    ...(tilesPerGroup === 1 ? scanTile : scanTiles),
    ...mergeLanes,
    square.set(f32x4.lane0(nearest.get)),
    f32.store(boundOf(group.get), atLeast(square.get)),
    nearer.set(f32.lt(square.get, bestSquare.get)),
    bestGroup.set(select(group.get, bestGroup.get, nearer.get)),
    secondSquare.set(select(f32x4.lane0(runnerUp.get), secondSquare.get, nearer.get)),
    bestSquare.set(select(square.get, bestSquare.get, nearer.get)),
    bestLimit.set(atMost(bestSquare.get)),
    limit.set(select(bestLimit.get, limit.get, f32.lt(bestLimit.get, limit.get))),
  ]

  const equalLanes = sums
    .map((_, q) =>
      i32.shl(i32x4.bitmask(f32x4.eq(v128.load(squares.get, 16 * q), f32x4.splat(bestSquare.get))), i32.const(4 * q)),
    )
    .reduce((a, b) => i32.or(a, b))
  /** `best` = the cluster whose square is the best of the best group. */
  const nameBest: Code[] = [
    squares.set(squaresOf(bestGroup)),
    mask.set(equalLanes),
    loopWhile(i32.eqz(mask.get), step(squares, 16 * TILE_VECTORS), mask.set(equalLanes)),
    slot.set(i32.add(i32.shrU(i32.sub(squares.get, scratch.get), i32.const(2)), i32.ctz(mask.get))),
    best.set(i32.load(i32.shl(slot.get, i32.const(2)), at.slotCluster)),
  ]

  const locate: Code[] = [
    point.set(i32.add(i32.const(at.points), i32.mul(row4.get, i32.const(d)))),
    bound.set(i32.add(i32.const(at.lower), i32.mul(row4.get, i32.const(bounds)))),
    cluster.set(i32.load(row4.get, at.assignment)),
  ]
  const separation = f32.load(element(at.separation, cluster.get))
  const [listMask, listSquare] = [4 * CHUNK_ROWS, 8 * CHUNK_ROWS]
  /** Keeps the row in the list if it is still undecided: without a branch, which would be mispredicted too often. */
  const keepIf = (condition: Code) => listEnd.set(i32.add(listEnd.get, i32.shl(condition, i32.const(2))))

  /** First pass: rows whose loosened bounds leave a group open. */
  const pruneRow: Code[] = [
    ...locate,
    ...loosen,
    f32.store(row4.get, upper.get, at.upper),
    i32.store(listEnd.get, row4.get),
    keepIf(i32.and(i32.ne(mask.get, i32.const(0)), f32.ge(upper.get, separation))),
    step(row4, 4),
  ]
  /** Second pass: those that the true distance to the own centroid does not settle. */
  const tightenRow: Code[] = [
    row4.set(i32.load(list.get)),
    ...locate,
    ...ownSquare,
    limit.set(f32.min(f32.load(row4.get, at.upper), atMost(square.get))),
    f32.store(row4.get, limit.get, at.upper),
    mask.set(openGroups(limit.get)),
    i32.store(listEnd.get, row4.get),
    i32.store(listEnd.get, mask.get, listMask),
    f32.store(listEnd.get, square.get, listSquare),
    keepIf(i32.and(i32.ne(mask.get, i32.const(0)), f32.ge(limit.get, separation))),
    step(list, 4),
  ]
  /** Third pass: a look at the open groups. */
  const searchRow: Code[] = [
    row4.set(i32.load(list.get)),
    mask.set(i32.load(list.get, listMask)),
    square.set(f32.load(list.get, listSquare)),
    limit.set(f32.load(row4.get, at.upper)),
    ...locate,
    // The own centroid is the one to beat, unless its group is about to be looked at anyway.
    best.set(cluster.get),
    bestGroup.set(i32.load(element(at.groupOf, cluster.get))),
    nearer.set(i32.and(i32.shl(i32.const(1), bestGroup.get), mask.get)),
    bestSquare.set(select(f32.const(LARGEST), f32.min(square.get, f32.const(LARGEST)), nearer.get)),
    bestGroup.set(select(NONE, bestGroup.get, nearer.get)),
    ownGroup.set(bestGroup.get),
    loopWhile(
      mask.get,
      group.set(i32.ctz(mask.get)),
      mask.set(i32.and(mask.get, i32.sub(mask.get, i32.const(1)))),
      when(f32.le(f32.load(boundOf(group.get)), limit.get), scanGroup),
    ),
    when(i32.ne(bestGroup.get, ownGroup.get), [
      // The own centroid, left behind, becomes one of its group's others.
      when(i32.ne(ownGroup.get, NONE), [
        square.set(f32.min(f32.load(list.get, listSquare), f32.const(LARGEST))),
        square.set(atLeast(square.get)),
        f32.store(boundOf(ownGroup.get), f32.min(f32.load(boundOf(ownGroup.get)), square.get)),
      ]),
      f32.store(boundOf(bestGroup.get), atLeast(secondSquare.get)),
      ...nameBest,
    ]),
    upper.set(atMost(bestSquare.get)),
    when(
      // Not proven that all others are farther, or float32 overflowed and nothing was found.
      i32.or(openGroups(upper.get), i32.eq(bestGroup.get, NONE)),
      [call(0, row4.get), best.set(i32.load(row4.get, at.assignment))],
      [f32.store(row4.get, upper.get, at.upper), i32.store(row4.get, best.get, at.assignment)],
    ),
    changed.set(i32.add(changed.get, i32.ne(best.get, cluster.get))),
    step(list, 4),
  ]

  const listStart = i32.add(scratch.get, i32.const(4 * groups * slotsPerGroup))
  return build.close([
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...end4.set(i32.shl(last.get, i32.const(2))),
    ...slack.set(f32.load(i32.const(at.rounding))),
    ...loopWhile(
      i32.ltU(row4.get, end4.get),
      stop4.set(i32.add(row4.get, i32.const(4 * CHUNK_ROWS))),
      when(i32.ltU(end4.get, stop4.get), [stop4.set(end4.get)]),
      listEnd.set(listStart),
      loopWhile(i32.ltU(row4.get, stop4.get), ...pruneRow),
      list.set(listStart),
      open.set(listEnd.get),
      listEnd.set(listStart),
      loopWhile(i32.ltU(list.get, open.get), ...tightenRow),
      list.set(listStart),
      loopWhile(i32.ltU(list.get, listEnd.get), ...searchRow),
      row4.set(stop4.get),
    ),
    ...changed.get,
  ])
}

/**
 * Lane by lane, leaves the least of `values` (a power of two of them) in values[0] and the second least in seconds[0]: a
 * tournament, where (a, a') and (b, b') make min(a, b) and min(max(a, b), a', b').
 */
function leastTwo(values: Local[], seconds: Local[], least: Local): Code[] {
  const code: Code[] = []
  for (let stride = 1; stride < values.length; stride *= 2) {
    for (let q = 0; q < values.length; q += 2 * stride) {
      const [a, b] = [values[q], values[q + stride]]
      const loser = f32x4.pmax(a.get, b.get)
      const others = () => f32x4.pmin(seconds[q].get, seconds[q + stride].get)
      code.push(
        least.set(f32x4.pmin(a.get, b.get)),
        seconds[q].set(stride === 1 ? loser : f32x4.pmin(loser, others())),
        a.set(least.get),
      )
    }
  }
  return code
}
