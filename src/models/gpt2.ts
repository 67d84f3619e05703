/**
 * GPT-2: LayerNorm, learned positions, one projection for query, key and value, weights stored [inputs, outputs] (Conv1D).
 * Source: Radford et al. 2019; tensor names and layouts as Hugging Face's GPT2LMHeadModel has them.
 */

import { add } from '../engine/operators/elementwise.ts'
import { firstRows, gatherRows } from '../engine/operators/gather.ts'
import { reshape } from '../engine/operators/layout.ts'
import { layerNorm } from '../engine/operators/normalise.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import { type Activation, activate } from './activation.ts'
import { cacheInputs, mergeHeads, selfAttention, splitHeads } from './heads.ts'
import { fusedLinear, linear } from './linear.ts'
import type { GraphOptions, LanguageModel, ModelGraph, Origin } from './model.ts'
import { bias, columnsOf, gain, linearModules, matrix, type Parameter } from './parameters.ts'

export interface Gpt2Config {
  vocabularySize: number
  /** d */
  hiddenSize: number
  /** f: width of the feed-forward layer. */
  intermediateSize: number
  layers: number
  heads: number
  /** Rows of the table of positions: the longest sequence. */
  maxLength: number
  layerNormEpsilon: number
  /** Whether attention scores are divided by the square root of the head's width. */
  scaledAttention: boolean
  activation: Activation
  tiedEmbeddings: boolean
  /** Deviation of random matrices; those that write into the residual stream get it over sqrt(2 layers). */
  initializerRange: number
}

function gpt2Parameters(config: Gpt2Config): Parameter[] {
  const { hiddenSize: d, intermediateSize: f, layers, vocabularySize, initializerRange } = config
  const residual = initializerRange / Math.sqrt(2 * layers)
  const norm = (module: string) => [gain(`${module}.weight`, d), bias(`${module}.bias`, d)]
  const project = (module: string, inputs: number, outputs: number, deviation = initializerRange) => [
    matrix(`${module}.weight`, [inputs, outputs], deviation),
    bias(`${module}.bias`, outputs),
  ]
  const blocks = Array.from({ length: layers }, (_, layer): Parameter[] => {
    const at = `transformer.h.${layer}`
    return [
      ...norm(`${at}.ln_1`),
      ...project(`${at}.attn.c_attn`, d, 3 * d),
      ...project(`${at}.attn.c_proj`, d, d, residual),
      ...norm(`${at}.ln_2`),
      ...project(`${at}.mlp.c_fc`, d, f),
      ...project(`${at}.mlp.c_proj`, f, d, residual),
    ]
  })
  return [
    matrix('transformer.wte.weight', [vocabularySize, d], initializerRange),
    matrix('transformer.wpe.weight', [config.maxLength, d], initializerRange),
    ...blocks.flat(),
    ...norm('transformer.ln_f'),
    ...(config.tiedEmbeddings ? [] : [matrix('lm_head.weight', [vocabularySize, d], initializerRange)]),
  ]
}

/** The model of a configuration that was read from a config.json. */
export function gpt2(config: Gpt2Config, origin: Origin): LanguageModel {
  const parameters = gpt2Parameters(config)
  const linears = linearModules(parameters, /\.h\.\d+\..*\.c_[a-z]+\.weight$/, 'in-out')
  return {
    ...origin,
    vocabularySize: config.vocabularySize,
    hiddenSize: config.hiddenSize,
    layers: config.layers,
    maxLength: config.maxLength,
    columns: columnsOf(linears, { module: /c_attn$/, parts: 3 }),
    parameters,
    linears,
    graph: (options) => gpt2Graph(config, parameters, options),
  }
}

/** The forward graph; with `positions` the last layer only there, but for its keys and values, as in llama.ts. */
function gpt2Graph(config: Gpt2Config, declared: readonly Parameter[], options: GraphOptions = {}): ModelGraph {
  const { heads, layers: count, hiddenSize: d } = config
  const { positions, adapters, cached, block = (build, x) => build(x) } = options
  const cache = cached ? cacheInputs() : undefined
  const parameters = new Map(declared.map(({ name, shape }) => [name, input(name, shape)]))
  const weight = (name: string) => parameters.get(name) as Tensor
  const layers = { parameters, adapters }
  const tokens = input('tokens', ['batch', 'length'], 'int32')
  const table = weight('transformer.wte.weight')
  const project = (x: Tensor, module: string) => linear(x, layers, module, 'in-out')
  const norm = (x: Tensor, module: string) =>
    layerNorm(x, weight(`${module}.weight`), weight(`${module}.bias`), config.layerNormEpsilon)

  const layerAt = (layer: number) => (x: Tensor) => {
    const at = `transformer.h.${layer}`
    const fused = { groups: 1, parts: 3 }
    const projected = fusedLinear(norm(x, `${at}.ln_1`), layers, `${at}.attn.c_attn`, fused, 'in-out')
    const [query, key, value] = projected.map((part) => splitHeads(part, heads, d / heads))
    const scale = config.scaledAttention ? 1 / Math.sqrt(d / heads) : 1
    const attended = selfAttention(query, key, value, scale, cache)
    let [merged, stream] = [mergeHeads(attended), x]
    if (positions && layer === count - 1) {
      merged = gatherRows(merged, positions)
      stream = gatherRows(stream, positions)
    }
    stream = add(stream, project(merged, `${at}.attn.c_proj`))
    const wide = project(norm(stream, `${at}.ln_2`), `${at}.mlp.c_fc`)
    return add(stream, project(activate(config.activation, wide), `${at}.mlp.c_proj`))
  }
  const embedded = gatherRows(table, reshape(tokens, ['batch*length']))
  const places = weight('transformer.wpe.weight')
  let x = cache
    ? add(embedded, gatherRows(places, reshape(cache.positions, ['batch*length'])))
    : reshape(add(reshape(embedded, ['batch', 'length', d]), firstRows(places, 'length')), ['batch*length', d])
  for (let layer = 0; layer < count; layer++) x = block(layerAt(layer), x)
  const hidden = norm(x, 'transformer.ln_f')
  return { parameters, tokens, hidden, cache, output: config.tiedEmbeddings ? table : weight('lm_head.weight') }
}
