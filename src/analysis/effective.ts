/**
 * The effective distribution of a model that was trained on a pick: what it was pre-trained on and the pick, mixed; and how far that is from a target. GOT-D
 * picks what brings it nearer the fastest (Kang et al., ICLR 2024, section 3).
 */

import type { Vectors } from '../similarity/vectors.ts'
import { type SinkhornOptions, sinkhorn } from '../transport/sinkhorn.ts'

/**
 * Weights of the pool's rows in lambda * pick + (1 - lambda) * pool, both uniform over their rows, [N]; they sum to 1. `lambda` in [0, 1]: how far training
 * on the pick has gone.
 */
export function effectiveWeights(rows: number, pick: ArrayLike<number>, lambda: number): Float64Array {
  if (!(lambda >= 0 && lambda <= 1)) throw new RangeError(`lambda ${lambda} is not in [0, 1]`)
  const weights = new Float64Array(rows).fill((1 - lambda) / rows)
  for (let i = 0; i < pick.length; i++) weights[pick[i]] += lambda / pick.length
  return weights
}

export interface EffectiveCost {
  lambda: number
  /** <P, C> of the plan between the effective distribution and the target, in units of squared distance. */
  transportCost: number
  /** That and epsilon KL(P | a b^T): what is minimised, and whose slope the gradients are. */
  regularisedCost: number
}

/**
 * Transport cost of the effective distribution to the target at each lambda, by `sinkhorn`: one problem each, of rows whose weight is not 0.
 *
 * Deterministic as `sinkhorn` is. O(lambdas m n (iterations + d)).
 *
 * @throws {WinnowError} as `sinkhorn`.
 */
export async function effectiveCosts({
  pool,
  target,
  pick,
  lambdas,
  options,
}: {
  /** Of N rows: what the model was pre-trained on. */
  pool: Vectors
  target: Vectors
  /** Rows of the pool. */
  pick: ArrayLike<number>
  lambdas: readonly number[]
  options: SinkhornOptions
}): Promise<EffectiveCost[]> {
  const costs: EffectiveCost[] = []
  for (const lambda of lambdas) {
    const weights = effectiveWeights(pool.n, pick, lambda)
    const rows = Uint32Array.from(weights.keys()).filter((row) => weights[row] > 0)
    const data = new Float32Array(rows.length * pool.d)
    rows.forEach((row, i) => {
      data.set(pool.data.subarray(row * pool.d, (row + 1) * pool.d), i * pool.d)
    })
    const solved = await sinkhorn(
      {
        targets: target,
        candidates: { data, n: rows.length, d: pool.d },
        candidateWeights: Float64Array.from(rows, (row) => weights[row]),
      },
      options,
    )
    costs.push({ lambda, transportCost: solved.transportCost, regularisedCost: solved.regularisedCost })
  }
  return costs
}

/**
 * Slope of the regularised cost in lambda at 0: mean potential of the pick less that of the pool, sum_j (pick_j - pool_j) g_j. The smallest it can be for
 * picks of this size is that of the lowest potentials: GOT-D's pick. O(N).
 *
 * @param potential g_j - eps log b_j of the solve between target and pool, uniform b, [N]: `candidatePotential`.
 */
export function effectiveSlope(potential: Float64Array, pick: ArrayLike<number>): number {
  let [all, picked] = [0, 0]
  for (const value of potential) all += value
  for (let i = 0; i < pick.length; i++) picked += potential[pick[i]]
  return picked / pick.length - all / potential.length
}
