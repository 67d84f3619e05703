/** Linear layers by module name: bias where the model has one, one part of a fused projection, a low-rank adapter where one sits. */

import { add, scale } from '../engine/operators/elementwise.ts'
import { reshape, split } from '../engine/operators/layout.ts'
import { matmul } from '../engine/operators/matmul.ts'
import type { Tensor } from '../engine/tensor.ts'

/** A low-rank update of a linear layer: W + scale * B A. Source: Hu et al. 2021, arXiv 2106.09685. */
export interface Adapter {
  /** [rank, inputs] */
  a: Tensor
  /** [outputs, rank] */
  b: Tensor
  /** alpha / rank */
  scale: number
}

/** By module name. */
export type Adapters = ReadonlyMap<string, Adapter>

/** A fused projection: its output axis is [groups, parts, rest]. GPT-NeoX: [heads, 3, head size]; GPT-2: [1, 3, d]. */
export interface Fused {
  groups: number
  parts: number
}

/** Layout of a weight: [outputs, inputs], or [inputs, outputs] as in GPT-2's Conv1D. */
export type Layout = 'out-in' | 'in-out'

export interface Layers {
  parameters: ReadonlyMap<string, Tensor>
  adapters?: Adapters
}

/** y = x W^T + b, for x [n, inputs] and the parameters `<module>.weight` and, where there is one, `<module>.bias`. */
export function linear(x: Tensor, layers: Layers, module: string, layout?: Layout): Tensor {
  return fusedLinear(x, layers, module, { groups: 1, parts: 1 }, layout)[0]
}

/**
 * The parts of a fused projection of x [n, inputs], each [n, outputs / parts]. They are cut from the weight, not from the product: a weight
 * is smaller than the activations of a batch.
 */
export function fusedLinear(
  x: Tensor,
  { parameters, adapters }: Layers,
  module: string,
  fused: Fused,
  layout: Layout = 'out-in',
): Tensor[] {
  const weight = parameters.get(`${module}.weight`)
  if (weight === undefined) throw new Error(`linear: the model has no parameter '${module}.weight'`)
  const inOut = layout === 'in-out'
  const bias = parameters.get(`${module}.bias`)
  const biases = bias === undefined ? [] : cut(bias, fused, 0)
  const weights = cut(weight, fused, inOut ? 1 : 0)
  const results = weights.map((part, i) => matmul(x, part, { transposeB: !inOut, bias: biases[i] }))
  const adapter = adapters?.get(module)
  if (adapter === undefined) return results
  const low = scale(matmul(x, adapter.a, { transposeB: true }), adapter.scale)
  const raised = cut(adapter.b, fused, 0).map((part) => matmul(low, part, { transposeB: true }))
  return results.map((y, i) => add(y, raised[i]))
}

/** The parts of a tensor along its output axis. */
function cut(a: Tensor, { groups, parts }: Fused, axis: number): Tensor[] {
  if (parts === 1) return [a]
  const shape = a.shape as number[]
  const rest = shape[axis] / (groups * parts)
  if (!Number.isInteger(rest))
    throw new Error(`linear: ${shape[axis]} outputs are not ${groups} groups of ${parts} parts`)
  const [before, after] = [shape.slice(0, axis), shape.slice(axis + 1)]
  const pieces = split(reshape(a, [...before, groups, parts, rest, ...after]), Array(parts).fill(1), axis + 1)
  return pieces.map((piece) => reshape(piece, [...before, groups * rest, ...after]))
}
