/** Rows that may be picked, each text once. */

/**
 * Candidate rows (`candidate` 1), ascending; of those with equal texts (`copies`: the first row of the pool with each row's text) the first
 * candidate alone. So a text that a source which was not kept has too can still be picked. O(N).
 */
export function distinctCandidates(candidate: ArrayLike<number>, copies?: ArrayLike<number>): Uint32Array {
  const rows: number[] = []
  const met = new Uint8Array(candidate.length)
  for (let row = 0; row < candidate.length; row++) {
    const text = copies === undefined ? row : copies[row]
    if (candidate[row] === 0 || met[text] !== 0) continue
    met[text] = 1
    rows.push(row)
  }
  return Uint32Array.from(rows)
}

/** How many candidates have the text of each of these rows, itself counted. O(N). */
export function copiesOf(rows: Uint32Array, candidate: ArrayLike<number>, copies: ArrayLike<number>): Float64Array {
  const counts = new Uint32Array(candidate.length)
  for (let row = 0; row < candidate.length; row++) if (candidate[row] !== 0) counts[copies[row]]++
  return Float64Array.from(rows, (row) => counts[copies[row]])
}
