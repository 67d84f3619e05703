/** What transport accepts, checked before anything is computed. */

import { WinnowError } from '../errors.ts'
import { checkSameDimensions, checkShape } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import type { SinkhornOptions, TransportProblem } from './sinkhorn.ts'

function fault(message: string, found: unknown, expected: string, hint?: string): WinnowError {
  return new WinnowError('input', { code: 'transport-option', message, found: String(found), expected, hint })
}

export interface Settings {
  epsilon: number
  threshold: number
  rankTolerance: number
  iterations: number
  /** lambda = rho / (rho + epsilon). */
  damping: number
  memoryLimit: number
  /** Summing to 1. */
  targetWeights: Float64Array
  candidateWeights: Float64Array
}

export function checkEpsilon(epsilon: number): void {
  if (epsilon > 0 && Number.isFinite(1 / epsilon) && Number.isFinite(epsilon)) return
  throw fault(
    'epsilon is no strength of entropic regularisation',
    epsilon,
    'a positive number in units of cost',
    'METHODS: 0.05 x the standard deviation of the cost.',
  )
}

/** lambda of an unbalanced problem, 1 of a balanced one. */
export function dampingOf(unbalanced: number | undefined, epsilon: number): number {
  if (unbalanced === undefined || unbalanced === Infinity) return 1
  if (!(unbalanced > 0))
    throw fault('unbalanced is no penalty of marginals', unbalanced, 'a positive number in units of cost, or undefined')
  return unbalanced / (unbalanced + epsilon)
}

/** Weights that sum to 1: uniform unless given. */
export function weightsOf(weights: Float64Array | undefined, n: number, what: string): Float64Array {
  if (weights === undefined) return new Float64Array(n).fill(1 / n)
  if (weights.length !== n) throw fault(`${what} weights do not fit their vectors`, weights.length, `${n} weights`)
  const bad = weights.findIndex((weight) => !(weight > 0 && Number.isFinite(weight)))
  if (bad >= 0)
    throw fault(
      `${what} weight ${bad} is not a positive number`,
      weights[bad],
      'positive, finite weights',
      'Leave out rows that are to have no weight.',
    )
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight) => weight / total)
}

/** The options with their defaults, or a WinnowError. That values are finite shows in their squares (problem.ts). */
export function validated(problem: TransportProblem, options: SinkhornOptions): Settings {
  const { targets, candidates } = problem
  checkVectors(targets, candidates)
  const { epsilon, relaxation, threshold = 1e-3, rankTolerance = 1e-4, iterations = 2000 } = options
  const { memoryLimit = 2 ** 30, unbalanced } = options
  checkEpsilon(epsilon)
  if (relaxation !== undefined && !(relaxation > 0 && relaxation < 2))
    throw fault('relaxation', relaxation, 'a number in (0, 2)')
  if (!(threshold >= 0)) throw fault('threshold', threshold, 'a number >= 0')
  if (!(rankTolerance >= 0)) throw fault('rankTolerance', rankTolerance, 'a number >= 0')
  if (!(Number.isSafeInteger(iterations) && iterations >= 1)) throw fault('iterations', iterations, 'an integer >= 1')
  if (!(memoryLimit >= 0)) throw fault('memoryLimit', memoryLimit, 'bytes, a number >= 0')
  return {
    ...{ epsilon, threshold, rankTolerance, iterations, memoryLimit },
    damping: dampingOf(unbalanced, epsilon),
    targetWeights: weightsOf(problem.targetWeights, targets.n, 'target'),
    candidateWeights: weightsOf(problem.candidateWeights, candidates.n, 'candidate'),
  }
}

export function checkVectors(targets: Vectors, candidates: Vectors): void {
  checkShape(targets, 'targets')
  checkShape(candidates, 'candidates')
  checkSameDimensions(targets, candidates, 'targets and candidates')
}
