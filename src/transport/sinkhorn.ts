/**
 * Entropic optimal transport between a target set and candidates by Sinkhorn's iteration (Cuturi, NeurIPS 2013), in stabilised scaling
 * (Schmitzer, SIAM J. Sci. Comput. 2019): a float32 kernel with float64 potentials absorbed in it, renewed from the costs by
 * log-sum-exp wherever the potentials leave its reach. reference.ts is the same in plain float64.
 */

import type { Parallel } from '../parallel/parallel.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { iterate, targetSums } from './iteration.ts'
import { kernelBytes } from './layout.ts'
import { checkSquares, type OpenProblem, openProblem } from './problem.ts'
import { inCallersOrder, orderOf, placeCandidates, startOnSamples } from './start.ts'
import { type Settings, validated } from './validation.ts'

export interface TransportProblem {
  /** m rows. */
  targets: Vectors
  /** n rows of the same dimensions. The cost of a move is C_ij = |t_i - x_j|^2. */
  candidates: Vectors
  /** a, [m]: positive; normalised to sum 1. Default: uniform. */
  targetWeights?: Float64Array
  /** b, [n]. */
  candidateWeights?: Float64Array
}

export interface SinkhornOptions {
  /** Strength of the entropic regularisation, in units of cost. */
  epsilon: number
  /**
   * w in (0, 2) of x <- (1 - w) x_old + w x_new on the potentials; steps of more than 30 epsilon are taken plainly. A run that diverges
   * goes on with 1. Default: 1 at first, then what suits the rate of convergence that is seen (relaxation.ts): the same solution in
   * a quarter of the iterations.
   */
  relaxation?: number
  /**
   * Marginal error at which to stop: sum_j |sum_i P_ij - b_j|, and |w - 1| times the targets' when relaxed; unbalanced, b_j stands for what
   * the penalty leaves of it, b_j exp(-g_j / rho). Default 1e-3.
   */
  threshold?: number
  /**
   * To stop, 1 - Spearman's correlation of the candidates' potentials with those of 5 iterations before must also be at most this.
   * Default 1e-4; Infinity: the marginal error decides alone.
   */
  rankTolerance?: number
  /** Most iterations on all candidates. Default 2000. */
  iterations?: number
  /** rho: both marginals are free, at a penalty of rho KL in units of cost. Default: balanced. */
  unbalanced?: number
  /**
   * Bytes that the kernel matrix may take: it is stored when it fits, else computed anew in every iteration. Where it fits twice, costs are
   * kept beside it when it has had to be computed anew. Default 1 GiB.
   */
  memoryLimit?: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  signal?: AbortSignal
  onProgress?: (progress: SinkhornProgress) => void
}

export interface SinkhornProgress {
  /** 1-based. */
  iteration: number
  iterations: number
  marginalError: number
  /** 1 - Spearman's correlation between two checks, where it was looked at. */
  rankChange: number | undefined
}

export interface Transport {
  /** f_i - eps log a_i, [m]. */
  targetPotential: Float64Array
  /** g_j - eps log b_j, [n]: what candidates are ranked by. */
  candidatePotential: Float64Array
  /** <P, C> */
  transportCost: number
  /** <P, C> + eps KL(P | a b^T), and + rho KL of both marginals when unbalanced. */
  regularisedCost: number
  marginalError: number
  /** On all candidates; those on samples before (start.ts) are not counted. */
  iterations: number
  converged: boolean
  /** The w that was used at the end. */
  relaxation: number
  /** Whether the kernel was stored. */
  stored: boolean
}

/**
 * Solves min_P <P, C> + eps KL(P | a b^T) over plans P [m, n] with marginals a and b, C_ij = |t_i - x_j|^2. With f' = f - eps log a and
 * g' = g - eps log b the plan is P_ij = a_i b_j exp((f'_i + g'_j - C_ij) / eps), and the iteration
 *
 *     g'_j <- -lambda eps log sum_i a_i exp((f'_i - C_ij) / eps)      f'_i <- -lambda eps log sum_j b_j exp((g'_j - C_ij) / eps)
 *
 * lambda = 1, or rho / (rho + eps) when unbalanced. The g' returned is the plain update of the f' returned, so a scorer opened with that
 * f' gives a candidate the same potential. The marginal error is that of the last iteration before this update, and bounds the pair's.
 *
 * Precision: costs and kernel are float32, potentials and sums over blocks float64; potentials agree with float64 to some 1e-6 of the
 * costs' scale plus 1e-7 of eps. Weights of 0 are refused: leave such rows out.
 *
 * Deterministic: the same bits on any number of threads of one machine (another may fuse multiply-adds or not). An iteration reads 4 m n
 * bytes (stored) or takes 2 m n d operations; memory beside the caller's: 4 (m + n) d bytes, 4 m n when stored (twice that with costs), and some 80 MiB at most;
 * all of it must fit 4 GiB.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `vectors-too-long`, `transport-option` or `memory`;
 * `signal.reason` when aborted.
 */
export async function sinkhorn(problem: TransportProblem, options: SinkhornOptions): Promise<Transport> {
  const settings = validated(problem, options)
  const { targets, candidates } = problem
  const { n, d } = candidates
  const { epsilon, damping } = settings
  const bytes = kernelBytes({ m: targets.n, n })
  const stored = bytes <= settings.memoryLimit
  const keepCosts = 2 * bytes <= Math.min(settings.memoryLimit, MOST_KEPT)
  // Starting threads takes tens of milliseconds of a processor.
  const parallel = targets.n * n * (d + 100) > WORTH_THREADS ? options.parallel : undefined
  await using open = await openProblem(targets, { n, stored, keepCosts, epsilon, damping }, parallel)
  const order = orderOf(n)
  placeCandidates(open.views, candidates, order)
  await open.run({ do: 'prepare', rows: n })
  checkSquares(open.views.candidateSquares.subarray(0, n), candidates.data, d, 'candidates')

  const { iterations } = settings
  const { relaxation, signal, onProgress } = options
  const first = await startOnSamples(open, settings, order, relaxation, signal)
  const end = await iterate(open, n, settings.targetWeights, first.potential, {
    ...settings,
    relaxation: first.relaxation,
    signal,
    onIteration: (iteration, marginalError, rankChange) =>
      onProgress?.({ iteration, iterations, marginalError, rankChange }),
  })
  const costs = await costsOf(
    open,
    n,
    { ...settings, candidateWeights: open.views.candidateWeights },
    end.potential,
    options.unbalanced,
  )
  return {
    targetPotential: end.potential,
    candidatePotential: inCallersOrder(open.views.plainPotential, order),
    ...costs,
    marginalError: end.marginalError,
    iterations: end.iterations,
    converged: end.converged,
    relaxation: first.relaxation.value,
    stored,
  }
}

/** Bytes of kernel and costs beside which everything else still fits 4 GiB. */
const MOST_KEPT = 3 * 2 ** 30
/** Multiply-adds of the costs, and something for the kernel, below which one thread is done before others have started. */
const WORTH_THREADS = 2e8

/** Both costs of the plan of (f, T(f)). The costs of moves are read off the kernel: C_ij = base_i + base_j - eps log K_ij. */
async function costsOf(
  open: OpenProblem,
  rows: number,
  { targetWeights, candidateWeights, epsilon, damping }: Settings,
  f: Float64Array,
  rho: number | undefined,
): Promise<{ transportCost: number; regularisedCost: number }> {
  const { layout, views } = open
  await open.run({ do: 'measure', rows })
  const sums = targetSums(open, rows)
  const { targetBase, candidateBase, plainPotential } = views
  let [bases, potentials, mass, divergence] = [0, 0, 0, 0]
  for (let i = 0; i < layout.m; i++) {
    const marginal = targetWeights[i] * Math.exp((f[i] - targetBase[i]) / epsilon) * sums[i]
    bases += targetBase[i] * marginal
    potentials += f[i] * marginal
    divergence += divergenceOf(marginal, targetWeights[i])
  }
  for (let j = 0; j < rows; j++) {
    const marginal = candidateWeights[j] * Math.exp((-(1 - damping) / damping) * (plainPotential[j] / epsilon))
    bases += candidateBase[j] * marginal
    potentials += plainPotential[j] * marginal
    divergence += divergenceOf(marginal, candidateWeights[j])
    mass += marginal
  }
  const entropy = views.entropies.subarray(0, Math.ceil(rows / layout.blockRows)).reduce((a, b) => a + b, 0)
  const penalty = damping === 1 ? 0 : (rho as number) * divergence
  return {
    transportCost: bases - epsilon * entropy,
    regularisedCost: potentials - epsilon * (mass - 1) + penalty,
  }
}

/** One term of KL(p | q) = sum p log(p / q) - p + q. */
function divergenceOf(p: number, q: number): number {
  return p === 0 ? q : p * Math.log(p / q) - p + q
}
