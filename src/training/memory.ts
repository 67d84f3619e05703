/** How much memory a training pass takes, from its graph. */

import { shapeValue } from '../engine/shape.ts'
import { reachable } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import { type GraphChoices, gradientGraph } from './graphs.ts'

/** Values of [labels, vocabulary] that exist at a time: logits, their log-softmax, and its gradient. */
const LOGIT_COPIES = 3

/**
 * Bytes of activations of one forward and backward pass: what the forward pass makes and the backward pass reads, and the logits of a
 * chunk. A lower bound of what the runtime takes beside weights, gradients and moments. O(nodes).
 */
export function activationBytes(
  model: LanguageModel,
  choices: GraphChoices,
  { rows, length, labels }: { rows: number; length: number; labels: number },
): number {
  const dims = new Map([
    ['batch', rows],
    ['length', length],
    ['labels', labels],
  ])
  const outputs = gradientGraph(model, choices, false)
  const forward = new Set(reachable([outputs.loss]))
  const kept = new Set(
    reachable(Object.values(outputs))
      .filter((node) => !forward.has(node))
      .flatMap(({ inputs }) => inputs)
      .filter(
        ({ node, shape }) => forward.has(node) && node.name === undefined && shape.some((d) => typeof d === 'string'),
      ),
  )
  let values = 0
  for (const { shape } of kept) values += shapeValue(shape, dims).reduce((a, b) => a * b, 1)
  values += (LOGIT_COPIES * labels * model.vocabularySize) / (choices.chunks ?? 1)
  return 4 * values
}
