/** Attention heads: the axes that projections come in, and those that attention works on. */

import { reshape, transpose } from '../engine/operators/layout.ts'
import type { Tensor } from '../engine/tensor.ts'

/** [batch*length, heads * size] → [batch, heads, length, size] */
export const splitHeads = (x: Tensor, heads: number, size: number): Tensor =>
  transpose(reshape(x, ['batch', 'length', heads, size]), [0, 2, 1, 3])

/** [batch, heads, length, size] → [batch*length, heads * size] */
export function mergeHeads(x: Tensor): Tensor {
  const [, heads, , size] = x.shape as [unknown, number, unknown, number]
  return reshape(transpose(x, [0, 2, 1, 3]), ['batch*length', heads * size])
}
