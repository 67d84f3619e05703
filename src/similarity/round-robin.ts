/** Filling up from lists of neighbours, round by round: the draw of TAPT/c. */

import { type Neighbours, NO_ROW } from './neighbours.ts'

export interface RoundRobin {
  /** Distinct rows in the order in which they are taken. */
  rows: Uint32Array
  /** The query that took each, and its similarity to it. */
  takenBy: Uint32Array
  similarity: Float32Array
}

/**
 * In each round every query, in order, takes its best row that nobody has taken yet. Ends where a query has come to the end of its list of `k`:
 * which row it would take next is not known. So the result is a prefix of what longer lists give. O(m k) for lists [m, k].
 */
export function roundRobin({ rows, similarity }: Neighbours, k: number): RoundRobin {
  const queries = rows.length / k
  const next = new Uint32Array(queries)
  const taken = new Set<number>()
  const order = { rows: [] as number[], takenBy: [] as number[], similarity: [] as number[] }
  const result = () => ({
    rows: Uint32Array.from(order.rows),
    takenBy: Uint32Array.from(order.takenBy),
    similarity: Float32Array.from(order.similarity),
  })
  for (let progressed = true; progressed; ) {
    progressed = false
    for (let query = 0; query < queries; query++) {
      while (next[query] < k && taken.has(rows[query * k + next[query]])) next[query]++
      if (next[query] === k) return result()
      const at = query * k + next[query]
      // Fewer rows than k: this query has had its choice of all.
      if (rows[at] === NO_ROW) continue
      taken.add(rows[at])
      order.rows.push(rows[at])
      order.takenBy.push(query)
      order.similarity.push(similarity[at])
      progressed = true
    }
  }
  return result()
}
