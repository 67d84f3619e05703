/**
 * The balanced scheme of S2L (METHODS 1, steps 4-5): clusters in ascending order of size, each offered an equal share
 * of what is left; what a small cluster cannot use goes to the larger ones.
 */

/** Indices of `sizes` in ascending order of size, ties by index. */
export function ascendingBySize(sizes: ArrayLike<number>): number[] {
  return Array.from({ length: sizes.length }, (_, index) => index).sort((a, b) => sizes[a] - sizes[b] || a - b)
}

/**
 * How many rows to take of each cluster: for k = 1..K in ascending order of size,
 *
 *     taken_k = min(|C_k|, floor((B - |S|) / (K - k + 1)))
 *
 * Returns [K] counts in the order of `sizes`. Their sum is min(B, N), and no count shrinks when B grows. O(K log K).
 */
export function allocate(sizes: ArrayLike<number>, budget: number): Uint32Array {
  const taken = new Uint32Array(sizes.length)
  const order = ascendingBySize(sizes)
  let left = budget
  for (let k = 0; k < order.length; k++) {
    const quota = Math.floor(left / (order.length - k))
    taken[order[k]] = Math.min(sizes[order[k]], quota)
    left -= taken[order[k]]
  }
  return taken
}

/** A cluster (rows in the order they are drawn) or clusters of one stratum. */
export type DrawGroup = Uint32Array | readonly Uint32Array[]

const isCluster = (group: DrawGroup): group is Uint32Array => group instanceof Uint32Array

/**
 * The same scheme for a budget in tokens (ours). Size means tokens. In ascending order each cluster is offered
 * floor(tokens left / clusters left); it takes its rows in drawn order, passing over rows longer than the whole offer,
 * until the next row would exceed it. Strata are offered and take their shares in the same way, their clusters inside
 * them. What is then left is offered whole to the clusters in turn, one row each time, the first in drawn order that
 * fits, until no row fits.
 *
 * So the budget is never exceeded, and no row that was left out would still fit. Stopping at the first row that does
 * not fit, rather than looking for shorter ones, keeps the draw nearly free of a bias to short rows.
 *
 * @returns rows, in no particular order. O(N + K log K), and a scan a row for the few rows of the last step.
 */
export function drawTokens(groups: readonly DrawGroup[], tokens: ArrayLike<number>, budget: number): Uint32Array {
  const selected: number[] = []
  const isTaken = new Set<number>()
  const take = (row: number) => {
    selected.push(row)
    isTaken.add(row)
    return tokens[row]
  }
  const spend = (group: DrawGroup, offer: number): number => {
    let spent = 0
    if (!isCluster(group)) {
      const order = ascendingBySize(group.map((cluster) => tokensOf(cluster, tokens)))
      order.forEach((index, k) => {
        spent += spend(group[index], Math.floor((offer - spent) / (order.length - k)))
      })
      return spent
    }
    for (const row of group) {
      if (tokens[row] > offer) continue
      if (spent + tokens[row] > offer) break
      spent += take(row)
    }
    return spent
  }

  const sizes = groups.map((group) =>
    isCluster(group) ? tokensOf(group, tokens) : group.reduce((total, cluster) => total + tokensOf(cluster, tokens), 0),
  )
  let left = budget
  const order = ascendingBySize(sizes)
  order.forEach((index, k) => {
    left -= spend(groups[index], Math.floor(left / (order.length - k)))
  })

  // Positions only move on: a row that does not fit now fits never.
  const clusters = order.flatMap((index) => {
    const group = groups[index]
    return isCluster(group) ? [group] : [...group]
  })
  const next = clusters.map(() => 0)
  for (let progressed = true; progressed; ) {
    progressed = false
    clusters.forEach((cluster, index) => {
      while (next[index] < cluster.length) {
        const row = cluster[next[index]++]
        if (isTaken.has(row) || tokens[row] > left) continue
        left -= take(row)
        progressed = true
        return
      }
    })
  }
  return Uint32Array.from(selected)
}

function tokensOf(rows: Uint32Array, tokens: ArrayLike<number>): number {
  let total = 0
  for (const row of rows) total += tokens[row]
  return total
}
