/** How much of a number's variance over examples lies between groups. */

import { randomStream, shuffle } from '../random/philox.ts'
import { besideChance, type Chance } from './topics.ts'

/**
 * eta^2 = sum_k n_k (m_k - m)^2 / sum_i (x_i - m)^2: the share of the variance of `values` that lies between groups, in [0, 1]; 1 where each group has one value.
 * Many small groups have a large share by chance, so it stands beside that of permuted groups (philox streams `variance permutation`).
 * Values that are not finite are left out; `undefined` where all are equal, or fewer than three are left.
 *
 * Deterministic in input and seed. O(permutations n).
 */
export function varianceBetween({
  values,
  groups,
  permutations = 1000,
  seed,
}: {
  values: ArrayLike<number>
  groups: ArrayLike<number>
  permutations?: number
  seed: number
}): Chance | undefined {
  const kept = Array.from({ length: values.length }, (_, i) => i).filter((i) => Number.isFinite(values[i]))
  const n = kept.length
  const mean = kept.reduce((sum, i) => sum + values[i], 0) / n
  const x = Float64Array.from(kept, (i) => values[i] - mean)
  const all = x.reduce((sum, value) => sum + value * value, 0)
  if (n < 3 || !(all > 0)) return undefined
  const slot = new Map([...new Set(kept.map((i) => groups[i]))].map((id, at) => [id, at]))
  const of = Uint32Array.from(kept, (i) => slot.get(groups[i]) as number)
  const [sums, counts] = [new Float64Array(slot.size), new Float64Array(slot.size)]
  for (const group of of) counts[group]++
  const share = (labels: Uint32Array) => {
    sums.fill(0)
    for (let i = 0; i < n; i++) sums[labels[i]] += x[i]
    return sums.reduce((total, sum, group) => total + (sum * sum) / counts[group], 0) / all
  }
  const random = Float64Array.from({ length: permutations }, (_, draw) =>
    share(shuffle(of.slice(), randomStream(seed, 'variance permutation', draw))),
  )
  return besideChance(share(of), random)
}
