/** What training, scoring and saving need to know of a language model, whatever its family. */

import type { Tensor } from '../engine/tensor.ts'
import type { Cache } from './heads.ts'
import type { Adapters, Layout } from './linear.ts'
import type { Parameter } from './parameters.ts'

export interface LanguageModel {
  /** `model_type` of config.json: `llama`, `gpt_neox`, `gpt2`, … */
  readonly family: string
  readonly vocabularySize: number
  /** d */
  readonly hiddenSize: number
  readonly layers: number
  /** Longest sequence that it has positions for. */
  readonly maxLength: number
  /** Columns of its matrix products, embeddings aside; each once, ascending. */
  readonly columns: readonly number[]
  /** In graph order, with the names and layouts that transformers gives them. */
  readonly parameters: readonly Parameter[]
  /** Modules with a linear layer inside the blocks (`model.layers.0.self_attn.q_proj`): where adapters can sit. */
  readonly linears: readonly LinearModule[]
  /** config.json as transformers reads it. */
  readonly config: Readonly<Record<string, unknown>>
  /** The forward graph. */
  graph(options?: GraphOptions): ModelGraph
}

/** What a model keeps of the config.json that it was read from. */
export type Origin = Pick<LanguageModel, 'family' | 'config'>

export interface LinearModule {
  module: string
  inputs: number
  outputs: number
  /** Of its weight. Default [outputs, inputs]. */
  layout?: Layout
}

export interface GraphOptions {
  /** Flat positions in [0, batch*length), int32 [labels], whose hidden states are wanted. Default: all. */
  positions?: Tensor
  /** Longest sequence that will be fed: tables of positions are made no longer. Default: the model's own. */
  maxLength?: number
  /** Low-rank adapters of linear layers, by module name. */
  adapters?: Adapters
  /** Read the tokens behind earlier ones, whose keys and values are graph inputs: see `ModelGraph.cache`. Not differentiable. */
  cached?: boolean
  /** Wraps each block, a function of its input [batch*length, d]; see `recomputed` in engine/recompute.ts. Default: calls it. */
  block?: (build: (x: Tensor) => Tensor, x: Tensor) => Tensor
}

export interface ModelGraph {
  /** Graph inputs by parameter name. */
  parameters: Map<string, Tensor>
  /** Token ids [batch, length], int32. */
  tokens: Tensor
  /** Final hidden states after the last norm, [batch*length, d], or [labels, d] of the asked positions. */
  hidden: Tensor
  /** Output embedding, [vocabulary, d]. */
  output: Tensor
  /** Of a cached graph. */
  cache?: Cache
}
