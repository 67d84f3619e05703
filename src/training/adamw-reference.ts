/** The slow reference of the AdamW kernel: one number at a time, every operation rounded to float32. For tests. */

import { type AdamWScalars, SCALAR_NAMES } from './adamw.ts'

export interface AdamWArrays {
  parameters: Float32Array
  gradients: Float32Array
  first: Float32Array
  second: Float32Array
}

/**
 * One step of the formula in adamw.ts, in place: m <- m b1 + g w1; v <- v b2 + (g g) w2; p <- p keep - m / (sqrt(v) + eps) * stepSize, in this
 * order of operations. What does not decay keeps its whole value (`keep` is 1).
 */
export function adamwReference(arrays: AdamWArrays, scalars: AdamWScalars, decay: boolean): void {
  const { parameters: p, gradients: g, first: m, second: v } = arrays
  const f = Math.fround
  const [b1, w1, b2, w2, stepSize, epsilonHat, keep] = SCALAR_NAMES.map((name) => f(scalars[name]))
  for (let i = 0; i < p.length; i++) {
    m[i] = f(f(m[i] * b1) + f(g[i] * w1))
    v[i] = f(f(v[i] * b2) + f(f(g[i] * g[i]) * w2))
    const step = f(f(m[i] / f(f(Math.sqrt(v[i])) + epsilonHat)) * stepSize)
    p[i] = f(f(p[i] * (decay ? keep : 1)) - step)
  }
}
