/** The distance that decides everything: float64, summed over the dimensions in order. */

/** sum_j (a[i + j] - b[l + j])^2 over d dimensions. */
export function squaredDistance(
  a: Float32Array | Float64Array,
  i: number,
  b: Float32Array | Float64Array,
  l: number,
  d: number,
): number {
  let sum = 0
  for (let j = 0; j < d; j++) {
    const difference = a[i + j] - b[l + j]
    sum += difference * difference
  }
  return sum
}
