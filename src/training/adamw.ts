/** AdamW inside the graph: parameters and moments go in, their successors come out. */

import { add, divide, minimum, multiply, scale, sqrt, subtract } from '../engine/operators/elementwise.ts'
import { sumOfSquares } from '../engine/operators/reduce.ts'
import { input, scalar, type Tensor } from '../engine/tensor.ts'

export interface AdamWOptions {
  /** Default 0.9. */
  beta1?: number
  /** Default 0.999. */
  beta2?: number
  /** Default 1e-8. */
  epsilon?: number
  /** Decoupled, on matrices only. Default 0. */
  weightDecay?: number
  /** Largest global gradient norm. Default 1. */
  maxNorm?: number
}

export interface AdamWGraph {
  /** Global norm of the gradients before clipping. */
  norm: Tensor
  parameters: Tensor[]
  first: Tensor[]
  second: Tensor[]
}

/** Scalars that change from step to step, fed as graph inputs; bias corrections are folded into them. */
export function adamwScalars(step: number, rate: number, options: AdamWOptions): Record<string, number> {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options
  const [correction1, correction2] = [1 - beta1 ** step, Math.sqrt(1 - beta2 ** step)]
  // rate (m / c1) / (sqrt(v) / c2 + eps) = (rate c2 / c1) m / (sqrt(v) + eps c2)
  return {
    stepSize: (rate * correction2) / correction1,
    epsilonHat: epsilon * correction2,
    keep: 1 - rate * weightDecay,
  }
}

/**
 * One AdamW step (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) after clipping by global norm:
 * g <- g min(1, maxNorm / (|g| + 1e-6)); m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
 * p <- p (1 - rate decay) - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
 */
export function adamw(
  parameters: readonly { value: Tensor; decay: boolean }[],
  gradients: readonly Tensor[],
  moments: { first: readonly Tensor[]; second: readonly Tensor[] },
  options: AdamWOptions,
): AdamWGraph {
  const { beta1 = 0.9, beta2 = 0.999, maxNorm = 1 } = options
  const [stepSize, epsilonHat, keep] = ['stepSize', 'epsilonHat', 'keep'].map((name) => input(name, []))
  const norm = sqrt(sumOfSquares(gradients))
  const clip = minimum(scalar(1), divide(scalar(maxNorm), add(norm, scalar(1e-6))))
  const [weight1, weight2] = [scale(clip, 1 - beta1), scale(multiply(clip, clip), 1 - beta2)]
  const first = gradients.map((g, i) => add(scale(moments.first[i], beta1), multiply(g, weight1)))
  const second = gradients.map((g, i) => add(scale(moments.second[i], beta2), multiply(multiply(g, g), weight2)))
  const updated = parameters.map(({ value, decay }, i) => {
    const update = multiply(divide(first[i], add(sqrt(second[i]), epsilonHat)), stepSize)
    return subtract(decay ? multiply(value, keep) : value, update)
  })
  return { norm, parameters: updated, first, second }
}
