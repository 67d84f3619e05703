/** Sinkhorn's iteration on a problem in memory: updates of g by the threads, of f here, and when to stop. */

import { PANEL_COLUMNS, packColumn } from '../similarity/tiles.ts'
import type { OpenProblem } from './problem.ts'
import { spearman } from './ranks.ts'
import type { Relaxation } from './relaxation.ts'
import { REACH } from './shard.ts'

export interface Rule {
  relaxation: Relaxation
  threshold: number
  rankTolerance: number
  iterations: number
  signal?: AbortSignal
  onIteration?: (iteration: number, marginalError: number, rankChange: number | undefined) => void
}

export interface Progress {
  /** f', [m]: those that the plain g' belongs to. */
  potential: Float64Array
  marginalError: number
  iterations: number
  converged: boolean
}

/** Iterations between two looks at the ranking. */
const CHECK = 5
/** Column sums below: what the kernel has dropped as 0 could show, so they are taken again by log-sum-exp. */
const LEAST_SUM = 1e-6

/**
 * Iterates on candidates [0, rows), whose `candidateWeights` sum to 1, from target potentials `start`. Ends with `plainPotential` = T(f),
 * the g' that belongs to the f' returned; the marginal error is that of f' with the g' before, which bounds the new pair's.
 */
export async function iterate(
  problem: OpenProblem,
  rows: number,
  targetWeights: Float64Array,
  start: Float64Array,
  rule: Rule,
): Promise<Progress> {
  const { layout, views } = problem
  const { m, epsilon, stored } = layout
  const f = start.slice()
  let absorb = true
  let [targetError, absorptions] = [0, 0]
  let checked: Float64Array | undefined

  for (let iteration = 1; ; iteration++) {
    rule.signal?.throwIfAborted()
    const relaxation = rule.relaxation.value
    if (absorb) {
      absorbTargets(problem, targetWeights, f)
      // Costs are kept only where it shows that they will be wanted again.
      absorptions++
      const costs = !layout.keepCosts || absorptions === 1 ? 'compute' : absorptions === 2 ? 'keep' : 'recall'
      await problem.run({ do: 'absorb', rows, relaxation, first: iteration === 1, costs })
    } else await problem.run({ do: 'iterate', rows, relaxation })
    const blocks = Math.ceil(rows / layout.blockRows)
    let marginalError = views.errors.subarray(0, blocks).reduce((a, b) => a + b, 0)
    // A relaxed f has not met the targets' marginal either: what it left of that error shows in the pair that is returned.
    marginalError += Math.abs(relaxation - 1) * targetError

    const low = marginalError <= rule.threshold
    let rankChange: number | undefined
    const last = iteration === rule.iterations
    if ((iteration % CHECK === 0 || last) && Number.isFinite(rule.rankTolerance)) {
      if (!absorb) plainPotentials(problem, rows)
      const now = views.plainPotential.slice(0, rows)
      if (low && checked !== undefined) rankChange = 1 - spearman(checked, now)
      checked = now
    }
    const converged = low && (rule.rankTolerance === Infinity || (rankChange ?? Infinity) <= rule.rankTolerance)
    rule.onIteration?.(iteration, marginalError, rankChange)
    if (converged || last) {
      if (!absorb) plainPotentials(problem, rows)
      return { potential: f, marginalError, iterations: iteration, converged }
    }

    const wild = views.wild.subarray(0, blocks).includes(1)
    const update = await updateTargets(problem, rows, targetWeights, f, relaxation)
    targetError = update.error
    rule.relaxation.observe(marginalError)
    const next = !stored || update.far || wild
    if (next && !absorb) currentPotentials(problem, rows)
    absorb = next
  }

  /** f becomes what the kernel is computed for: float32, so that both are the same. */
  function absorbTargets({ views }: OpenProblem, weights: Float64Array, f: Float64Array) {
    for (let i = 0; i < m; i++) {
      f[i] = views.targetBase[i] = f[i]
      f[i] = views.targetBase[i]
      views.targetScale[i] = weights[i]
    }
  }

  /** g' before relaxation, from the last sums over the stored kernel. */
  function plainPotentials({ layout, views }: OpenProblem, rows: number) {
    const { plainPotential, candidateBase, rowSum } = views
    for (let j = 0; j < rows; j++)
      plainPotential[j] = layout.damping * (candidateBase[j] - epsilon * Math.log(rowSum[j]))
  }

  function currentPotentials({ views }: OpenProblem, rows: number) {
    const { potential, candidateBase, candidateScale } = views
    for (let j = 0; j < rows; j++) potential[j] = candidateBase[j] + epsilon * Math.log(candidateScale[j])
  }
}

/**
 * f from the sums over candidates; renews `targetScale`. Tells whether some target has moved out of the kernel's reach, and the targets'
 * marginal error before.
 */
async function updateTargets(
  problem: OpenProblem,
  rows: number,
  weights: Float64Array,
  f: Float64Array,
  relaxation: number,
): Promise<{ far: boolean; error: number }> {
  const { layout, views } = problem
  const { m, epsilon, damping } = layout
  const sums = targetSums(problem, rows)
  const plain = new Float64Array(m)
  const lost: number[] = []
  for (let i = 0; i < m; i++) {
    if (sums[i] > LEAST_SUM) plain[i] = damping * (views.targetBase[i] - epsilon * Math.log(sums[i]))
    else lost.push(i)
  }
  if (lost.length > 0) await rescue(problem, rows, lost, plain)
  let [error, lowest, highest] = [0, Infinity, -Infinity]
  const penalty = (1 - damping) / damping
  for (let i = 0; i < m; i++) {
    const left = penalty === 0 ? weights[i] : weights[i] * Math.exp((-penalty * f[i]) / epsilon)
    error += left * Math.abs(Math.expm1((f[i] - plain[i]) / (damping * epsilon)))
    f[i] = relaxation === 1 ? plain[i] : (1 - relaxation) * f[i] + relaxation * plain[i]
    const moved = (f[i] - views.targetBase[i]) / epsilon
    if (moved < lowest) lowest = moved
    if (moved > highest) highest = moved
    views.targetScale[i] = weights[i] * Math.exp(moved)
  }
  const far = lost.length > 0 || !(highest - lowest < REACH && Math.max(highest, -lowest) < 2 * REACH)
  return { far, error }
}

/** Sums over candidates of b_j K_ij v_j, blocks in order, [m]. */
export function targetSums({ layout, views }: OpenProblem, rows: number): Float64Array {
  const { m, columns, blockRows } = layout
  const sums = new Float64Array(m)
  for (let block = 0; block * blockRows < rows; block++) {
    const totals = views.totals.subarray(block * columns, block * columns + m)
    for (let i = 0; i < m; i++) sums[i] += totals[i]
  }
  return sums
}

/** The plain update of the potentials of targets `lost`, by log-sum-exp over candidates. */
async function rescue(problem: OpenProblem, rows: number, lost: number[], plain: Float64Array): Promise<void> {
  const { layout, views } = problem
  const { d, columns, blockRows, epsilon, damping } = layout
  if (views.candidateScale.subarray(0, rows).some((scale) => scale !== 1))
    for (let j = 0; j < rows; j++)
      views.potential[j] = views.candidateBase[j] + epsilon * Math.log(views.candidateScale[j])
  const { panels, rescuePanels, targetSquares, rescueSquares } = views
  const panelCount = Math.ceil(lost.length / PANEL_COLUMNS)
  rescueSquares.fill(targetSquares[columns - 1])
  const row = new Float32Array(d)
  for (const [to, i] of lost.entries()) {
    const place = Math.floor(i / PANEL_COLUMNS) * PANEL_COLUMNS * d + (i % PANEL_COLUMNS)
    for (let j = 0; j < d; j++) row[j] = panels[place + PANEL_COLUMNS * j]
    packColumn(row, 0, d, rescuePanels, to)
    rescueSquares[to] = targetSquares[i]
  }
  await problem.run({ do: 'rescue', rows, panels: panelCount })
  const blocks = Math.ceil(rows / blockRows)
  for (const [at, i] of lost.entries()) {
    let most = -Infinity
    for (let block = 0; block < blocks; block++) most = Math.max(most, views.most[block * columns + at])
    let sum = 0
    for (let block = 0; block < blocks; block++)
      sum += views.totals[block * columns + at] * Math.exp(views.most[block * columns + at] - most)
    plain[i] = -damping * epsilon * (most + Math.log(sum))
  }
}
