/**
 * The inner loops of k-means as one WebAssembly SIMD module, generated for a problem: its sizes and addresses are
 * constants in the code. Every thread has an instance over the same memory.
 */

import { assemble, f32, f64, f64x2, functionBuilder, I32, i32, loopWhile, v128 } from './assembler.ts'
import { overDimensions, step, UNROLLED } from './dimensions.ts'
import type { Layout } from './layout.ts'
import { searchFunction } from './search.ts'

export interface Kernel {
  /** Renews the clusters of points [first, last); `scratch` is the address of 16 bytes. Returns how many changed. */
  assign(first: number, last: number, scratch: number): number
  /** Adds points [first, last) to float64 `sums` [k, d] and `counts` [k] (addresses) by cluster, in row order. */
  sum(first: number, last: number, sums: number, counts: number): number
}

/** The module's bytes; it imports `core.memory` and `core.exact(address of a row's cluster - start of clusters)`. */
export function kernelModule(layout: Layout, shared: boolean, relaxed: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [{ name: 'exact', parameters: 1 }],
    functions: [
      { name: 'assign', parameters: 3, code: searchFunction(layout, relaxed) },
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
