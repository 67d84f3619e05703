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
  /** Methods, by label, whose embedding is the proxy's hidden states. */
  hidden?: ReadonlySet<string>
}

/**
 * Adds FLOPs to what signals cost, by the usual count of 2 P a token forward and 4 P backward:
 * recording trajectories costs 6 P (trained tokens) + 2 T P D (METHODS 5 has 18 P D + 2 T P D for three epochs), a further pass of the pool 2 P D.
 * and so does embedding it by the proxy's hidden states. Everything else (n-grams, encoders, neighbours, clustering, transport) is counted in time
 * alone, which the texts beside the numbers say.
 */
export function withFlops(costs: readonly SelectionCost[], proxy: ProxyCost | undefined): SelectionCost[] {
  if (proxy === undefined) return [...costs]
  const { parameters, trainedTokens, checkpoints, poolTokens, hidden } = proxy
  const pass = 2 * parameters * poolTokens
  const flopsOf: Record<string, number> = {
    trajectories: 6 * parameters * trainedTokens + checkpoints * pass,
    initial: pass,
    unconditional: pass,
  }
  return costs.map((cost) => {
    const own = { ...flopsOf, embeddings: hidden?.has(cost.method) ? pass : 0 }
    const signals = cost.signals.map((one) => ({ ...one, flops: (own as Record<string, number>)[one.name] ?? 0 }))
    return { ...cost, signals, flops: signals.reduce((total, { flops }) => total + flops, 0) }
  })
}
