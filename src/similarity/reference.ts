/** What similarity/ computes, slowly and plainly in float64: the oracle of its tests. */

import { FIXED_ONE } from './fixed-point.ts'
import { type Neighbours, NO_ROW } from './neighbours.ts'
import type { Vectors } from './vectors.ts'

/** x_i . y_j */
export function dot(x: Vectors, i: number, y: Vectors, j: number): number {
  let sum = 0
  for (let c = 0; c < x.d; c++) sum += x.data[i * x.d + c] * y.data[j * y.d + c]
  return sum
}

/** The k nearest of each query by dot product, best first, ties by row id. O(m n (d + log n)). */
export function referenceNeighbours(queries: Vectors, candidates: Vectors, k: number, keep?: Uint8Array): Neighbours {
  const rows = new Uint32Array(queries.n * k).fill(NO_ROW)
  const similarity = new Float32Array(queries.n * k).fill(-Infinity)
  for (let i = 0; i < queries.n; i++) {
    const products = Float64Array.from({ length: candidates.n }, (_, j) => dot(queries, i, candidates, j))
    const order = [...products.keys()].filter((j) => keep === undefined || keep[j] !== 0)
    order.sort((a, b) => products[b] - products[a] || a - b)
    for (let r = 0; r < Math.min(k, order.length); r++) {
      rows[i * k + r] = order[r]
      similarity[i * k + r] = products[order[r]]
    }
  }
  return { rows, similarity }
}

/** Keeps each row whose dot product with every kept earlier row is below the threshold. O(n kept d). */
export function referenceDistinct(rows: Vectors, threshold: number, limit = Infinity) {
  const kept: number[] = []
  const absorbed = new Uint32Array(rows.n).fill(NO_ROW)
  for (let i = 0; i < rows.n && kept.length < limit; i++) {
    const near = kept.find((j) => dot(rows, i, rows, j) >= threshold)
    absorbed[i] = near ?? i
    if (near === undefined) kept.push(i)
  }
  return { kept: Uint32Array.from(kept), absorbed }
}

/** Components [n, d] at unit length, rounded to multiples of 2^-14, as those multiples; 0 of a zero vector. */
const roundedComponents = ({ data, n, d }: Vectors): Float64Array =>
  Float64Array.from({ length: n * d }, (_, at) => {
    const row = data.subarray(at - (at % d), at - (at % d) + d)
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0))
    return length === 0 ? 0 : Math.round((2 ** 14 / length) * data[at])
  })

/** Cosines [n, n] of vectors whose components were rounded to multiples of 2^-14 at unit length; 0 with a zero vector. O(n^2 d). */
export function referenceCosines(vectors: Vectors): Float64Array {
  const { n, d } = vectors
  const rounded = roundedComponents(vectors)
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n]
    let sum = 0
    for (let c = 0; c < d; c++) sum += rounded[i * d + c] * rounded[j * d + c]
    return sum / FIXED_ONE
  })
}

/** The k nearest others of each row by those cosines, above 0, best first, ties by row. */
export function referenceGraph(vectors: Vectors, k: number): { rows: number[][]; similarity: number[][] } {
  const { n } = vectors
  const cosines = referenceCosines(vectors)
  const lists = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) => j)
      .filter((j) => j !== i && cosines[i * n + j] > 0)
      .sort((a, b) => cosines[i * n + b] - cosines[i * n + a] || a - b)
      .slice(0, k),
  )
  return { rows: lists, similarity: lists.map((list, i) => list.map((j) => cosines[i * n + j])) }
}

/**
 * For each row the first of the earlier rows with the greatest cosine, and that cosine, at most 1: of equal vectors, none of them zero, exactly 1.
 */
export function referenceEarlier(vectors: Vectors): { nearest: number[]; similarity: number[] } {
  const { n, d } = vectors
  const cosines = referenceCosines(vectors)
  const rounded = roundedComponents(vectors)
  const isEqual = (i: number, j: number) =>
    cosines[i * n + i] > 0 &&
    Array.from({ length: d }, (_, c) => c).every((c) => rounded[i * d + c] === rounded[j * d + c])
  const found = Array.from({ length: n }, (_, i) => {
    let [best, cosine] = [NO_ROW, Number.NaN]
    for (let j = 0; j < i; j++) {
      if (isEqual(i, j)) return [j, 1]
      if (best === NO_ROW || cosines[i * n + j] > cosine) [best, cosine] = [j, cosines[i * n + j]]
    }
    return [best, Math.min(1, cosine)]
  })
  return { nearest: found.map(([best]) => best), similarity: found.map(([, cosine]) => cosine) }
}
