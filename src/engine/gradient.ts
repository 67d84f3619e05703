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
  const nodes = reachable([loss])
  const wanted = new Set<Node>(parameters.map((parameter) => parameter.node))
  const active = new Set<Node>()
  for (const node of nodes) {
    if (wanted.has(node) || node.inputs.some((tensor) => active.has(tensor.node))) active.add(node)
  }
  const upstream = new Map<Tensor, Tensor>([[loss, scalar(1)]])
  for (const node of nodes.reverse()) {
    if (!active.has(node) || wanted.has(node)) continue
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
      upstream.set(tensor, sum === undefined ? contribution : add(sum, contribution))
    })
  }
  return parameters.map((parameter) => {
    const gradient = upstream.get(parameter)
    if (gradient === undefined)
      throw new Error(`gradients: '${parameter.node.name ?? parameter.node.operator}' does not reach the loss`)
    return gradient
  })
}
