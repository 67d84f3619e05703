/** Reverse-mode differentiation: one sweep from the loss back, each node's own rule, contributions added in a fixed order. */

import { add } from './operators/elementwise.ts'
import { formatShape, sameShape } from './shape.ts'
import { type Node, reachable, scalar, type Tensor } from './tensor.ts'

/**
 * Gradients of the scalar `loss` with respect to `parameters`, as tensors of the same shapes. Throws when a parameter does not
 * reach the loss, or a node on the way has no rule. O(nodes).
 */
export function gradients(loss: Tensor, parameters: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0)
    throw new Error(`gradients: the loss must be a scalar, found shape ${formatShape(loss.shape)}`)
  return pullback(loss, scalar(1), parameters).map((gradient, i) => {
    const { node } = parameters[i]
    if (gradient === undefined) throw new Error(`gradients: '${node.name ?? node.operator}' does not reach the loss`)
    return gradient
  })
}

/** Gradients with respect to `wanted` given that of `output`; undefined for what does not reach it. */
export function pullback(output: Tensor, seed: Tensor, wanted: readonly Tensor[]): (Tensor | undefined)[] {
  const ends = new Set<Node>(wanted.map(({ node }) => node))
  const nodes = reachable([output])
  const active = new Set<Node>()
  for (const node of nodes) {
    if (ends.has(node) || node.inputs.some((tensor) => active.has(tensor.node))) active.add(node)
  }
  const upstream = new Map<Tensor, Tensor>([[output, seed]])
  for (const node of nodes.reverse()) {
    if (!active.has(node) || ends.has(node)) continue
    const given = node.outputs.map((tensor) => upstream.get(tensor))
    if (given.every((tensor) => tensor === undefined)) continue
    if (!node.gradient) throw new Error(`gradients: operator '${node.operator}' has no gradient rule`)
    const results = node.gradient(given)
    node.inputs.forEach((tensor, i) => {
      const contribution = results[i]
      if (contribution === undefined || !active.has(tensor.node)) return
      if (!sameShape(contribution.shape, tensor.shape)) {
        throw new Error(
          `gradients: rule of '${node.operator}' gave ${formatShape(contribution.shape)} for an input of ${formatShape(tensor.shape)}`,
        )
      }
      const sum = upstream.get(tensor)
      upstream.set(
        tensor,
        sum === undefined ? contribution : (contribution.node.addTo?.(sum) ?? add(sum, contribution)),
      )
    })
  }
  return wanted.map((tensor) => upstream.get(tensor))
}
