/** Spearman's correlation of two rankings. */

/** Rank of every value, 0-based; equal values share their mean rank. O(n log n). */
export function ranksOf(values: Float64Array): Float64Array {
  // Numbers sort several times faster than row numbers by them; each then finds its place.
  const sorted = values.slice().sort()
  const ranks = new Float64Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    let [low, high] = [0, values.length - 1]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sorted[middle] < value) low = middle + 1
      else high = middle
    }
    let end = low + 1
    while (end < sorted.length && sorted[end] === value) end++
    ranks[i] = (low + end - 1) / 2
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
