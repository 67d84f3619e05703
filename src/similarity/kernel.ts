/** The inner loops of the neighbour search as one WebAssembly SIMD module, generated for a problem. */

import { assemble, call, f32x4, functionBuilder, I32, i32, i32x4, loopWhile, v128 } from '../webassembly/assembler.ts'
import type { Layout } from './layout.ts'
import { dotsFunction } from './tiles.ts'

export interface Kernel {
  dots(rows: number, groups: number, panels: number, panelCount: number, tile: number, stride: number): number
  /** Calls `core.offer(place)` (in bytes from the row's start) for every product of the row at `row` that is at least the query's least. */
  offer(row: number, least: number): number
}

/** The module's bytes; it imports `core.memory` and `core.offer(4 * query)`. */
export function kernelModule(layout: Layout, shared: boolean, relaxed: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages: layout.pages,
    shared,
    imports: [{ name: 'offer', parameters: 1 }],
    functions: [
      { name: 'dots', parameters: 6, code: dotsFunction(layout.d, relaxed) },
      { name: 'offer', parameters: 2, code: offerFunction(layout) },
    ],
  })
}

function offerFunction({ columns }: Layout): number[] {
  const build = functionBuilder(2)
  const [row, least] = build.parameters
  const [offset, mask] = [build.local(I32), build.local(I32)]
  const at = (base: typeof row, extra: number) => v128.load(i32.add(base.get, offset.get), extra)
  const reached = (extra: number) => i32x4.bitmask(f32x4.le(at(least, extra), at(row, extra)))
  return build.close([
    ...offset.set(i32.const(0)),
    ...loopWhile(
      i32.ltU(offset.get, i32.const(4 * columns)),
      mask.set(i32.or(reached(0), i32.shl(reached(16), i32.const(4)))),
      loopWhile(
        mask.get,
        call(0, i32.add(offset.get, i32.shl(i32.ctz(mask.get), i32.const(2)))),
        mask.set(i32.and(mask.get, i32.sub(mask.get, i32.const(1)))),
      ),
      offset.set(i32.add(offset.get, i32.const(32))),
    ),
    ...i32.const(0),
  ])
}
