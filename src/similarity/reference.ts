/** What similarity/ computes, slowly and plainly in float64: the oracle of its tests. */

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
