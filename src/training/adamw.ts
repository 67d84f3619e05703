/** AdamW: the scalars of a step, and the step as a graph, for devices that keep the state. */

import { add, divide, multiply, sqrt, subtract } from '../engine/operators/elementwise.ts'
import { input, type Tensor } from '../engine/tensor.ts'

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

/** What changes from step to step; clipping and the corrections of bias are folded in. */
export interface AdamWScalars {
  beta1: number
  /** clip (1 - beta1), the weight of a gradient in its first moment. */
  weight1: number
  beta2: number
  /** clip^2 (1 - beta2) */
  weight2: number
  stepSize: number
  epsilonHat: number
  /** 1 - rate * weightDecay */
  keep: number
}

/**
 * Scalars of step t (from 1) for gradients of Euclidean norm |g|, which were computed `lossScale` times too large (so was the norm):
 * g <- g min(1, maxNorm / (|g| + 1e-6)); m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
 * p <- p (1 - rate decay) - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
 * Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, after clipping by global norm.
 */
export function adamwScalars(
  { step, rate, norm, lossScale = 1 }: { step: number; rate: number; norm: number; lossScale?: number },
  options: AdamWOptions,
): AdamWScalars {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, maxNorm = 1 } = options
  const [correction1, correction2] = [1 - beta1 ** step, Math.sqrt(1 - beta2 ** step)]
  const clip = Math.min(1, maxNorm / (norm / lossScale + 1e-6)) / lossScale
  // rate (m / c1) / (sqrt(v) / c2 + eps) = (rate c2 / c1) m / (sqrt(v) + eps c2)
  return {
    beta1,
    weight1: clip * (1 - beta1),
    beta2,
    weight2: clip * clip * (1 - beta2),
    stepSize: (rate * correction2) / correction1,
    epsilonHat: epsilon * correction2,
    keep: 1 - rate * weightDecay,
  }
}

export const SCALAR_NAMES = ['beta1', 'weight1', 'beta2', 'weight2', 'stepSize', 'epsilonHat', 'keep'] as const

export interface ParameterState {
  value: Tensor
  gradient: Tensor
  first: Tensor
  second: Tensor
  /** Whether weight decay applies. */
  decay: boolean
}

/** One step of each parameter, over scalar inputs of the names in `SCALAR_NAMES`. */
export function adamw(states: readonly ParameterState[]): { value: Tensor; first: Tensor; second: Tensor }[] {
  const [beta1, weight1, beta2, weight2, stepSize, epsilonHat, keep] = SCALAR_NAMES.map((name) => input(name, []))
  return states.map(({ value, gradient: g, first: m, second: v, decay }) => {
    const first = add(multiply(m, beta1), multiply(g, weight1))
    const second = add(multiply(v, beta2), multiply(multiply(g, g), weight2))
    const update = multiply(divide(first, add(sqrt(second), epsilonHat)), stepSize)
    return { value: subtract(decay ? multiply(value, keep) : value, update), first, second }
  })
}
