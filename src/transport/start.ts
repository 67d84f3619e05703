/**
 * Where the iteration starts: at the potentials of a sample of the candidates, where it costs little. They are near those of
 * all, and so is the rate of convergence, from which the relaxation follows.
 */

import { randomStream, shuffle } from '../random/philox.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { iterate } from './iteration.ts'
import type { Views } from './layout.ts'
import type { OpenProblem } from './problem.ts'
import { adaptiveRelaxation, fixedRelaxation, type Relaxation } from './relaxation.ts'
import type { Settings } from './validation.ts'

/** Candidates of the first sample, and how many times more the next has, and at the end all. */
const LEAST_SAMPLE = 1024
const GROWTH = 8
/** When to go on to the next. */
const ENOUGH = { threshold: 1e-3, rankTolerance: Infinity }
const MOST_ITERATIONS = 100

/** Sizes of the samples for n candidates: each holds the one before. */
function samplesOf(n: number): number[] {
  const samples: number[] = []
  for (let rows = LEAST_SAMPLE; GROWTH * rows <= n; rows *= GROWTH) samples.push(rows)
  return samples
}

/** The order in which candidates lie in memory: every beginning is a uniform sample. Unchanged where no sample is taken. */
export function orderOf(n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, j) => j)
  return samplesOf(n).length === 0 ? order : shuffle(order, randomStream(0, 'transport-start'))
}

export function placeCandidates({ candidates }: Views, { data, d }: Vectors, order: Uint32Array): void {
  for (let to = 0; to < order.length; to++) candidates.set(data.subarray(order[to] * d, (order[to] + 1) * d), to * d)
}

/** `values` of candidates as they lie in memory, as the caller has them. */
export function inCallersOrder(values: Float64Array, order: Uint32Array): Float64Array<ArrayBuffer> {
  const result = new Float64Array(order.length)
  for (let at = 0; at < order.length; at++) result[order[at]] = values[at]
  return result
}

/** Solves roughly on ever larger samples. Leaves the weights of all candidates in place. */
export async function startOnSamples(
  problem: OpenProblem,
  { targetWeights, candidateWeights }: Settings,
  order: Uint32Array,
  given: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ potential: Float64Array; relaxation: Relaxation }> {
  const relaxationFrom = (start: number) => (given === undefined ? adaptiveRelaxation(start) : fixedRelaxation(given))
  let potential: Float64Array = new Float64Array(targetWeights.length)
  let relaxation = relaxationFrom(1)
  for (const rows of samplesOf(order.length)) {
    useWeights(problem.views, candidateWeights, order, rows)
    const rule = { ...ENOUGH, relaxation, iterations: MOST_ITERATIONS, signal }
    potential = (await iterate(problem, rows, targetWeights, potential, rule)).potential
    relaxation = relaxationFrom(relaxation.value)
  }
  useWeights(problem.views, candidateWeights, order, order.length)
  return { potential, relaxation }
}

function useWeights(views: Views, weights: Float64Array, order: Uint32Array, rows: number): void {
  let total = 0
  for (let j = 0; j < rows; j++) total += weights[order[j]]
  for (let j = 0; j < rows; j++) views.candidateWeights[j] = weights[order[j]] / total
}
