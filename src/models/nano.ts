/**
 * The `nano` proxy: a Llama-form transformer trained from scratch on the pool, sized from the pool's tokens. The numbers were measured
 * with bench/nano.ts on pools of 0.2 to 2 million tokens (docs/decisions/0007-nano-recipe.md); beyond that they are extrapolated.
 */

import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { AdamWOptions } from '../training/adamw.ts'
import type { Recipe } from '../training/loop.ts'
import { type LlamaConfig, llama } from './llama.ts'
import { initialParameters, type Parameter } from './parameters.ts'

export interface NanoPool {
  /** Tokens of all rows, untruncated. */
  tokens: number
  /** Those of them that carry loss. */
  labels: number
  /** N. */
  rows: number
  vocabularySize: number
  /** Rows are cut to this many tokens. Default 512. */
  maxLength?: number
  /** In place of the size that follows from the pool. */
  size?: NanoSize
}

/** Width (a multiple of 64) and depth. */
export interface NanoSize {
  hiddenSize: number
  layers: number
}

export interface NanoRecipe {
  config: LlamaConfig
  recipe: Recipe
  optimiser: AdamWOptions
}

const clamp = (value: number, least: number, most: number) => Math.min(most, Math.max(least, value))

/**
 * Ids that the pool's tokenizer should have: the power of two nearest to the square root of its bytes, in [512, 8192]. One pass over 3,000
 * short texts ended at 1.744 nats a byte with 1024 ids and at 1.740 with 2048: the choice is of cost, and a small table learns from each
 * id twice as often.
 */
export function nanoVocabulary(textBytes: number): number {
  return clamp(2 ** Math.round(Math.log2(Math.max(1, textBytes)) / 2), 512, 8192)
}

/** Whether a model's name is nano's: `nano`, or `nano:WIDTHxLAYERS`. */
export const isNano = (name: string): boolean => /^nano(:|$)/.test(name)

/**
 * The size that a name such as `nano:192x3` asks for; none for `nano` alone.
 *
 * @throws {WinnowError} `bad-option`.
 */
export function namedSize(name: string, path: string): NanoSize | undefined {
  if (name === 'nano') return undefined
  const [, width, layers] = /^nano:(\d+)x(\d+)$/.exec(name) ?? []
  const size = { hiddenSize: Number(width), layers: Number(layers) }
  if (size.hiddenSize >= 64 && size.hiddenSize % 64 === 0 && size.layers >= 1) return size
  throw new WinnowError('usage', {
    code: 'bad-option',
    message: 'the size is not understood',
    path,
    found: name,
    expected: 'nano:WIDTHxLAYERS, the width a multiple of 64, such as nano:192x3',
  })
}

/** At the same seconds, 128 x 2 beat 96 x 3 by 0.07 nats a token. Above 4 million tokens this is extrapolated. */
export function nanoSize(tokens: number): NanoSize {
  const [hiddenSize, layers] = tokens < 4e6 ? [128, 2] : tokens < 2e7 ? [192, 3] : [256, 4]
  return { hiddenSize, layers }
}

/**
 * Size and training of the proxy for a pool. Pure; O(1). 12 scoring passes cost as much as 4 epochs, so the model's FLOPs a token, not its
 * parameters, are what a run pays for: few wide layers, few heads.
 */
export function nanoRecipe(pool: NanoPool): NanoRecipe {
  const { tokens, vocabularySize, maxLength = 512 } = pool
  const { hiddenSize, layers } = pool.size ?? nanoSize(tokens)
  // Attention scores are written once a head: two heads of 64 cost a tenth less a step than four of 32, at the same loss (4.426, 4.423).
  const heads = hiddenSize / 64
  return {
    config: {
      vocabularySize,
      hiddenSize,
      intermediateSize: 3 * hiddenSize,
      layers,
      heads,
      keyValueHeads: heads,
      maxLength,
      ropeTheta: 10_000,
      rmsNormEpsilon: 1e-5,
      // Input and output want different scales (see nanoInitialParameters); a second table costs no FLOPs.
      tiedEmbeddings: false,
    },
    recipe: {
      // Passes for 1.1 million tokens of training, which a pool of 1,500 chats has time for, and at least three: one pass gets near the
      // bigram, the later ones leave it behind.
      epochs: clamp(Math.round(1.1e6 / Math.max(1, tokens)), tokens < 4e6 ? 3 : 2, 12),
      // Small batches, because a small pool needs steps: on one thread a step of 512 costs half of one of 1024.
      tokensPerBatch: tokens < 1e5 ? 512 : tokens < 4e6 ? 1024 : tokens < 2e7 ? 2048 : 4096,
      maxLength,
      // 5e-3 at width 128; the best rate of Adam falls as 1 / width (Yang et al. 2022, arXiv 2203.03466).
      rate: (128 / hiddenSize) * 5e-3,
      warmupShare: 0.05,
      floorShare: 0.05,
    },
    optimiser: { beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxNorm: 1 },
  }
}

/** Deviation of the input embedding. Unlike the other matrices its rows are added to the stream as they are. */
const EMBEDDING_DEVIATION = 0.5

/**
 * Starting parameters: input embedding N(0, 0.5^2), every other matrix N(0, 1 / fan-in), those that write into the residual stream
 * divided by sqrt(2 layers). The usual 0.02 is that of models some thousand wide. At width 96 it holds training on a plateau: after 300
 * steps of 1,024 tokens the loss was 5.39 nats with it, 4.50 with four times as much.
 * A pure function of the configuration and the seed.
 */
export function nanoInitialParameters(config: LlamaConfig, seed: number): TensorMap {
  const initial = (parameter: Parameter): Parameter['initial'] => {
    if (parameter.initial.kind !== 'normal') return parameter.initial
    if (parameter.name === 'model.embed_tokens.weight') return { kind: 'normal', deviation: EMBEDDING_DEVIATION }
    const writes = /(o_proj|down_proj)\.weight$/.test(parameter.name)
    return { kind: 'normal', deviation: 1 / Math.sqrt(parameter.shape[1] * (writes ? 2 * config.layers : 1)) }
  }
  return initialParameters(
    llama(config).parameters.map((parameter) => ({ ...parameter, initial: initial(parameter) })),
    seed,
  )
}
