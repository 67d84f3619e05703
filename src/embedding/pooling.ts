/** From the hidden states of a text's tokens to one vector. Sums in float64. */

/**
 * - `mean`: sum_i h_i / n over the n tokens of the text, padding left out
 * - `cls`: h_1
 * - `last`: h_n
 * - `weighted-mean`: sum_i i h_i / sum_i i (Muennighoff 2022, SGPT): in a causal model later tokens have seen more
 */
export type Pooling = 'mean' | 'cls' | 'last' | 'weighted-mean'

export interface PooledBatch {
  /** [rows, length, d], row-major; rows behind `tokens` are padding. */
  states: Float32Array
  length: number
  dimensions: number
  /** Tokens of each row, at least 1, padding on the right. */
  tokens: ArrayLike<number>
}

/** Vector of each row, [tokens.length, d]. O(tokens * d). */
export function pool(pooling: Pooling, { states, length, dimensions: d, tokens }: PooledBatch): Float64Array {
  const vectors = new Float64Array(tokens.length * d)
  for (let row = 0; row < tokens.length; row++) {
    const vector = vectors.subarray(row * d, (row + 1) * d)
    const count = tokens[row]
    const first = pooling === 'last' ? count - 1 : 0
    const end = pooling === 'cls' ? 1 : count
    const weighted = pooling === 'weighted-mean'
    for (let token = first; token < end; token++) {
      const at = (row * length + token) * d
      const weight = weighted ? token + 1 : 1
      for (let k = 0; k < d; k++) vector[k] += weight * states[at + k]
    }
    const total = weighted ? (count * (count + 1)) / 2 : end - first
    for (let k = 0; k < d; k++) vector[k] /= total
  }
  return vectors
}

/** Scales each row of [rows, d] to Euclidean length 1 by sums in float64, in place; a row of zeros stays. */
export function normaliseRows<A extends Float32Array | Float64Array>(vectors: A, d: number): A {
  for (let at = 0; at < vectors.length; at += d) {
    let square = 0
    for (let k = at; k < at + d; k++) square += vectors[k] * vectors[k]
    if (square === 0) continue
    const scale = 1 / Math.sqrt(square)
    for (let k = at; k < at + d; k++) vectors[k] *= scale
  }
  return vectors
}

/** The first row of [rows, d] that holds NaN or an infinity; undefined where all are finite. */
export function maybeBrokenRow(vectors: Float64Array, d: number): number | undefined {
  const place = vectors.findIndex((value) => !Number.isFinite(value))
  return place < 0 ? undefined : Math.floor(place / d)
}
