/** How much memory a training pass takes, from its graph. */

import { type Dims, shapeValue } from '../engine/shape.ts'
import { reachable, type Tensor } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import { type GraphChoices, gradientGraph } from './graphs.ts'

/** Arrays of [labels, vocabulary] that exist at a time: logits and their softmax. */
const LOGIT_COPIES = 2

/**
 * Bytes of activations of one forward and backward pass: what the forward pass makes and the backward pass reads, or with `recompute` each
 * layer's input and one layer's share of all that; and the logits of a chunk. What the runtime takes beside weights, gradients and
 * moments is up to half as much again (docs/decisions/0014-optimiser-outside-the-graph.md). O(nodes).
 */
export function activationBytes(
  model: LanguageModel,
  choices: GraphChoices,
  { rows, length, labels }: { rows: number; length: number; labels: number },
): number {
  const dims: Dims = new Map([
    ['batch', rows],
    ['length', length],
    ['labels', labels],
  ])
  const kept = keptValues(model, choices, dims)
  const layer = choices.recompute ? keptValues(model, { ...choices, recompute: false }, dims) / model.layers : 0
  const logits = (LOGIT_COPIES * labels * model.vocabularySize) / (choices.chunks ?? 1)
  return 4 * Math.round(kept + layer + logits)
}

/** Values of batch-sized tensors that forward nodes make and other nodes read. A reshape is no value of its own. */
function keptValues(model: LanguageModel, choices: GraphChoices, dims: Dims): number {
  const outputs = gradientGraph(model, choices, { rows: true })
  const forward = new Set(reachable([outputs.loss]))
  const read = reachable(Object.values(outputs))
    .filter((node) => !forward.has(node))
    .flatMap(({ inputs }) => inputs)
  const kept = new Set(read.filter(({ node }) => forward.has(node)).map(unshaped))
  return [...kept]
    .filter(({ node, shape }) => node.name === undefined && shape.some((dim) => typeof dim === 'string'))
    .reduce((total, { shape }) => total + shapeValue(shape, dims).reduce((a, b) => a * b, 1), 0)
}

/** What a chain of reshapes was made from. */
const unshaped = (tensor: Tensor): Tensor => {
  const { operator, inputs } = tensor.node
  return operator === 'reshape' ? unshaped(inputs[0]) : tensor
}
