/** What a move between a target and a candidate costs, on a sample. */

import { WinnowError } from '../errors.ts'
import { randomStream } from '../random/philox.ts'
import { checkFinite } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { checkVectors } from './validation.ts'

/** Squared Euclidean distance of row i of a and row j of b, in float64. */
export function squaredCost(a: Vectors, i: number, b: Vectors, j: number): number {
  let sum = 0
  for (let k = 0, x = i * a.d, y = j * b.d; k < a.d; k++) sum += (a.data[x + k] - b.data[y + k]) ** 2
  return sum
}

/**
 * Mean and (population) standard deviation of C_ij = |t_i - x_j|^2 over pairs drawn uniformly with replacement, or over all pairs
 * where there are no more than `pairs`. The policy for epsilon is 0.05 x the deviation. Float64; O(pairs d).
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite` or `transport-option`.
 */
export function sampleCost(
  targets: Vectors,
  candidates: Vectors,
  { seed, pairs = 2 ** 18 }: { seed: number; pairs?: number },
): { mean: number; deviation: number } {
  checkVectors(targets, candidates)
  if (!(Number.isSafeInteger(pairs) && pairs >= 1))
    throw new WinnowError('input', {
      code: 'transport-option',
      message: 'pairs',
      found: String(pairs),
      expected: 'an integer >= 1',
    })
  const all = targets.n * candidates.n <= pairs
  const count = all ? targets.n * candidates.n : pairs
  const stream = randomStream(seed, 'transport-cost')
  let [mean, squares] = [0, 0]
  for (let p = 0; p < count; p++) {
    const i = all ? Math.floor(p / candidates.n) : stream.below(targets.n)
    const j = all ? p % candidates.n : stream.below(candidates.n)
    const cost = squaredCost(targets, i, candidates, j)
    // Welford's update.
    const difference = cost - mean
    mean += difference / (p + 1)
    squares += difference * (cost - mean)
  }
  if (!Number.isFinite(mean)) {
    checkFinite(targets.data, targets.d, 'targets')
    checkFinite(candidates.data, candidates.d, 'candidates')
  }
  return { mean, deviation: Math.sqrt(squares / count) }
}
