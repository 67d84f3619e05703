/** How much picks have in common, and what random picks of their sizes would. */

/**
 * Rows that two picks share. Both ascending, without repeats.
 *
 * O(a + b).
 */
export function sharedRows(a: Uint32Array, b: Uint32Array): number {
  let shared = 0
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      shared++
      i++
      j++
    } else if (a[i] < b[j]) i++
    else j++
  }
  return shared
}

/**
 * Jaccard's index of two picks: |A and B| / |A or B|, in [0, 1]; 1 of two empty ones. Both ascending, without repeats.
 *
 * O(a + b). Source: Jaccard 1912.
 */
export function jaccard(a: Uint32Array, b: Uint32Array): number {
  const shared = sharedRows(a, b)
  const union = a.length + b.length - shared
  return union === 0 ? 1 : shared / union
}

export interface ExpectedOverlap {
  /** Mean of |A and B|: a b / N. */
  shared: number
  /** Mean of Jaccard's index. */
  jaccard: number
  /** Its standard deviation. */
  deviation: number
}

/**
 * What two picks of `a` and `b` rows share that are drawn from `rows` independently and uniformly, without replacement. The number of shared rows is
 * hypergeometric, P(s) = C(a, s) C(N - a, b - s) / C(N, b), and Jaccard's index s / (a + b - s) is averaged over it exactly (its
 * mean is above the index of the mean, a little).
 *
 * Float64; deterministic. O(min(a, b)).
 *
 * @throws {RangeError} where a pick is larger than the pool.
 */
export function expectedOverlap(rows: number, a: number, b: number): ExpectedOverlap {
  if (!(a >= 0 && b >= 0 && a <= rows && b <= rows))
    throw new RangeError(`picks of ${a} and ${b} rows do not fit ${rows}`)
  const least = Math.max(0, a + b - rows)
  const most = Math.min(a, b)
  if (most === 0) return { shared: 0, jaccard: a === b ? 1 : 0, deviation: 0 }
  // Weights relative to the mode, from which they only fall: sums then lose nothing to what underflows.
  const mode = Math.min(most, Math.max(least, Math.floor(((a + 1) * (b + 1)) / (rows + 2))))
  const ratio = (s: number) => ((a - s) * (b - s)) / ((s + 1) * (rows - a - b + s + 1))
  let [weight, first, second] = [0, 0, 0]
  const add = (s: number, p: number) => {
    const index = s / (a + b - s)
    weight += p
    first += p * index
    second += p * index * index
  }
  add(mode, 1)
  for (let s = mode, p = 1; s < most && p > 0; s++) {
    p *= ratio(s)
    add(s + 1, p)
  }
  for (let s = mode, p = 1; s > least && p > 0; s--) {
    p /= ratio(s - 1)
    add(s - 1, p)
  }
  const mean = first / weight
  return {
    shared: (a * b) / rows,
    jaccard: mean,
    deviation: Math.sqrt(Math.max(0, second / weight - mean * mean)),
  }
}

export interface NamedPick {
  name: string
  /** Pool rows, ascending, without repeats. */
  rows: Uint32Array
}

export interface OverlapTable {
  names: string[]
  /** Rows of each pick. */
  sizes: number[]
  /** [P][P]: Jaccard's index of each two picks; 1 on the diagonal. */
  jaccard: number[][]
  /** [P][P]: rows that each two share. */
  shared: number[][]
  /** [P][P]: mean of Jaccard's index of two random picks of these sizes; 1 on the diagonal. */
  expected: number[][]
  /** [P][P]: its standard deviation; 0 on the diagonal. */
  deviation: number[][]
}

/**
 * Jaccard's index of every two of some picks from a pool of `rows` rows, beside what random picks of their sizes would have. Symmetric.
 *
 * O(P^2 B) for P picks of B rows.
 */
export function overlapTable(rows: number, picks: readonly NamedPick[]): OverlapTable {
  const each = <T>(of: (a: NamedPick, b: NamedPick, same: boolean) => T) =>
    picks.map((a, i) => picks.map((b, j) => of(a, b, i === j)))
  const random = each((a, b) => expectedOverlap(rows, a.rows.length, b.rows.length))
  return {
    names: picks.map(({ name }) => name),
    sizes: picks.map((pick) => pick.rows.length),
    jaccard: each((a, b) => jaccard(a.rows, b.rows)),
    shared: each((a, b) => sharedRows(a.rows, b.rows)),
    expected: random.map((line, i) => line.map((one, j) => (i === j ? 1 : one.jaccard))),
    deviation: random.map((line, i) => line.map((one, j) => (i === j ? 0 : one.deviation))),
  }
}
