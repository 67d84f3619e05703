/**
 * The `ngrams` embedding: no download, no model but the pool's own counts.
 *
 * Feature j of text x (see grams.ts) has the weight (1 + ln tf_j(x)) sqrt(ln((2 + N) / (1 + df_j))), tf its count in the text, df_j the
 * texts of the pool that have it, N all of them. The weighted vector is projected to d dimensions by a fixed sparse matrix of signs
 * (each feature adds to or subtracts from four coordinates, one in each quarter; Nelson and Nguyen, FOCS 2013, "OSNAP") and divided by
 * its length: dot products are those of the weighted counts to within about 1 / sqrt(d). What was tried: docs/decisions/0016-ngram-embedding.md.
 */

import { mix } from '../importance/words.ts'
import type { Embedder, EmbedOptions } from './embedder.ts'
import { FEATURES, gramCounts } from './grams.ts'
import type { NgramModel } from './ngram-model.ts'

export { fitNgrams, type NgramModel, type NgramOptions, readNgramModel } from './ngram-model.ts'

/** Coordinates of a feature. */
const SIGNS = 4
/** UTF-16 units embedded between looks at the signal. */
const BATCH = 1 << 20
/** Counts whose logarithms are at hand. */
const LOGARITHMS = 256

/**
 * Embeds texts by a model of the pool. Vectors are float32 of float64 sums in text order: the same text, the same bits, whatever the
 * other texts. L2-normalised; a text without any letter, number or symbol is zero. O(length + 4 features); memory 3.5 MiB.
 */
export function ngramEmbedder(model: NgramModel): Embedder {
  const { dimensions, documents, frequencies } = model
  const weights = Float64Array.from(frequencies, (frequency) => Math.sqrt(Math.log((2 + documents) / (1 + frequency))))
  const coordinates = projection(dimensions)
  const logarithms = Float64Array.from({ length: LOGARITHMS }, (_, count) => 1 + Math.log(count))
  const { counts, features, count, reset } = gramCounts()
  const sums = new Float64Array(dimensions)

  const embedText = (text: string, out: Float32Array, at: number) => {
    const met = count(text)
    if (met === 0) return
    sums.fill(0)
    for (let i = 0; i < met; i++) {
      const feature = features[i]
      const times = counts[feature]
      const value = weights[feature] * (times < LOGARITHMS ? logarithms[times] : 1 + Math.log(times))
      for (let k = SIGNS * feature; k < SIGNS * feature + SIGNS; k++) {
        const signed = coordinates[k]
        if (signed < 0) sums[~signed] -= value
        else sums[signed] += value
      }
    }
    reset(met)
    let squares = 0
    for (let i = 0; i < dimensions; i++) squares += sums[i] * sums[i]
    if (squares === 0) return
    const scale = 1 / Math.sqrt(squares)
    for (let i = 0; i < dimensions; i++) out[at + i] = sums[i] * scale
  }

  return {
    name: 'ngrams',
    dimensions,
    identity: model.identity,
    async embed(texts: readonly string[], { signal, onProgress }: EmbedOptions = {}) {
      signal?.throwIfAborted()
      const out = new Float32Array(texts.length * dimensions)
      let units = 0
      for (let row = 0; row < texts.length; row++) {
        embedText(texts[row], out, row * dimensions)
        units += texts[row].length + 1
        if (units < BATCH && row < texts.length - 1) continue
        units = 0
        onProgress?.(row + 1)
        // A turn for others, the one who would abort among them.
        if (row < texts.length - 1) await new Promise((resolve) => setTimeout(resolve))
        signal?.throwIfAborted()
      }
      return out
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** [FEATURES, 4] coordinates, one in each quarter of [0, d); c stands for +1 there, ~c for -1. */
function projection(dimensions: number): Int16Array {
  const coordinates = new Int16Array(SIGNS * FEATURES)
  for (let i = 0; i < coordinates.length; i++) {
    const hash = mix(i + 1)
    const first = Math.floor(((i % SIGNS) * dimensions) / SIGNS)
    const end = Math.floor(((i % SIGNS) * dimensions + dimensions) / SIGNS)
    const coordinate = first + Math.floor(((hash >>> 1) / 2 ** 31) * (end - first))
    coordinates[i] = hash & 1 ? ~coordinate : coordinate
  }
  return coordinates
}
