/** Spearman's correlation of two rankings. */

/** Rank of every value, 0-based; equal values share their mean rank. O(n log n). */
export function ranksOf(values: Float64Array): Float64Array {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b])
  const ranks = new Float64Array(values.length)
  for (let first = 0; first < order.length; ) {
    let end = first + 1
    while (end < order.length && values[order[end]] === values[order[first]]) end++
    for (let at = first; at < end; at++) ranks[order[at]] = (first + end - 1) / 2
    first = end
  }
  return ranks
}

/**
 * Spearman's rank correlation, with mean ranks for ties: the correlation of the ranks. 1 where a ranking is constant and so is the
 * other, 0 where only one is.
 */
export function spearman(a: Float64Array, b: Float64Array): number {
  const [x, y] = [ranksOf(a), ranksOf(b)]
  const mean = (a.length - 1) / 2
  let [xx, xy, yy] = [0, 0, 0]
  for (let i = 0; i < x.length; i++) {
    xx += (x[i] - mean) ** 2
    xy += (x[i] - mean) * (y[i] - mean)
    yy += (y[i] - mean) ** 2
  }
  if (xx === 0 || yy === 0) return xx === yy ? 1 : 0
  return xy / Math.sqrt(xx * yy)
}
