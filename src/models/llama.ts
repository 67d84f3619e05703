/**
 * A decoder-only transformer in the form of Llama: RMSNorm before each block, rotary positions, grouped-query attention, a gated
 * feed-forward layer. Source: Touvron et al. 2023, arXiv 2302.13971; tensor names and layouts as Hugging Face's LlamaForCausalLM has
 * them, with the variations of Mistral, Qwen2 (biases) and Qwen3 (QK-norm). It only builds the graph; training/ runs it.
 */

import { rotary } from '../engine/operators/attention.ts'
import { add } from '../engine/operators/elementwise.ts'
import { gatherRows } from '../engine/operators/gather.ts'
import { reshape } from '../engine/operators/layout.ts'
import { rmsNorm } from '../engine/operators/normalise.ts'
import { product } from '../engine/shape.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import { type Activation, gated } from './activation.ts'
import { cacheInputs, mergeHeads, selfAttention, splitHeads } from './heads.ts'
import { linear } from './linear.ts'
import type { GraphOptions, LanguageModel, ModelGraph, Origin } from './model.ts'
import { bias, columnsOf, gain, linearModules, matrix, type Parameter } from './parameters.ts'
import { type RotaryScaling, rotaryFrequencies } from './rope.ts'

export interface LlamaConfig {
  vocabularySize: number
  /** d */
  hiddenSize: number
  /** f: width of the feed-forward layer. */
  intermediateSize: number
  layers: number
  heads: number
  /** Key and value heads, each shared by heads / keyValueHeads query heads. */
  keyValueHeads: number
  /** Width of a head. Default hiddenSize / heads. */
  headSize?: number
  /** Longest sequence. */
  maxLength: number
  ropeTheta: number
  /** Default: none. */
  ropeScaling?: RotaryScaling
  /** Dimensions of a head that rotary positions turn. Default: all. */
  rotaryDims?: number
  rmsNormEpsilon: number
  /** Whether the output embedding is the input embedding. */
  tiedEmbeddings: boolean
  /** Attention's projections with a bias: `qkv` in Qwen2, `all` where Llama's or Qwen3's attention_bias is set. Default none. */
  attentionBias?: 'none' | 'qkv' | 'all'
  /** Default false. */
  mlpBias?: boolean
  /** RMSNorm of each query and key head, as in Qwen3. Default false. */
  queryKeyNorm?: boolean
  /** Default silu. */
  activation?: Activation
  /** Deviation of random matrices. Default 0.02. */
  initializerRange?: number
}

const headSizeOf = ({ headSize, hiddenSize, heads }: LlamaConfig): number => headSize ?? hiddenSize / heads

/** Parameters in graph order, with the field's tensor names and layouts ([out, in]). */
function llamaParameters(config: LlamaConfig): Parameter[] {
  const { hiddenSize: d, intermediateSize: f, layers, heads, keyValueHeads, vocabularySize } = config
  const { attentionBias = 'none', mlpBias = false, queryKeyNorm = false, initializerRange = 0.02 } = config
  const size = headSizeOf(config)
  if (!Number.isInteger(size) || heads % keyValueHeads !== 0 || (config.rotaryDims ?? size) % 2 !== 0) {
    throw new Error(`llama: ${heads} heads and ${keyValueHeads} key-value heads do not fit a hidden size of ${d}`)
  }
  // GPT-2's scaling of residual projections: the stream's variance does not grow with depth.
  const residual = initializerRange / Math.sqrt(2 * layers)
  const project = (module: string, outputs: number, inputs: number, biased: boolean, deviation = initializerRange) => [
    matrix(`${module}.weight`, [outputs, inputs], deviation),
    ...(biased ? [bias(`${module}.bias`, outputs)] : []),
  ]
  const blocks = Array.from({ length: layers }, (_, layer): Parameter[] => {
    const at = `model.layers.${layer}`
    const [attention, mlp] = [`${at}.self_attn`, `${at}.mlp`]
    const biased = attentionBias !== 'none'
    return [
      gain(`${at}.input_layernorm.weight`, d),
      ...project(`${attention}.q_proj`, heads * size, d, biased),
      ...project(`${attention}.k_proj`, keyValueHeads * size, d, biased),
      ...project(`${attention}.v_proj`, keyValueHeads * size, d, biased),
      ...project(`${attention}.o_proj`, d, heads * size, attentionBias === 'all', residual),
      ...(queryKeyNorm ? ['q_norm', 'k_norm'].map((name) => gain(`${attention}.${name}.weight`, size)) : []),
      gain(`${at}.post_attention_layernorm.weight`, d),
      ...project(`${mlp}.gate_proj`, f, d, mlpBias),
      ...project(`${mlp}.up_proj`, f, d, mlpBias),
      ...project(`${mlp}.down_proj`, d, f, mlpBias, residual),
    ]
  })
  return [
    matrix('model.embed_tokens.weight', [vocabularySize, d], initializerRange),
    ...blocks.flat(),
    gain('model.norm.weight', d),
    ...(config.tiedEmbeddings ? [] : [matrix('lm_head.weight', [vocabularySize, d], initializerRange)]),
  ]
}

/** The model of a configuration; `origin` where it was read from a config.json. */
export function llama(config: LlamaConfig, origin?: Origin): LanguageModel {
  const parameters = llamaParameters(config)
  const linears = linearModules(parameters, /\.layers\.\d+\..*_proj\.weight$/)
  return {
    family: origin?.family ?? 'llama',
    vocabularySize: config.vocabularySize,
    hiddenSize: config.hiddenSize,
    layers: config.layers,
    maxLength: config.maxLength,
    columns: columnsOf(linears),
    parameters,
    linears,
    config: origin?.config ?? toHuggingFace(config),
    graph: (options) => llamaGraph(config, parameters, options),
  }
}

/**
 * The forward graph. With `positions` the last layer is computed only there, but for its keys and values: what follows them at another
 * position reaches no label, so losses and gradients are the same, for up to three quarters of a layer less work
 * (docs/decisions/0003-last-layer-at-labels.md).
 */
function llamaGraph(config: LlamaConfig, declared: readonly Parameter[], options: GraphOptions = {}): ModelGraph {
  const { heads, keyValueHeads, layers: count, rmsNormEpsilon, activation = 'silu' } = config
  const { positions, adapters, maxLength = config.maxLength, cached, block = (build, x) => build(x) } = options
  const cache = cached ? cacheInputs() : undefined
  const size = headSizeOf(config)
  const parameters = new Map(declared.map(({ name, shape }) => [name, input(name, shape)]))
  const weight = (name: string) => parameters.get(name) as Tensor
  const layers = { parameters, adapters }
  const turn = { theta: config.ropeTheta, dims: config.rotaryDims ?? size, scaling: config.ropeScaling }
  const rotation = { maxLength, positions: cache?.positions, ...rotaryFrequencies(turn) }
  const tokens = input('tokens', ['batch', 'length'], 'int32')
  const table = weight('model.embed_tokens.weight')
  const norm = (x: Tensor, module: string) => rmsNorm(x, weight(`${module}.weight`), rmsNormEpsilon)

  const layerAt = (layer: number) => (x: Tensor) => {
    const at = `model.layers.${layer}`
    const [attention, mlp] = [`${at}.self_attn`, `${at}.mlp`]
    const normed = norm(x, `${at}.input_layernorm`)
    /** RMSNorm over each head of [batch*length, heads * size]. */
    const normHeads = (flat: Tensor, count: number, module: string) =>
      config.queryKeyNorm
        ? reshape(norm(reshape(flat, [product([count, 'batch', 'length']), size]), module), [
            'batch*length',
            count * size,
          ])
        : flat
    const project = (name: string) => linear(normed, layers, `${attention}.${name}`)
    const query = normHeads(project('q_proj'), heads, `${attention}.q_norm`)
    const key = normHeads(project('k_proj'), keyValueHeads, `${attention}.k_norm`)
    const attended = selfAttention(
      rotary(splitHeads(query, heads, size), rotation),
      rotary(splitHeads(key, keyValueHeads, size), rotation),
      splitHeads(project('v_proj'), keyValueHeads, size),
      1 / Math.sqrt(size),
      cache,
    )
    let [merged, stream] = [mergeHeads(attended), x]
    if (positions && layer === count - 1) {
      merged = gatherRows(merged, positions)
      stream = gatherRows(stream, positions)
    }
    stream = add(stream, linear(merged, layers, `${attention}.o_proj`))
    const normed2 = norm(stream, `${at}.post_attention_layernorm`)
    const widen = (name: string) => linear(normed2, layers, `${mlp}.${name}`)
    const wide = gated(activation, widen('gate_proj'), widen('up_proj'))
    return add(stream, linear(wide, layers, `${mlp}.down_proj`))
  }
  let x = gatherRows(table, reshape(tokens, ['batch*length']))
  for (let layer = 0; layer < count; layer++) x = block(layerAt(layer), x)
  const hidden = norm(x, 'model.norm')
  return { parameters, tokens, hidden, cache, output: config.tiedEmbeddings ? table : weight('lm_head.weight') }
}

/** config.json as transformers reads it, of a Llama: the options of other model types come with a config.json of their own. */
function toHuggingFace(config: LlamaConfig): Record<string, unknown> {
  const { attentionBias = 'none', mlpBias = false, activation = 'silu', headSize } = config
  if (attentionBias === 'qkv' || config.queryKeyNorm || config.ropeScaling || config.rotaryDims !== undefined)
    throw new Error('llama: a model with these options needs the config.json that it was read from')
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    max_position_embeddings: config.maxLength,
    rope_theta: config.ropeTheta,
    rms_norm_eps: config.rmsNormEpsilon,
    tie_word_embeddings: config.tiedEmbeddings,
    ...(headSize !== undefined && { head_dim: headSize }),
    hidden_act: activation,
    attention_bias: attentionBias === 'all',
    mlp_bias: mlpBias,
    torch_dtype: 'float32',
  }
}
