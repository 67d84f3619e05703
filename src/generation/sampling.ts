/** The next token from logits: the likeliest, or drawn by temperature, top-k and nucleus. */

import { WinnowError } from '../errors.ts'
import { randomStream } from '../random/philox.ts'

export interface Sampling {
  /** Logits are divided by it. 0: the likeliest token, as without sampling. */
  temperature: number
  /** p of the nucleus (Holtzman et al. 2020, arXiv 1904.09751): the smallest set of likeliest tokens with a mass of p or more is kept. Default 1: all. */
  topP?: number
  /** Only this many of the likeliest tokens are kept, before the nucleus. Default: all. */
  topK?: number
  /** Integer in [0, 2^53). */
  seed: number
}

/** Which draw of a generation: position 0 is a text's first new token. */
export interface Draw {
  prompt: number
  sample: number
  position: number
}

/** Positions of a prompt's draws, as the random stream counts them. */
const POSITIONS = 2 ** 24

/** Throws a WinnowError `bad-option` for what is no sampling. */
export function checkSampling({ temperature, topP = 1, topK, seed }: Sampling): void {
  const refuse = (path: string, found: unknown, expected: string) => {
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: `${path} ${found} does not say how to sample`,
      path,
      found: String(found),
      expected,
    })
  }
  if (!(Number.isFinite(temperature) && temperature >= 0)) refuse('temperature', temperature, 'a number from 0')
  if (!(topP > 0 && topP <= 1)) refuse('topP', topP, 'a number above 0, at most 1')
  if (topK !== undefined && !(Number.isSafeInteger(topK) && topK > 0)) refuse('topK', topK, 'a positive integer')
  if (!(Number.isSafeInteger(seed) && seed >= 0)) refuse('seed', seed, 'an integer from 0, below 2^53')
}

/** The lowest of the ids with the largest logit. */
export function likeliest(logits: Float32Array): number {
  let best = 0
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id
  return best
}

export interface Distribution {
  /** Kept token ids, likeliest first, equal ones by id; where all are kept, by id. */
  ids: Uint32Array
  /** Their probabilities, not yet divided by `total`. */
  weights: Float64Array
  total: number
}

/**
 * What is sampled from: softmax(logits / temperature) in float64, cut to the `topK` likeliest tokens and then to the nucleus, which takes its
 * mass from what top-k left, as transformers does it. O(V + n log n) for the n tokens that could be in it.
 */
export function distribution(logits: Float32Array, { temperature, topP = 1, topK }: Sampling): Distribution {
  const size = logits.length
  const peak = logits[likeliest(logits)]
  const weights = new Float64Array(size)
  let total = 0
  for (let id = 0; id < size; id++) {
    weights[id] = Math.exp((logits[id] - peak) / temperature)
    total += weights[id]
  }
  const all = topK === undefined || topK >= size
  if (all && topP >= 1) return { ids: Uint32Array.from(weights.keys()), weights, total }
  // Tokens below (1 - p) / V of the mass have less than 1 - p of it together: the nucleus is reached before them.
  const least = all ? (total * (1 - topP)) / size : 0
  let ids = Uint32Array.from(weights.keys()).filter((id) => weights[id] >= least)
  ids.sort((a, b) => weights[b] - weights[a] || a - b)
  if (!all) {
    ids = ids.subarray(0, topK)
    total = ids.reduce((sum, id) => sum + weights[id], 0)
  }
  let [count, mass] = [0, 0]
  while (count < ids.length && (count === 0 || topP >= 1 || mass < topP * total)) mass += weights[ids[count++]]
  const kept = ids.subarray(0, count)
  return { ids: kept, weights: Float64Array.from(kept, (id) => weights[id]), total: mass }
}

/**
 * The token of a draw: the first whose cumulative weight exceeds u * total, with u a pure function of the seed and the draw. So a text does not depend
 * on what is decoded beside it.
 */
export function sampleToken(logits: Float32Array, sampling: Sampling, { prompt, sample, position }: Draw): number {
  if (sampling.temperature === 0) return likeliest(logits)
  const { ids, weights, total } = distribution(logits, sampling)
  const stream = randomStream(sampling.seed, `generation/${sample}`, prompt * POSITIONS + position)
  const target = stream.uniform() * total
  let mass = 0
  for (let i = 0; i < ids.length; i++) {
    mass += weights[i]
    if (mass > target) return ids[i]
  }
  // Rounding alone leads here: the last token that has any weight.
  return ids[weights.findLastIndex((weight) => weight > 0)]
}
