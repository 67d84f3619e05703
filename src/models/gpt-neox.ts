/**
 * GPT-NeoX, the form of Pythia: LayerNorm, rotary positions on a part of each head, attention and feed-forward layer side by side on the
 * same stream (or one after the other). Source: Black et al. 2022, arXiv 2204.06745; tensor names and layouts as Hugging Face's
 * GPTNeoXForCausalLM has them: query, key and value are one projection, [heads, 3, head size] along its outputs.
 */

import { rotary } from '../engine/operators/attention.ts'
import { add } from '../engine/operators/elementwise.ts'
import { gatherRows } from '../engine/operators/gather.ts'
import { reshape } from '../engine/operators/layout.ts'
import { layerNorm } from '../engine/operators/normalise.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import { type Activation, activate } from './activation.ts'
import { cacheInputs, mergeHeads, selfAttention, splitHeads } from './heads.ts'
import { fusedLinear, linear } from './linear.ts'
import type { GraphOptions, LanguageModel, ModelGraph, Origin } from './model.ts'
import { bias, columnsOf, gain, linearModules, matrix, type Parameter } from './parameters.ts'
import { type RotarySettings, rotaryFrequencies } from './rope.ts'

export interface GptNeoxConfig {
  vocabularySize: number
  /** d */
  hiddenSize: number
  /** f: width of the feed-forward layer. */
  intermediateSize: number
  layers: number
  heads: number
  /** Longest sequence. */
  maxLength: number
  rotary: RotarySettings
  layerNormEpsilon: number
  /** x + attention(x) + mlp(x) rather than one after the other. */
  parallelResidual: boolean
  attentionBias: boolean
  activation: Activation
  tiedEmbeddings: boolean
  /** Deviation of random matrices. */
  initializerRange: number
}

function gptNeoxParameters(config: GptNeoxConfig): Parameter[] {
  const { hiddenSize: d, intermediateSize: f, vocabularySize, attentionBias, initializerRange } = config
  const norm = (module: string) => [gain(`${module}.weight`, d), bias(`${module}.bias`, d)]
  const project = (module: string, outputs: number, inputs: number, biased = true) => [
    matrix(`${module}.weight`, [outputs, inputs], initializerRange),
    ...(biased ? [bias(`${module}.bias`, outputs)] : []),
  ]
  const blocks = Array.from({ length: config.layers }, (_, layer): Parameter[] => {
    const at = `gpt_neox.layers.${layer}`
    return [
      ...norm(`${at}.input_layernorm`),
      ...norm(`${at}.post_attention_layernorm`),
      ...project(`${at}.attention.query_key_value`, 3 * d, d, attentionBias),
      ...project(`${at}.attention.dense`, d, d, attentionBias),
      ...project(`${at}.mlp.dense_h_to_4h`, f, d),
      ...project(`${at}.mlp.dense_4h_to_h`, d, f),
    ]
  })
  return [
    matrix('gpt_neox.embed_in.weight', [vocabularySize, d], initializerRange),
    ...blocks.flat(),
    ...norm('gpt_neox.final_layer_norm'),
    ...(config.tiedEmbeddings ? [] : [matrix('embed_out.weight', [vocabularySize, d], initializerRange)]),
  ]
}

/** The model of a configuration that was read from a config.json. */
export function gptNeox(config: GptNeoxConfig, origin: Origin): LanguageModel {
  const parameters = gptNeoxParameters(config)
  const linears = linearModules(parameters, /\.(query_key_value|dense|dense_h_to_4h|dense_4h_to_h)\.weight$/)
  return {
    ...origin,
    vocabularySize: config.vocabularySize,
    hiddenSize: config.hiddenSize,
    layers: config.layers,
    maxLength: config.maxLength,
    columns: columnsOf(linears, { module: /query_key_value$/, parts: 3 }),
    parameters,
    linears,
    graph: (options) => gptNeoxGraph(config, parameters, options),
  }
}

/** The forward graph; with `positions` the last layer only there, but for its keys and values, as in llama.ts. */
function gptNeoxGraph(config: GptNeoxConfig, declared: readonly Parameter[], options: GraphOptions = {}): ModelGraph {
  const { heads, layers: count, hiddenSize: d } = config
  const { positions, adapters, maxLength = config.maxLength, cached, block = (build, x) => build(x) } = options
  const cache = cached ? cacheInputs() : undefined
  const parameters = new Map(declared.map(({ name, shape }) => [name, input(name, shape)]))
  const weight = (name: string) => parameters.get(name) as Tensor
  const layers = { parameters, adapters }
  const rotation = { maxLength, positions: cache?.positions, ...rotaryFrequencies(config.rotary) }
  const tokens = input('tokens', ['batch', 'length'], 'int32')
  const table = weight('gpt_neox.embed_in.weight')
  const norm = (x: Tensor, module: string) =>
    layerNorm(x, weight(`${module}.weight`), weight(`${module}.bias`), config.layerNormEpsilon)

  const layerAt = (layer: number) => (x: Tensor) => {
    const at = `gpt_neox.layers.${layer}`
    const fused = { groups: heads, parts: 3 }
    const projected = fusedLinear(norm(x, `${at}.input_layernorm`), layers, `${at}.attention.query_key_value`, fused)
    const [query, key, value] = projected.map((part) => splitHeads(part, heads, d / heads))
    const [q, k] = [rotary(query, rotation), rotary(key, rotation)]
    const attended = selfAttention(q, k, value, 1 / Math.sqrt(d / heads), cache)
    let [merged, stream] = [mergeHeads(attended), x]
    if (positions && layer === count - 1) {
      merged = gatherRows(merged, positions)
      stream = gatherRows(stream, positions)
    }
    const attention = linear(merged, layers, `${at}.attention.dense`)
    const feedForward = (from: Tensor) => {
      const wide = linear(norm(from, `${at}.post_attention_layernorm`), layers, `${at}.mlp.dense_h_to_4h`)
      return linear(activate(config.activation, wide), layers, `${at}.mlp.dense_4h_to_h`)
    }
    const after = add(stream, attention)
    return add(after, feedForward(config.parallelResidual ? stream : after))
  }
  let x = gatherRows(table, reshape(tokens, ['batch*length']))
  for (let layer = 0; layer < count; layer++) x = block(layerAt(layer), x)
  const hidden = norm(x, 'gpt_neox.final_layer_norm')
  return { parameters, tokens, hidden, cache, output: config.tiedEmbeddings ? table : weight('embed_out.weight') }
}
