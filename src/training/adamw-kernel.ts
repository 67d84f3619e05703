/**
 * AdamW over arrays in WebAssembly memory: one pass that reads a gradient and renews a parameter and its moments. ONNX Runtime would
 * take a pass over memory for each of a dozen operators. On 33.5 million parameters that is 300 ms, this is 29 on one thread, 18 on two
 * (docs/decisions/0014-optimiser-outside-the-graph.md).
 */

import {
  assemble,
  f32x4,
  f64x2,
  functionBuilder,
  I32,
  i32,
  type Local,
  loopWhile,
  V128,
  v128,
} from '../webassembly/assembler.ts'
import { type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { SCALAR_NAMES } from './adamw.ts'

export interface AdamWKernel {
  /**
   * Renews `bytes` bytes (a multiple of 16) of parameters, first and second moments at these addresses by the gradients. `scalars` is the
   * address of eight float32 values, in the order of `SCALAR_NAMES`.
   */
  update(parameters: number, gradients: number, first: number, second: number, bytes: number, scalars: number): number
  /** Writes the sum of squares of `bytes` bytes of float32 as two float64 partial sums at `result`. */
  squares(values: number, bytes: number, result: number): number
}

/** Bytes that the scalars take, with padding. */
export const SCALAR_BYTES = 32

/** Compiles the kernel for a memory of this many 64 KiB pages. */
export function adamwModule(pages: number, shared: boolean): Promise<WasmModule> {
  return WebAssembly.compile(
    assemble({
      pages,
      shared,
      imports: [],
      functions: [
        { name: 'update', parameters: 6, code: updateFunction() },
        { name: 'squares', parameters: 3, code: squaresFunction() },
      ],
    }),
  )
}

const advance = (local: Local, bytes: number) => local.set(i32.add(local.get, i32.const(bytes)))

/** The formula of `adamw` in adamw.ts, operation by operation, so that both give the same bits. */
function updateFunction(): number[] {
  const build = functionBuilder(6)
  const [p, g, m, v, bytes, scalars] = build.parameters
  const end = build.local(I32)
  const values = SCALAR_NAMES.map(() => build.local(V128))
  const [beta1, weight1, beta2, weight2, stepSize, epsilonHat, keep] = values
  const [gradient, first, second] = Array.from({ length: 3 }, () => build.local(V128))
  const step = f32x4.mul(f32x4.div(first.get, f32x4.add(f32x4.sqrt(second.get), epsilonHat.get)), stepSize.get)
  return build.close([
    ...end.set(i32.add(p.get, bytes.get)),
    ...values.flatMap((value, i) => value.set(v128.load32Splat(scalars.get, 4 * i))),
    ...loopWhile(
      i32.ne(p.get, end.get),
      gradient.set(v128.load(g.get)),
      first.set(f32x4.add(f32x4.mul(v128.load(m.get), beta1.get), f32x4.mul(gradient.get, weight1.get))),
      second.set(
        f32x4.add(
          f32x4.mul(v128.load(v.get), beta2.get),
          f32x4.mul(f32x4.mul(gradient.get, gradient.get), weight2.get),
        ),
      ),
      v128.store(m.get, first.get),
      v128.store(v.get, second.get),
      v128.store(p.get, f32x4.sub(f32x4.mul(v128.load(p.get), keep.get), step)),
      ...[p, g, m, v].map((local) => advance(local, 16)),
    ),
    ...i32.const(0),
  ])
}

function squaresFunction(): number[] {
  const build = functionBuilder(3)
  const [at, bytes, result] = build.parameters
  const end = build.local(I32)
  const [low, high, value] = Array.from({ length: 3 }, () => build.local(V128))
  const upper = v128.shuffle32(value.get, value.get, 2, 3, 2, 3)
  return build.close([
    ...end.set(i32.add(at.get, bytes.get)),
    ...loopWhile(
      i32.ne(at.get, end.get),
      value.set(v128.load(at.get)),
      low.set(f64x2.add(low.get, f64x2.mul(f64x2.promoteLow(value.get), f64x2.promoteLow(value.get)))),
      high.set(f64x2.add(high.get, f64x2.mul(f64x2.promoteLow(upper), f64x2.promoteLow(upper)))),
      advance(at, 16),
    ),
    ...v128.store(result.get, f64x2.add(low.get, high.get)),
    ...i32.const(0),
  ])
}
