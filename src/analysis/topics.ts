/** What clusters and picks are made of, where rows name a topic (their source): S2L's claim that clusters of trajectories gather topics. */

import { randomStream, sample, shuffle } from '../random/philox.ts'

/** A number beside what chance gives for it. */
export interface Chance {
  found: number
  /** Mean over the draws. */
  expected: number
  /** 2.5 % and 97.5 % quantiles of the draws. */
  low: number
  high: number
  /** Share of draws at least as far above the mean as what was found, itself counted: (1 + #) / (1 + draws). */
  p: number
}

export interface TopicsOfClusters {
  clusters: ClusterTopic[]
  /** Share of rows that are of the commonest topic of their cluster: sum_k max_t n_kt / sum_k n_k. In the literature: purity. */
  top1: Chance
  /** Share of the commonest topic in all rows that are in a cluster: what one cluster would have. */
  commonest: number
}

export interface ClusterTopic {
  cluster: number
  rows: number
  /** Code of its commonest topic; the lowest code of those that tie. */
  topic: number
  /** Share of it among the cluster's rows. */
  share: number
}

export interface TopicInput {
  /** Cluster of each row, [N]; rows of `none` are in no cluster. */
  assignment: ArrayLike<number>
  none: number
  /** Topic of each row, codes 0 .. topics-1, [N]. */
  topics: ArrayLike<number>
  topicCount: number
  /** Random clusterings that chance is measured with. Default 200. */
  draws?: number
  seed: number
}

/**
 * The commonest topic of each cluster and its share, and their mean weighted by rows, beside what random clusters of the same sizes have: topics are
 * permuted over the clustered rows `draws` times (philox streams `topic permutation`, 0 ...). Small clusters have high shares by
 * chance alone, so the share says nothing without that.
 *
 * Clusters without rows are left out. Deterministic in input and seed. O(draws N).
 *
 * Source of the measure: the top-1 topic of Yang et al., NeurIPS 2024 (S2L); the comparison with chance is ours.
 */
export function topicsOfClusters(input: TopicInput): TopicsOfClusters {
  const { assignment, none, topics, topicCount, draws = 200, seed } = input
  const rows: number[] = []
  for (let row = 0; row < assignment.length; row++) if (assignment[row] !== none) rows.push(row)
  const ids = [...new Set(rows.map((row) => assignment[row]))].sort((a, b) => a - b)
  const slot = new Map(ids.map((id, i) => [id, i]))
  const slots = Uint32Array.from(rows, (row) => slot.get(assignment[row]) as number)
  const codes = Uint32Array.from(rows, (row) => topics[row])
  const counts = new Uint32Array(ids.length * topicCount)
  const tally = (order: Uint32Array) => {
    counts.fill(0)
    for (let i = 0; i < slots.length; i++) counts[slots[i] * topicCount + order[i]]++
  }
  const top = (k: number) => {
    let best = 0
    for (let t = 1; t < topicCount; t++) if (counts[k * topicCount + t] > counts[k * topicCount + best]) best = t
    return best
  }
  const purity = () => {
    let most = 0
    for (let k = 0; k < ids.length; k++) most += counts[k * topicCount + top(k)]
    return most / Math.max(1, rows.length)
  }
  tally(codes)
  const found = purity()
  const clusters = ids.map((cluster, k): ClusterTopic => {
    let size = 0
    for (let t = 0; t < topicCount; t++) size += counts[k * topicCount + t]
    const topic = top(k)
    return { cluster, rows: size, topic, share: counts[k * topicCount + topic] / size }
  })
  const random = Float64Array.from({ length: draws }, (_, draw) => {
    tally(shuffle(codes.slice(), randomStream(seed, 'topic permutation', draw)))
    return purity()
  })
  const all = new Uint32Array(topicCount)
  for (const code of codes) all[code]++
  return {
    clusters,
    top1: besideChance(found, random),
    commonest: all.reduce((most, count) => Math.max(most, count), 0) / Math.max(1, rows.length),
  }
}

export interface TopicShift {
  /** Rows of each topic in the pool and in the pick, [topics]. */
  pool: number[]
  picked: number[]
  /** Entropy of the topics of the pool, nats. */
  poolEntropy: number
  /** Of the pick. */
  entropy: Chance
  /** Total variation between pick and pool: half the sum of absolute differences of shares, in [0, 1]. */
  variation: Chance
}

/**
 * Topics before and after a selection, beside what random picks of as many rows have (`draws` of them, philox streams `topic pick`, 0 ...).
 *
 * Deterministic in input and seed. O(draws (N + topics)).
 */
export function topicShift({
  topics,
  topicCount,
  selected,
  draws = 200,
  seed,
}: {
  topics: ArrayLike<number>
  topicCount: number
  /** Pool rows. */
  selected: Uint32Array
  draws?: number
  seed: number
}): TopicShift {
  const every = Uint32Array.from({ length: topics.length }, (_, row) => row)
  const count = (rows: Uint32Array) => {
    const counts = new Array<number>(topicCount).fill(0)
    for (const row of rows) counts[topics[row]]++
    return counts
  }
  const pool = count(every)
  const picked = count(selected)
  const random = Array.from({ length: draws }, (_, draw) =>
    count(sample(every, selected.length, randomStream(seed, 'topic pick', draw))),
  )
  return {
    pool,
    picked,
    poolEntropy: entropy(pool),
    entropy: besideChance(entropy(picked), Float64Array.from(random, entropy)),
    variation: besideChance(
      totalVariation(picked, pool),
      Float64Array.from(random, (counts) => totalVariation(counts, pool)),
    ),
  }
}

/** -sum p log p of counts, nats. */
export function entropy(counts: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  // Not -0 where one topic has everything.
  return counts.reduce((sum, count) => (count === 0 ? sum : sum - (count / total) * Math.log(count / total)), 0) || 0
}

/** Half the sum of |p - q| of two counts, as shares. */
export function totalVariation(a: readonly number[], b: readonly number[]): number {
  const [all, other] = [a, b].map((counts) =>
    Math.max(
      1,
      counts.reduce((sum, count) => sum + count, 0),
    ),
  )
  return a.reduce((sum, count, t) => sum + Math.abs(count / all - b[t] / other), 0) / 2
}

/** What was found beside draws of chance. O(draws log draws). */
export function besideChance(found: number, draws: Float64Array): Chance {
  const sorted = draws.slice().sort()
  // A draw equal to what was found may differ in its last bits, summed in another order.
  const reach = found - 1e-12 * Math.abs(found)
  return {
    found,
    expected: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    low: quantile(sorted, 0.025),
    high: quantile(sorted, 0.975),
    p: (1 + sorted.reduce((count, value) => count + Number(value >= reach), 0)) / (1 + sorted.length),
  }
}

/** Linear between the order statistics (type 7 of Hyndman and Fan 1996); `sorted` ascending, not empty. */
export function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(sorted.length - 1, below + 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}
