/**
 * A decoder-only transformer in the form of Llama: RMSNorm before each block, rotary positions, grouped-query attention, SwiGLU,
 * no biases. Source: Touvron et al. 2023, arXiv 2302.13971; tensor names and layouts as Hugging Face's LlamaForCausalLM has them.
 * It only builds the graph; training/ runs it.
 */

import { causalAttention, rotary } from '../engine/operators/attention.ts'
import { add, swiglu } from '../engine/operators/elementwise.ts'
import { gatherRows } from '../engine/operators/gather.ts'
import { broadcastTo, reshape, transpose } from '../engine/operators/layout.ts'
import { rmsNorm } from '../engine/operators/normalise.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import { linear } from './linear.ts'
import type { GraphOptions, LanguageModel, LinearModule, ModelGraph } from './model.ts'
import type { Parameter } from './parameters.ts'

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
  /** Longest sequence. */
  maxLength: number
  ropeTheta: number
  rmsNormEpsilon: number
  /** Whether the output embedding is the input embedding. */
  tiedEmbeddings: boolean
}

export const headSize = (config: LlamaConfig): number => config.hiddenSize / config.heads

/** Parameters in graph order, with the field's tensor names and layouts ([out, in]). */
function llamaParameters(config: LlamaConfig): Parameter[] {
  const { hiddenSize: d, intermediateSize: f, layers, heads, keyValueHeads, vocabularySize } = config
  if (d % heads !== 0 || heads % keyValueHeads !== 0 || headSize(config) % 2 !== 0) {
    throw new Error(`llama: ${heads} heads and ${keyValueHeads} key-value heads do not fit a hidden size of ${d}`)
  }
  const keyValueWidth = keyValueHeads * headSize(config)
  const normal = (deviation: number) => ({ kind: 'normal', deviation }) as const
  const matrix = (name: string, rows: number, columns: number, deviation = 0.02): Parameter => ({
    name,
    shape: [rows, columns],
    initial: normal(deviation),
    decay: true,
  })
  const gain = (name: string): Parameter => ({ name, shape: [d], initial: { kind: 'ones' }, decay: false })
  // GPT-2's scaling of residual projections: the stream's variance does not grow with depth.
  const residual = 0.02 / Math.sqrt(2 * layers)
  const blocks = Array.from({ length: layers }, (_, layer): Parameter[] => {
    const at = `model.layers.${layer}`
    return [
      gain(`${at}.input_layernorm.weight`),
      matrix(`${at}.self_attn.q_proj.weight`, d, d),
      matrix(`${at}.self_attn.k_proj.weight`, keyValueWidth, d),
      matrix(`${at}.self_attn.v_proj.weight`, keyValueWidth, d),
      matrix(`${at}.self_attn.o_proj.weight`, d, d, residual),
      gain(`${at}.post_attention_layernorm.weight`),
      matrix(`${at}.mlp.gate_proj.weight`, f, d),
      matrix(`${at}.mlp.up_proj.weight`, f, d),
      matrix(`${at}.mlp.down_proj.weight`, d, f, residual),
    ]
  })
  return [
    matrix('model.embed_tokens.weight', vocabularySize, d),
    ...blocks.flat(),
    gain('model.norm.weight'),
    ...(config.tiedEmbeddings ? [] : [matrix('lm_head.weight', vocabularySize, d)]),
  ]
}

/** The model of a configuration. */
export function llama(config: LlamaConfig): LanguageModel {
  const parameters = llamaParameters(config)
  const linears = parameters.flatMap(({ name, shape }): LinearModule[] =>
    /\.layers\.\d+\..*_proj\.weight$/.test(name)
      ? [{ module: name.slice(0, -'.weight'.length), inputs: shape[1], outputs: shape[0] }]
      : [],
  )
  return {
    family: 'llama',
    vocabularySize: config.vocabularySize,
    hiddenSize: config.hiddenSize,
    layers: config.layers,
    maxLength: config.maxLength,
    widest: Math.max(config.hiddenSize, config.intermediateSize),
    parameters,
    linears,
    config: toHuggingFace(config),
    graph: (options) => llamaGraph(config, parameters, options),
  }
}

/**
 * The forward graph. With `positions` the last layer is computed only there, but for its keys and values: what follows them at another
 * position reaches no label, so losses and gradients are the same, for up to three quarters of a layer less work
 * (docs/decisions/0003-last-layer-at-labels.md).
 */
function llamaGraph(config: LlamaConfig, declared: readonly Parameter[], options: GraphOptions = {}): ModelGraph {
  const { heads, keyValueHeads, layers: count, hiddenSize: d } = config
  const { positions, adapters, maxLength = config.maxLength, block = (build, x) => build(x) } = options
  const size = headSize(config)
  const parameters = new Map(declared.map(({ name, shape }) => [name, input(name, shape)]))
  const weight = (name: string) => parameters.get(name) as Tensor
  const layers = { parameters, adapters }
  const rotation = { maxLength, theta: config.ropeTheta }
  const tokens = input('tokens', ['batch', 'length'], 'int32')
  const table = weight('model.embed_tokens.weight')

  const layerAt = (layer: number) => (x: Tensor) => {
    const at = `model.layers.${layer}`
    const norm = rmsNorm(x, weight(`${at}.input_layernorm.weight`), config.rmsNormEpsilon)
    const project = (name: string, count: number) => {
      const flat = linear(norm, layers, `${at}.self_attn.${name}`)
      return transpose(reshape(flat, ['batch', 'length', count, size]), [0, 2, 1, 3])
    }
    const attended = causalAttention(
      rotary(project('q_proj', heads), rotation),
      shareHeads(rotary(project('k_proj', keyValueHeads), rotation), config),
      shareHeads(project('v_proj', keyValueHeads), config),
      1 / Math.sqrt(size),
    )
    let [merged, stream] = [reshape(transpose(attended, [0, 2, 1, 3]), ['batch*length', d]), x]
    if (positions && layer === count - 1) {
      merged = gatherRows(merged, positions)
      stream = gatherRows(stream, positions)
    }
    stream = add(stream, linear(merged, layers, `${at}.self_attn.o_proj`))

    const norm2 = rmsNorm(stream, weight(`${at}.post_attention_layernorm.weight`), config.rmsNormEpsilon)
    const widen = (name: string) => linear(norm2, layers, `${at}.mlp.${name}`)
    return add(stream, linear(swiglu(widen('gate_proj'), widen('up_proj')), layers, `${at}.mlp.down_proj`))
  }
  let x = gatherRows(table, reshape(tokens, ['batch*length']))
  for (let layer = 0; layer < count; layer++) x = block(layerAt(layer), x)
  const hidden = rmsNorm(x, weight('model.norm.weight'), config.rmsNormEpsilon)
  return { parameters, tokens, hidden, output: config.tiedEmbeddings ? table : weight('lm_head.weight') }
}

/** Key or value heads repeated for the query heads that share them: [batch, kv, length, d] → [batch, heads, length, d]. */
function shareHeads(x: Tensor, { heads, keyValueHeads }: LlamaConfig): Tensor {
  if (heads === keyValueHeads) return x
  const [batch, , length, size] = x.shape
  const group = heads / keyValueHeads
  const repeated = broadcastTo(reshape(x, [batch, keyValueHeads, 1, length, size]), [
    batch,
    keyValueHeads,
    group,
    length,
    size,
  ])
  return reshape(repeated, [batch, heads, length, size])
}

/** config.json as transformers reads it. */
function toHuggingFace(config: LlamaConfig): Record<string, unknown> {
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
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    torch_dtype: 'float32',
  }
}
