/** The graphs of scoring and training a language model. */

import { gradients } from '../engine/gradient.ts'
import { add } from '../engine/operators/elementwise.ts'
import { type TokenScores, tokenScores } from '../engine/operators/loss.ts'
import { weightedNll } from '../engine/operators/weighted-nll.ts'
import { recomputed } from '../engine/recompute.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Parameter } from '../models/parameters.ts'
import { type LoraOptions, loraAdapters, loraParameters } from './lora.ts'

export interface GraphChoices {
  /** Label positions of a training batch are cut into this many chunks, so that the vocabulary does not set the memory. Default 1. */
  chunks?: number
  /** The same of a scoring batch. Default: as in training. */
  scoringChunks?: number
  /** Longest sequence that will be fed. Default: the model's own. */
  maxLength?: number
  /** Train low-rank adapters instead of the model's own parameters. */
  lora?: LoraOptions
  /** Keep only each layer's input for the backward pass. */
  recompute?: boolean
}

/** What is trained: all parameters, or the adapters. */
export const trainedParameters = (model: LanguageModel, lora?: LoraOptions): readonly Parameter[] =>
  lora === undefined ? model.parameters : loraParameters(model, lora)

const positions = () => input('positions', ['labels'], 'int32')
const targets = () => input('targets', ['labels'], 'int32')

/** NLL and confidence of every label, [labels], over inputs tokens, positions, targets and the parameters. */
export function scoringGraph(model: LanguageModel, choices: GraphChoices): TokenScores & Record<string, Tensor> {
  const { chunks, scoringChunks = chunks, maxLength, lora } = choices
  const adapters = lora && loraAdapters(model, lora)
  const { hidden, output } = model.graph({ positions: positions(), maxLength, adapters })
  return { ...tokenScores(hidden, output, targets(), scoringChunks) }
}

export interface GradientForm {
  /** Gradients are added to the inputs `sum/<name>`. */
  accumulate?: boolean
  /** The gradient of a table that is only looked up comes as `rows/<name>` [batch*length, d]: one row for each token, to be added up. */
  rows?: boolean
}

/** `loss` = sum of `labelWeights` times NLL, and `gradient/<name>` (or `rows/<name>`) of every trained parameter. */
export function gradientGraph(
  model: LanguageModel,
  choices: GraphChoices,
  { accumulate = false, rows = false }: GradientForm = {},
): Record<string, Tensor> {
  const { chunks, maxLength, lora, recompute } = choices
  const adapters = lora && loraAdapters(model, lora)
  const graph = model.graph({ positions: positions(), maxLength, adapters, block: recompute ? recomputed : undefined })
  const loss = weightedNll(graph.hidden, graph.output, targets(), input('labelWeights', ['labels']), chunks)
  const trained = trainedParameters(model, lora)
  const values = trained.map(({ name }) => {
    const own = graph.parameters.get(name)
    if (own !== undefined) return own
    for (const { a, b } of adapters?.values() ?? [])
      for (const tensor of [a, b]) if (tensor.node.name === name) return tensor
    throw new Error(`gradientGraph: '${name}' is not in the graph`)
  })
  const found = gradients(loss, values)
  const outputs: Record<string, Tensor> = { loss }
  trained.forEach(({ name, shape }, i) => {
    const looked = rows ? lookedUp(found[i]) : undefined
    if (looked !== undefined) outputs[`rows/${name}`] = looked
    else outputs[`gradient/${name}`] = accumulate ? add(input(`sum/${name}`, shape), found[i]) : found[i]
  })
  return outputs
}

/** The rows of a gradient that is nothing but rows of zeros with them added where the tokens are. */
function lookedUp({ node }: Tensor): Tensor | undefined {
  if (node.operator !== 'scatterRows') return undefined
  const [updates, indices] = node.inputs
  const from = indices.node.operator === 'reshape' ? indices.node.inputs[0] : indices
  return from.node.name === 'tokens' ? updates : undefined
}
