/** Potentials of any number of candidates from a problem that was solved on some of them, in one pass. */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { checkShape } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { checkSquares, openProblem } from './problem.ts'
import { checkEpsilon, dampingOf, weightsOf } from './validation.ts'

export interface Solved {
  /** m rows. */
  targets: Vectors
  /** f', [m]: of a solve. */
  targetPotential: Float64Array
  /** a: those of the solve. */
  targetWeights?: Float64Array
  epsilon: number
  /** rho, of an unbalanced solve. */
  unbalanced?: number
}

export interface CandidateScores {
  /** [k] */
  potential: Float64Array
  /** Target row of least cost, [k]; the lowest id in a tie. */
  nearest: Uint32Array
  /** Its cost, [k]. */
  nearestCost: Float32Array
}

export interface CandidateScorer extends AsyncDisposable {
  /** Scores a block, row-major [k, d], which must not change before the answer. Blocks are taken one after another. */
  score(block: Float32Array): Promise<CandidateScores>
}

export interface ScorerOptions {
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  /** Most rows of a block. Default 8192. */
  blockRows?: number
}

/**
 * Opens g(x) = -lambda eps log sum_i a_i exp((f'_i - |t_i - x|^2) / eps) for candidates x in blocks: the update that gave the solve's own
 * candidates their `candidatePotential`, so the scores of all blocks share one constant with those. Scores of different solves do not.
 *
 * Deterministic: a row's score does not depend on its block or on the threads. 2 m k d operations a block; memory:
 * 4 (2 m + blockRows) d bytes and some 10 MiB, not more for more candidates.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `vectors-too-long`, `transport-option` or `memory`.
 */
export async function openScorer(solved: Solved, options: ScorerOptions = {}): Promise<CandidateScorer> {
  const { targets, targetPotential, epsilon, unbalanced } = solved
  const { parallel, blockRows = 8192 } = options
  checkShape(targets, 'targets')
  checkEpsilon(epsilon)
  const damping = dampingOf(unbalanced, epsilon)
  const weights = weightsOf(solved.targetWeights, targets.n, 'target')
  const { n: m, d } = targets
  const optionFault = (message: string, found: unknown, expected: string) =>
    new WinnowError('input', { code: 'transport-option', message, found: String(found), expected })
  if (targetPotential.length !== m)
    throw optionFault('target potentials do not fit their targets', targetPotential.length, `${m} potentials`)
  if (!(Number.isSafeInteger(blockRows) && blockRows >= 1)) throw optionFault('blockRows', blockRows, 'an integer >= 1')
  const open = await openProblem(targets, { n: blockRows, stored: false, keepCosts: false, epsilon, damping }, parallel)
  const { views } = open
  for (let i = 0; i < m; i++) {
    const base = Math.fround(targetPotential[i])
    views.targetBase[i] = base
    views.targetScale[i] = weights[i] * Math.exp((targetPotential[i] - base) / epsilon)
  }

  const score = async (block: Float32Array): Promise<CandidateScores> => {
    const rows = block.length / d
    if (!Number.isInteger(rows) || rows > blockRows)
      throw optionFault('block of candidates', `${block.length} values`, `rows of ${d}, at most ${blockRows} of them`)
    views.candidates.set(block)
    await open.run({ do: 'score', rows })
    checkSquares(views.candidateSquares.subarray(0, rows), block, d, 'candidates of the block')
    return {
      potential: views.plainPotential.slice(0, rows),
      nearest: views.nearest.slice(0, rows),
      nearestCost: views.rowLeast.slice(0, rows),
    }
  }
  let turn: Promise<unknown> = Promise.resolve()
  return {
    score: (block) => {
      const answer = turn.then(() => score(block))
      turn = answer.catch(() => undefined)
      return answer
    },
    [Symbol.asyncDispose]: async () => {
      await turn
      await open[Symbol.asyncDispose]()
    },
  }
}
