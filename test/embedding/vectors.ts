/** Comparisons of embeddings, row-major [n, d]. */

export const row = (vectors: Float32Array, i: number, d: number): number[] => [...vectors.subarray(i * d, (i + 1) * d)]

/** Largest absolute difference of two vectors of the same length; NaN where either has one. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i])
    if (Number.isNaN(difference)) return Number.NaN
    if (difference > largest) largest = difference
  }
  return largest
}

export function normalised(vector: readonly number[]): number[] {
  const norm = Math.hypot(...vector)
  return vector.map((value) => value / norm)
}
