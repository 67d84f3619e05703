/** What submodular/ computes, slowly and plainly in float64: the oracle of its tests. */

import type { Order } from './lazy-greedy.ts'

/** f(S) = sum_i max(0, max_{j in S} s(i, j)) for similarities [n, n]. O(n |S|). */
export function facilityLocation(similarity: ArrayLike<number>, n: number, chosen: Iterable<number>): number {
  const columns = [...chosen]
  let total = 0
  for (let i = 0; i < n; i++) total += columns.reduce((best, j) => Math.max(best, similarity[i * n + j]), 0)
  return total
}

/** Plain greedy: every gain computed anew for every pick; the lowest row id among equal ones. O(picks^2 n^2). */
export function greedy(similarity: ArrayLike<number>, n: number, picks: number): Order {
  const chosen: number[] = []
  const gains: number[] = []
  let value = 0
  while (chosen.length < picks) {
    let [best, most] = [-1, -1]
    for (let j = 0; j < n; j++) {
      if (chosen.includes(j)) continue
      const gain = facilityLocation(similarity, n, [...chosen, j]) - value
      if (gain > most) [best, most] = [j, gain]
    }
    chosen.push(best)
    gains.push(most)
    value += most
  }
  return { rows: Uint32Array.from(chosen), gains: Float64Array.from(gains) }
}

/** The best value of any set of that size. O(2^n n). */
export function optimum(similarity: ArrayLike<number>, n: number, size: number): number {
  let best = 0
  for (let set = 0; set < 2 ** n; set++) {
    const chosen = Array.from({ length: n }, (_, j) => j).filter((j) => set & (1 << j))
    if (chosen.length === size) best = Math.max(best, facilityLocation(similarity, n, chosen))
  }
  return best
}

/** Farthest-first: from `start`, always the row least similar to the most similar of those before; ties by row. O(picks n). */
export function farthestFirst(similarity: ArrayLike<number>, n: number, start: number, picks: number): number[] {
  const chosen = [start]
  while (chosen.length < picks) {
    let [next, least] = [-1, Number.POSITIVE_INFINITY]
    for (let i = 0; i < n; i++) {
      if (chosen.includes(i)) continue
      const nearest = Math.max(...chosen.map((j) => similarity[i * n + j]))
      if (nearest < least) [next, least] = [i, nearest]
    }
    chosen.push(next)
  }
  return chosen
}
