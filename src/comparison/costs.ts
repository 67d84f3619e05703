/** FLOPs of the signals that pass the pool through the proxy. */

import type { SelectionCost } from '../evaluation/comparison.ts'

export interface ProxyCost {
  parameters: number
  /** Tokens that the proxy was trained on, every epoch counted. */
  trainedTokens: number
  /** Times that the pool was scored along the way, T. */
  checkpoints: number
  /** Tokens of the pool, D. */
  poolTokens: number
}

/**
 * Adds FLOPs to what signals cost, by the usual count of 2 P a token forward and 4 P backward:
 * recording trajectories costs 6 P (trained tokens) + 2 T P D (METHODS 5 has 18 P D + 2 T P D for three epochs), a further pass of the pool 2 P D.
 * Everything else (n-grams, neighbours, clustering, transport) is counted in time alone.
 */
export function withFlops(costs: readonly SelectionCost[], proxy: ProxyCost | undefined): SelectionCost[] {
  if (proxy === undefined) return [...costs]
  const { parameters, trainedTokens, checkpoints, poolTokens } = proxy
  const pass = 2 * parameters * poolTokens
  const flopsOf: Record<string, number> = {
    trajectories: 6 * parameters * trainedTokens + checkpoints * pass,
    initial: pass,
    unconditional: pass,
  }
  return costs.map((cost) => {
    const signals = cost.signals.map((one) => ({ ...one, flops: flopsOf[one.name] ?? 0 }))
    return { ...cost, signals, flops: signals.reduce((total, { flops }) => total + flops, 0) }
  })
}
