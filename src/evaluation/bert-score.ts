/**
 * BERTScore (Zhang et al. 2020, "BERTScore: Evaluating text generation with BERT"): how much of each text's meaning the other has, by the nearest vector
 * of each token. As the Python package bert-score 0.3 computes it, without rescaling. It can be compared only with scores of the same encoder and layer.
 */

import { WinnowError } from '../errors.ts'

/** A text as an encoder sees it. */
export interface TokenVectors {
  /** Special tokens included. */
  ids: ArrayLike<number>
  /** Row-major [tokens, d]. */
  vectors: Float32Array
}

export interface BertScore {
  precision: number
  recall: number
  f1: number
}

/** How much a token counts, by its id. */
export type TokenWeight = (id: number) => number

/**
 * With x the tokens of the hypothesis, y those of the reference, w their weights scaled to sum 1,
 *
 *     P = sum_i w(x_i) max_j cos(x_i, y_j),  R = sum_j w(y_j) max_i cos(x_i, y_j),  F1 = 2 P R / (P + R)
 *
 * Special tokens can be a match, but count nothing: `weight` gives them 0 (`plainWeights`, `idfWeights`). A text without any token that counts has
 * score 0. Like bert-score for one pair at a time: in a padded batch it lets padding match with cosine 0, which matters where all cosines of a token are
 * negative.
 *
 * Pure; O(|x| |y| d).
 *
 * @throws {WinnowError} `bad-token-vectors` where vectors and ids do not fit.
 */
export function bertScore(hypothesis: TokenVectors, reference: TokenVectors, weight: TokenWeight): BertScore {
  const d = dimensionsOf(hypothesis, reference)
  const [m, n] = [hypothesis.ids.length, reference.ids.length]
  const [own, right] = [weightsOf(hypothesis.ids, weight), weightsOf(reference.ids, weight)]
  if (own === undefined || right === undefined) return { precision: 0, recall: 0, f1: 0 }
  const [x, y] = [unit(hypothesis.vectors, d), unit(reference.vectors, d)]
  const nearest = new Float64Array(n).fill(Number.NEGATIVE_INFINITY)
  let precision = 0
  for (let i = 0; i < m; i++) {
    let best = Number.NEGATIVE_INFINITY
    for (let j = 0; j < n; j++) {
      let cosine = 0
      for (let k = 0; k < d; k++) cosine += x[i * d + k] * y[j * d + k]
      if (cosine > best) best = cosine
      if (cosine > nearest[j]) nearest[j] = cosine
    }
    precision += own[i] * best
  }
  let recall = 0
  for (let j = 0; j < n; j++) recall += right[j] * nearest[j]
  const sum = precision + recall
  return { precision, recall, f1: sum === 0 ? 0 : (2 * precision * recall) / sum }
}

/** Every token counts as much, but the special ones (first and last of a BERT's text), which count nothing. */
export function plainWeights(special: readonly number[]): TokenWeight {
  const none = new Set(special)
  return (id) => (none.has(id) ? 0 : 1)
}

/**
 * Inverse document frequency over the references: log((N + 1) / (c + 1)), c of the N texts having the token. A token of all texts, as the special
 * ones are, has 0.
 */
export function idfWeights(references: readonly ArrayLike<number>[]): TokenWeight {
  const counts = new Map<number, number>()
  for (const ids of references) for (const id of new Set(Array.from(ids))) counts.set(id, (counts.get(id) ?? 0) + 1)
  return (id) => Math.log((references.length + 1) / ((counts.get(id) ?? 0) + 1))
}

function dimensionsOf(...texts: TokenVectors[]): number {
  const [first] = texts
  const d = first.vectors.length / first.ids.length
  for (const { ids, vectors } of texts)
    if (ids.length === 0 || !Number.isSafeInteger(d) || vectors.length !== ids.length * d)
      throw new WinnowError('usage', {
        code: 'bad-token-vectors',
        message: 'a text has not one vector for each token',
        found: `${vectors.length} numbers for ${ids.length} tokens`,
        expected: 'at least one token, and as many numbers for each of both texts',
      })
  return d
}

/** Scaled to sum 1; undefined where nothing counts. */
function weightsOf(ids: ArrayLike<number>, weight: TokenWeight): Float64Array | undefined {
  const weights = Float64Array.from(ids, weight)
  const sum = weights.reduce((a, b) => a + b, 0)
  return sum > 0 ? weights.map((value) => value / sum) : undefined
}

function unit(vectors: Float32Array, d: number): Float64Array {
  const scaled = Float64Array.from(vectors)
  for (let at = 0; at < scaled.length; at += d) {
    let squares = 0
    for (let k = at; k < at + d; k++) squares += scaled[k] ** 2
    const norm = Math.sqrt(squares) || 1
    for (let k = at; k < at + d; k++) scaled[k] /= norm
  }
  return scaled
}
