/** The `nano` proxy: a Llama-form transformer trained from scratch on the pool, sized from the pool's tokens. */

import type { AdamWOptions } from '../training/adamw.ts'
import type { Recipe } from '../training/trajectories.ts'
import type { LlamaConfig } from './llama.ts'

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
}

export interface NanoRecipe {
  config: LlamaConfig
  recipe: Recipe
  optimiser: AdamWOptions
}

const clamp = (value: number, least: number, most: number) => Math.min(most, Math.max(least, value))

/** Ids that the pool's tokenizer should have: the power of two nearest to the square root of its bytes, in [512, 8192]. */
export function nanoVocabulary(textBytes: number): number {
  return clamp(2 ** Math.round(Math.log2(Math.max(1, textBytes)) / 2), 512, 8192)
}

/** Size and training of the proxy for a pool. Pure; O(1). */
export function nanoRecipe(pool: NanoPool): NanoRecipe {
  const { tokens, vocabularySize, maxLength = 512 } = pool
  const large = tokens > 800_000
  const hiddenSize = large ? 192 : 128
  return {
    config: {
      vocabularySize,
      hiddenSize,
      intermediateSize: 3 * hiddenSize,
      layers: large ? 4 : 3,
      heads: hiddenSize / 32,
      keyValueHeads: hiddenSize / 32,
      maxLength,
      ropeTheta: 10_000,
      rmsNormEpsilon: 1e-5,
      tiedEmbeddings: true,
    },
    recipe: {
      epochs: Math.round(clamp(2_500_000 / Math.max(1, tokens), 2, 8)),
      tokensPerBatch: large ? 4096 : 2048,
      maxLength,
      rate: 3e-3,
      warmupShare: 0.05,
      floorShare: 0.1,
    },
    optimiser: { beta1: 0.9, beta2: 0.95, weightDecay: 0.1, maxNorm: 1 },
  }
}
