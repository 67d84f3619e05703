/** How far two groupings of the same rows agree. */

/**
 * The adjusted Rand index of two groupings: 1 where they are the same but for names, 0 in the mean of random groupings with these sizes, below 0 where they
 * agree less than that. Rows of `none` in either are left out. `undefined` where chance alone decides (both are one group, or both all
 * single rows).
 *
 * (sum_ij C(n_ij, 2) - E) / ((A + B) / 2 - E), A = sum_i C(a_i, 2), B = sum_j C(b_j, 2), E = A B / C(n, 2). O(N).
 *
 * Source: Hubert and Arabie, Journal of Classification 1985.
 */
export function adjustedRand(a: ArrayLike<number>, b: ArrayLike<number>, none?: number): number | undefined {
  if (a.length !== b.length) throw new RangeError(`groupings of ${a.length} and ${b.length} rows`)
  const [cells, rows, columns] = [new Map<string, number>(), new Map<number, number>(), new Map<number, number>()]
  const add = <K>(counts: Map<K, number>, key: K) => counts.set(key, (counts.get(key) ?? 0) + 1)
  let n = 0
  for (let i = 0; i < a.length; i++) {
    if (a[i] === none || b[i] === none) continue
    n++
    add(cells, `${a[i]} ${b[i]}`)
    add(rows, a[i])
    add(columns, b[i])
  }
  const pairs = <K>(counts: Map<K, number>) => {
    let total = 0
    for (const count of counts.values()) total += (count * (count - 1)) / 2
    return total
  }
  const [both, first, second] = [pairs(cells), pairs(rows), pairs(columns)]
  const expected = (first * second) / ((n * (n - 1)) / 2)
  const most = (first + second) / 2
  return n < 2 || most === expected ? undefined : (both - expected) / (most - expected)
}
