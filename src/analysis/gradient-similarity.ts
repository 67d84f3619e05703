/** Whether examples of one group (a cluster of loss trajectories) have more similar gradients than examples of different ones. */

import { randomStream, sample, shuffle } from '../random/philox.ts'
import { besideChance, quantile } from './topics.ts'

export interface GroupedSample {
  /** Row numbers, grouped: those of one group lie together. */
  rows: Uint32Array
  /** Group of each. */
  groups: Uint32Array
}

/**
 * Rows to compare: as many from each group as `size` allows, at least two (a group's pairs are what is measured), drawn uniformly without
 * replacement. Groups of fewer than two rows are left out; where two of each are more than `size`, as many groups are drawn as fit.
 * Draws are philox streams: `gradient sample` of the group, `gradient groups`.
 *
 * Fewer than `size` rows come back where groups are small: what one lacks is not made up by another, since groups count alike.
 * Deterministic in input and seed. O(N).
 *
 * @param groups Group of each row, [N].
 * @param eligible Rows that may be drawn, ascending.
 */
export function sampleGroups({
  groups,
  eligible,
  size,
  seed,
}: {
  groups: ArrayLike<number>
  eligible: Uint32Array
  size: number
  seed: number
}): GroupedSample {
  const members = new Map<number, number[]>()
  for (const row of eligible) {
    const list = members.get(groups[row])
    if (list === undefined) members.set(groups[row], [row])
    else list.push(row)
  }
  const usable = Uint32Array.from([...members].filter(([, list]) => list.length >= 2).map(([id]) => id)).sort()
  const fitting = Math.min(usable.length, Math.floor(size / 2))
  const drawn =
    fitting < usable.length ? sample(usable, fitting, randomStream(seed, 'gradient groups')).slice().sort() : usable
  const each = Math.max(2, Math.floor(size / Math.max(1, drawn.length)))
  const rows: number[] = []
  const of: number[] = []
  for (const id of drawn) {
    const list = Uint32Array.from(members.get(id) as number[])
    const taken = sample(list, Math.min(each, list.length), randomStream(seed, 'gradient sample', id))
      .slice()
      .sort()
    for (const row of taken) {
      rows.push(row)
      of.push(id)
    }
  }
  return { rows: Uint32Array.from(rows), groups: Uint32Array.from(of) }
}

export interface SimilarityTest {
  /** Mean cosine of pairs of one group. */
  within: number
  /** Of pairs of different groups. */
  across: number
  /** Medians of the same cosines: a few groups of nearly equal rows can carry a mean. */
  median: { within: number; across: number }
  /** within - across. */
  difference: number
  /** 95 % interval of the difference: percentiles over resampled examples. */
  interval: [low: number, high: number]
  /** Share of permutations of the labels with a difference at least as large, itself counted. */
  p: number
  pairs: { within: number; across: number }
  groups: number
}

export interface SimilarityOptions {
  /** [n, n] row-major: inner products of the examples' gradients; symmetric. */
  gram: Float64Array
  /** Group of each example, [n]. */
  groups: ArrayLike<number>
  /**
   * Permute labels only among examples of equal stratum, [n]: then the test asks whether groups say more than the strata (sources) do.
   * Pairs are counted only inside a stratum.
   */
  strata?: ArrayLike<number>
  /** Default 1000. */
  permutations?: number
  /** Default 1000. */
  resamples?: number
  seed: number
}

/**
 * Mean cosine of gradients within and across groups. Pairs of examples are no independent observations, so neither the test nor the interval
 * counts them: labels are permuted over examples (philox streams `gradient permutation`), and examples are drawn with replacement for
 * the interval (`gradient bootstrap`; copies of one are not compared with each other). The groups themselves are taken as given.
 *
 * Examples without a gradient (a zero or a number that is none on the diagonal) are left out. `undefined` where there is no pair of either kind.
 * Deterministic in input and seed. O((permutations + resamples) n^2).
 *
 * Source of the claim: Yang et al., NeurIPS 2024 (S2L); the tests are ours.
 */
export function gradientSimilarity(options: SimilarityOptions): SimilarityTest | undefined {
  const { gram, groups, strata, permutations = 1000, resamples = 1000, seed } = options
  const size = groups.length
  const kept = Array.from({ length: size }, (_, i) => i).filter(
    (i) => gram[i * size + i] > 0 && gram[i * size + i] < Infinity,
  )
  const cosine = cosines(gram, size, kept)
  const n = kept.length
  const stratum = kept.map((i) => strata?.[i] ?? 0)
  const labels = Uint32Array.from(kept, (i) => groups[i])
  const found = means(cosine, labels, stratum)
  if (found.within.count === 0 || found.across.count === 0) return undefined
  const difference = found.within.mean - found.across.mean

  const byStratum = positionsBy(stratum)
  const permuted = new Uint32Array(n)
  const random = Float64Array.from({ length: permutations }, (_, draw) => {
    const stream = randomStream(seed, 'gradient permutation', draw)
    for (const positions of byStratum) {
      const mixed = shuffle(
        Uint32Array.from(positions, (i) => labels[i]),
        stream,
      )
      positions.forEach((i, at) => {
        permuted[i] = mixed[at]
      })
    }
    const { within, across } = means(cosine, permuted, stratum)
    return within.mean - across.mean
  })

  const resampled: number[] = []
  for (let draw = 0; draw < resamples; draw++) {
    const value = resample(cosine, labels, stratum, randomStream(seed, 'gradient bootstrap', draw))
    if (Number.isFinite(value)) resampled.push(value)
  }
  const sorted = Float64Array.from(resampled).sort()
  return {
    within: found.within.mean,
    across: found.across.mean,
    median: medians(cosine, labels, stratum),
    difference,
    interval: sorted.length === 0 ? [Number.NaN, Number.NaN] : [quantile(sorted, 0.025), quantile(sorted, 0.975)],
    p: besideChance(difference, random).p,
    pairs: { within: found.within.count, across: found.across.count },
    groups: new Set(labels).size,
  }
}

/** [n, n] cosines of the kept examples. */
function cosines(gram: Float64Array, size: number, kept: readonly number[]): Float64Array {
  const n = kept.length
  const cosine = new Float64Array(n * n)
  kept.forEach((i, a) => {
    kept.forEach((j, b) => {
      cosine[a * n + b] = gram[i * size + j] / Math.sqrt(gram[i * size + i] * gram[j * size + j])
    })
  })
  return cosine
}

interface Mean {
  mean: number
  count: number
}

/** Means over pairs i < j of one stratum. */
function means(
  cosine: Float64Array,
  labels: ArrayLike<number>,
  stratum: ArrayLike<number>,
): { within: Mean; across: Mean } {
  const n = labels.length
  let [within, across, same, other] = [0, 0, 0, 0]
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      if (stratum[i] !== stratum[j]) continue
      if (labels[i] === labels[j]) {
        within += cosine[i * n + j]
        same++
      } else {
        across += cosine[i * n + j]
        other++
      }
    }
  return { within: { mean: within / same, count: same }, across: { mean: across / other, count: other } }
}

function medians(
  cosine: Float64Array,
  labels: ArrayLike<number>,
  stratum: ArrayLike<number>,
): SimilarityTest['median'] {
  const n = labels.length
  const [within, across]: [number[], number[]] = [[], []]
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++)
      if (stratum[i] === stratum[j]) (labels[i] === labels[j] ? within : across).push(cosine[i * n + j])
  const [low, high] = [within, across].map((values) => quantile(Float64Array.from(values).sort(), 0.5))
  return { within: low, across: high }
}

function positionsBy(codes: readonly number[]): number[][] {
  const positions = new Map<number, number[]>()
  codes.forEach((code, i) => {
    const list = positions.get(code)
    if (list === undefined) positions.set(code, [i])
    else list.push(i)
  })
  return [...positions.values()]
}

/** The difference over examples drawn with replacement; an example is not paired with itself. */
function resample(
  cosine: Float64Array,
  labels: ArrayLike<number>,
  stratum: ArrayLike<number>,
  stream: { below(bound: number): number },
): number {
  const n = labels.length
  const times = new Uint32Array(n)
  for (let i = 0; i < n; i++) times[stream.below(n)]++
  let [within, same, across, other] = [0, 0, 0, 0]
  for (let i = 0; i < n; i++) {
    if (times[i] === 0) continue
    for (let j = i + 1; j < n; j++) {
      if (times[j] === 0 || stratum[i] !== stratum[j]) continue
      const weight = times[i] * times[j]
      if (labels[i] === labels[j]) {
        within += weight * cosine[i * n + j]
        same += weight
      } else {
        across += weight * cosine[i * n + j]
        other += weight
      }
    }
  }
  return within / same - across / other
}
