/**
 * A decoder-only transformer in the form of Llama: RMSNorm before each block, rotary positions, grouped-query attention, SwiGLU,
 * no biases. Source: Touvron et al. 2023, arXiv 2302.13971; tensor names and layouts as Hugging Face's LlamaForCausalLM has them.
 * It only builds the graph; training/ runs it.
 */

import { causalAttention, rotary } from '../engine/operators/attention.ts'
import { add, swiglu } from '../engine/operators/elementwise.ts'
import { gatherRows } from '../engine/operators/gather.ts'
import { broadcastTo, reshape, transpose } from '../engine/operators/layout.ts'
import { matmul } from '../engine/operators/matmul.ts'
import { rmsNorm } from '../engine/operators/normalise.ts'
import { input, type Tensor } from '../engine/tensor.ts'
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
export function llamaParameters(config: LlamaConfig): Parameter[] {
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

export interface LlamaGraph {
  /** Graph inputs by parameter name. */
  parameters: Map<string, Tensor>
  /** Token ids [batch, length], int32. */
  tokens: Tensor
  /** Final hidden states after the last norm, [batch*length, d], or [labels, d] of the asked positions. */
  hidden: Tensor
  /** Output embedding, [vocabulary, d]. */
  output: Tensor
}

/**
 * The forward graph over inputs `tokens` [batch, length] and one input per parameter. With `positions` (flat, [labels]) hidden states
 * are those of these positions only. The last layer is then computed only there, but for its keys and values: what follows them at
 * another position reaches no label, so losses and gradients are the same, for up to three quarters of a layer less work.
 */
export function llamaGraph(config: LlamaConfig, positions?: Tensor): LlamaGraph {
  const { heads, keyValueHeads, layers, hiddenSize: d } = config
  const size = headSize(config)
  const parameters = new Map(llamaParameters(config).map(({ name, shape }) => [name, input(name, shape)]))
  const weight = (name: string) => parameters.get(name) as Tensor
  const tokens = input('tokens', ['batch', 'length'], 'int32')
  const table = weight('model.embed_tokens.weight')
  let x = gatherRows(table, reshape(tokens, ['batch*length']))

  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`
    const norm = rmsNorm(x, weight(`${at}.input_layernorm.weight`), config.rmsNormEpsilon)
    const project = (name: string, count: number) => {
      const flat = matmul(norm, weight(`${at}.self_attn.${name}.weight`), { transposeB: true })
      return transpose(reshape(flat, ['batch', 'length', count, size]), [0, 2, 1, 3])
    }
    const rotation = { maxLength: config.maxLength, theta: config.ropeTheta }
    const attended = causalAttention(
      rotary(project('q_proj', heads), rotation),
      shareHeads(rotary(project('k_proj', keyValueHeads), rotation), config),
      shareHeads(project('v_proj', keyValueHeads), config),
      1 / Math.sqrt(size),
    )
    let merged = reshape(transpose(attended, [0, 2, 1, 3]), ['batch*length', d])
    if (positions && layer === layers - 1) {
      merged = gatherRows(merged, positions)
      x = gatherRows(x, positions)
    }
    x = add(x, matmul(merged, weight(`${at}.self_attn.o_proj.weight`), { transposeB: true }))

    const norm2 = rmsNorm(x, weight(`${at}.post_attention_layernorm.weight`), config.rmsNormEpsilon)
    const widen = (name: string) => matmul(norm2, weight(`${at}.mlp.${name}.weight`), { transposeB: true })
    const gated = swiglu(widen('gate_proj'), widen('up_proj'))
    x = add(x, matmul(gated, weight(`${at}.mlp.down_proj.weight`), { transposeB: true }))
  }
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
export function toHuggingFace(config: LlamaConfig): Record<string, unknown> {
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
