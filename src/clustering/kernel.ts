/**
 * The inner loops of k-means as one WebAssembly SIMD module, generated for a problem: its sizes and addresses are
 * constants in the code. Every thread has an instance over the same memory.
 */

import {
  assemble,
  call,
  F32,
  f32,
  f64,
  f64x2,
  functionBuilder,
  I32,
  i32,
  loopWhile,
  V128,
  v128,
  when,
} from '../webassembly/assembler.ts'
import { overDimensions, squareOf, step, UNROLLED } from './dimensions.ts'
import type { Layout } from './layout.ts'
import { margin } from './rounding.ts'
import { searchFunction } from './search.ts'

export interface Kernel {
  /** Renews the clusters of points [first, last); `scratch`: the address of this thread's own. Returns how many changed. */
  assign(first: number, last: number, scratch: number): number
  /** Calls `core.nearer(4 * row)` for the points of [first, last) that may be nearer to `seed` than to seeds before. */
  seed(first: number, last: number, seed: number): number
  /** Adds points [first, last) to float64 `sums` [k, d] and `counts` [k] (addresses) by cluster, in row order. */
  sum(first: number, last: number, sums: number, counts: number): number
}

/** The module's bytes; it imports `core.memory` and `core.exact(4 * row)` and `core.nearer(4 * row)`. */
export function kernelModule(layout: Layout, shared: boolean, relaxed: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [
      { name: 'exact', parameters: 1 },
      { name: 'nearer', parameters: 1 },
    ],
    functions: [
      { name: 'assign', parameters: 3, code: searchFunction(layout, relaxed) },
      { name: 'seed', parameters: 3, code: seedFunction(layout, relaxed) },
      { name: 'sum', parameters: 4, code: sumFunction(layout) },
    ],
  })
}

function sumFunction({ d, at }: Layout): number[] {
  const build = functionBuilder(4)
  const [first, last, sums, counts] = build.parameters
  const [row, x, cluster, target, left] = Array.from({ length: 5 }, () => build.local(I32))
  const pairs = Math.floor(d / 2)
  const tail = pairs > UNROLLED ? 0 : pairs
  const addPair = (xOffset: number, offset: number) => {
    const pair = f64x2.promoteLow(v128.load64Zero(x.get, xOffset))
    return v128.store(target.get, f64x2.add(v128.load(target.get, offset), pair), offset)
  }
  const addLast = f64.store(
    target.get,
    f64.add(f64.load(target.get, 16 * tail), f64.promote(f32.load(x.get, 8 * tail))),
    16 * tail,
  )
  return build.close([
    ...row.set(first.get),
    ...loopWhile(
      i32.ltU(row.get, last.get),
      x.set(i32.add(i32.const(at.points), i32.mul(row.get, i32.const(4 * d)))),
      cluster.set(i32.load(i32.shl(row.get, i32.const(2)), at.assignment)),
      target.set(i32.add(sums.get, i32.mul(cluster.get, i32.const(8 * d)))),
      ...overDimensions(pairs, [x, 8], [target, 16], left, addPair),
      ...(d % 2 === 0 ? [] : [addLast]),
      target.set(i32.add(counts.get, i32.shl(cluster.get, i32.const(2)))),
      i32.store(target.get, i32.add(i32.load(target.get), i32.const(1))),
      step(row, 1),
    ),
    ...row.get,
  ])
}

/**
 * A seed is a point, so float32 holds it exactly; `upper` holds a bound of each row's square to its nearest seed so far.
 * A row is passed over if the new seed is more than twice as far from that one as the row is (triangle inequality), or
 * if its float32 square to the new seed, less the margin, exceeds the bound.
 */
function seedFunction({ d, at }: Layout, relaxed: boolean): number[] {
  const build = functionBuilder(3)
  const [first, last, seed] = build.parameters
  const [row4, end4, point, x, c, left] = Array.from({ length: 6 }, () => build.local(I32))
  const [upper, square, rest] = Array.from({ length: 3 }, () => build.local(F32))
  const [sum, difference] = Array.from({ length: 2 }, () => build.local(V128))
  const gap = f32.load(i32.add(i32.const(at.gapsBelow), i32.shl(i32.load(row4.get, at.assignment), i32.const(2))))
  // Twice the margin of a distance is that of its square; an overflown square is at least nearly the largest float32.
  const atLeast = f32.mul(f32.min(square.get, f32.const(3.4e38)), f32.const(1 - 2 * margin(d)))
  return build.close([
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...end4.set(i32.shl(last.get, i32.const(2))),
    ...point.set(i32.add(i32.const(at.points), i32.mul(row4.get, i32.const(d)))),
    ...loopWhile(
      i32.ltU(row4.get, end4.get),
      upper.set(f32.load(row4.get, at.upper)),
      when(f32.le(gap, upper.get), [
        x.set(point.get),
        c.set(i32.add(i32.const(at.rounded), i32.mul(seed.get, i32.const(4 * d)))),
        ...squareOf(d, { x, c, left, sum, difference, rest, square }, relaxed),
        when(f32.le(atLeast, upper.get), [call(1, row4.get)]),
      ]),
      step(row4, 4),
      step(point, 4 * d),
    ),
    ...row4.get,
  ])
}
