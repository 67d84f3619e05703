/** Sinkhorn's iteration in the log domain, slowly and plainly in float64: the oracle of transport's tests. */

import { checkFinite } from '../similarity/validation.ts'
import { squaredCost } from './cost.ts'
import { spearman } from './ranks.ts'
import type { CandidateScores, Solved } from './scorer.ts'
import type { SinkhornOptions, Transport, TransportProblem } from './sinkhorn.ts'
import { validated } from './validation.ts'

/** log sum_i exp(values_i) */
function logSumExp(values: Float64Array): number {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity)
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0))
}

/** Without threads, samples or progress; the relaxation is 1 unless given, and is never changed. O(m n) a half-step. */
export function referenceSinkhorn(problem: TransportProblem, options: SinkhornOptions): Transport {
  const settings = validated(problem, options)
  const { targets, candidates } = problem
  const { targetWeights: a, candidateWeights: b, epsilon, damping, threshold, rankTolerance, iterations } = settings
  const { relaxation: w = 1, unbalanced } = options
  checkFinite(targets.data, targets.d, 'targets')
  checkFinite(candidates.data, candidates.d, 'candidates')
  const [m, n] = [targets.n, candidates.n]
  const cost = Float64Array.from({ length: m * n }, (_, p) =>
    squaredCost(targets, Math.floor(p / n), candidates, p % n),
  )
  const f = new Float64Array(m)
  const g = new Float64Array(n)
  const plain = new Float64Array(n)
  const [column, row] = [new Float64Array(m), new Float64Array(n)]
  let checked: Float64Array | undefined
  let [marginalError, targetError, iteration, converged] = [Infinity, 0, 0, false]
  while (!converged && iteration < iterations) {
    iteration++
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < m; i++) column[i] = Math.log(a[i]) + (f[i] - cost[i * n + j]) / epsilon
      plain[j] = -damping * epsilon * logSumExp(column)
    }
    // sum_i P_ij of (f, former g) is b_j exp((g_j - plain_j) / (damping eps)) times what the penalty leaves of b_j.
    if (iteration > 1) {
      marginalError = 0
      for (let j = 0; j < n; j++) {
        const left = unbalanced === undefined ? b[j] : b[j] * Math.exp(-g[j] / unbalanced)
        marginalError += left * Math.abs(Math.expm1((g[j] - plain[j]) / (damping * epsilon)))
      }
      marginalError += Math.abs(w - 1) * targetError
    }
    for (let j = 0; j < n; j++) g[j] = iteration === 1 ? plain[j] : (1 - w) * g[j] + w * plain[j]
    let steady = rankTolerance === Infinity
    if (iteration % 5 === 0) {
      steady ||= checked !== undefined && 1 - spearman(checked, plain) <= rankTolerance
      checked = plain.slice()
    }
    converged = marginalError <= threshold && steady
    if (converged || iteration === iterations) break
    targetError = 0
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) row[j] = Math.log(b[j]) + (g[j] - cost[i * n + j]) / epsilon
      const next = -damping * epsilon * logSumExp(row)
      const left = unbalanced === undefined ? a[i] : a[i] * Math.exp(-f[i] / unbalanced)
      targetError += left * Math.abs(Math.expm1((f[i] - next) / (damping * epsilon)))
      f[i] = (1 - w) * f[i] + w * next
    }
  }
  let [transportCost, divergence, mass] = [0, 0, 0]
  const [rows, columns] = [new Float64Array(m), new Float64Array(n)]
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const exponent = (f[i] + plain[j] - cost[i * n + j]) / epsilon
      const flow = a[i] * b[j] * Math.exp(exponent)
      transportCost += flow * cost[i * n + j]
      divergence += flow === 0 ? 0 : flow * exponent
      mass += flow
      rows[i] += flow
      columns[j] += flow
    }
  }
  const penalty = unbalanced === undefined ? 0 : unbalanced * (divergenceOf(rows, a) + divergenceOf(columns, b))
  return {
    ...{ targetPotential: f, candidatePotential: plain, transportCost, marginalError, iterations: iteration },
    regularisedCost: transportCost + epsilon * (divergence - mass + 1) + penalty,
    ...{ converged, relaxation: w, stored: true },
  }
}

/** KL(p | q) = sum p log(p / q) - p + q */
function divergenceOf(p: Float64Array, q: Float64Array): number {
  return p.reduce((sum, value, i) => sum + (value === 0 ? 0 : value * Math.log(value / q[i])) - value + q[i], 0)
}

/** What a scorer gives for `block`, row-major [k, d]. O(m k d). */
export function referenceScores(solved: Solved, block: Float32Array): CandidateScores {
  const { targets, targetPotential, targetWeights, epsilon, unbalanced } = solved
  const candidates = { data: block, n: block.length / targets.d, d: targets.d }
  const total = targetWeights?.reduce((sum, weight) => sum + weight, 0) ?? targets.n
  const damping = unbalanced === undefined ? 1 : unbalanced / (unbalanced + epsilon)
  const scores: CandidateScores = {
    potential: new Float64Array(candidates.n),
    nearest: new Uint32Array(candidates.n),
    nearestCost: new Float32Array(candidates.n).fill(Infinity),
  }
  const column = new Float64Array(targets.n)
  for (let j = 0; j < candidates.n; j++) {
    let least = Infinity
    for (let i = 0; i < targets.n; i++) {
      const cost = squaredCost(targets, i, candidates, j)
      column[i] = Math.log((targetWeights?.[i] ?? 1) / total) + (targetPotential[i] - cost) / epsilon
      if (cost < least) [least, scores.nearest[j], scores.nearestCost[j]] = [cost, i, cost]
    }
    scores.potential[j] = -damping * epsilon * logSumExp(column)
  }
  return scores
}
