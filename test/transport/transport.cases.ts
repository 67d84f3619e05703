/** Conformance cases of entropic transport: any implementation must pass them all. */

import { expect, it } from 'vitest'
import { randomStream } from '../../src/random/philox.ts'
import type { Vectors } from '../../src/similarity/vectors.ts'
import { calibratedGradient } from '../../src/transport/gradient.ts'
import { spearman } from '../../src/transport/ranks.ts'
import type { CandidateScores, Solved } from '../../src/transport/scorer.ts'
import type { SinkhornOptions, Transport, TransportProblem } from '../../src/transport/sinkhorn.ts'
import { clustered, vectorsOf } from '../similarity/vectors.ts'

export interface Implementation {
  solve(problem: TransportProblem, options: SinkhornOptions): Transport | Promise<Transport>
  score(solved: Solved, block: Float32Array): CandidateScores | Promise<CandidateScores>
}

/** Stops at a marginal error that float32 still reaches. */
export const exactly = { threshold: 1e-6, rankTolerance: Infinity, iterations: 5000 }

const corner: TransportProblem = {
  targets: vectorsOf([
    [0, 0],
    [1, 0],
  ]),
  candidates: vectorsOf([
    [0, 0],
    [0, 1],
    [2, 0],
  ]),
}
const line: TransportProblem = { targets: vectorsOf([[0], [1]]), candidates: vectorsOf([[0], [0], [0], [1]]) }

/**
 * Two modes A and B = A + 4 e1 that the target has in equal parts, and the pool as 18 to 1, with wide noise around A; in `d` dimensions.
 */
export function twoModes(seed: number, [inA, inB, wide, targets]: number[], d = 8) {
  const stream = randomStream(seed, 'modes')
  const around = (x: number, deviation: number) =>
    Array.from({ length: d }, (_, j) => (j === 0 ? x : 0) + deviation * stream.normal())
  const rows = [
    ...Array.from({ length: inA }, () => around(0, 0.5)),
    ...Array.from({ length: inB }, () => around(4, 0.5)),
    ...Array.from({ length: wide }, () => around(0, 3)),
  ]
  const target = Array.from({ length: targets }, (_, i) => around(i % 2 === 0 ? 0 : 4, 0.5))
  return {
    candidates: vectorsOf(rows),
    targets: vectorsOf(target),
    isB: (row: number) => row >= inA && row < inA + inB,
  }
}

/** Rows of the lowest values. */
export const lowest = (values: Float64Array, count: number) =>
  [...values.keys()].sort((a, b) => values[a] - values[b]).slice(0, count)

function expectAll(found: ArrayLike<number>, expected: number[], digits = 5): void {
  expect(found.length).toBe(expected.length)
  expected.forEach((value, at) => {
    expect(found[at]).toBeCloseTo(value, digits)
  })
}

export function transportCases({ solve, score }: Implementation): void {
  it.each([1, 1.3, undefined])('solves two targets and three candidates, relaxation %s (T1)', async (relaxation) => {
    const result = await solve(corner, { ...exactly, epsilon: 0.5, relaxation })
    expectAll(calibratedGradient(result.candidatePotential), [-0.845822, 0.654178, 0.191644])
    expect(result.transportCost).toBeCloseTo(0.83467, 5)
    expect(result.regularisedCost).toBeCloseTo(0.992294, 5)
    expect(result.converged).toBe(true)
    expect(result.marginalError).toBeLessThanOrEqual(1e-6)
  })

  it.each([
    [0.1, [0.296713, 0.296713, 0.296713, -0.890139], 0.271576],
    [0.5, [0.161458, 0.161458, 0.161458, -0.484375], 0.353495],
  ])('solves three equal candidates and one, epsilon %s (T2)', async (epsilon, gradient, cost) => {
    const result = await solve(line, { ...exactly, epsilon })
    expectAll(calibratedGradient(result.candidatePotential), gradient)
    expect(result.regularisedCost).toBeCloseTo(cost, 5)
  })

  it('solves weighted candidates (T3)', async () => {
    for (const scale of [1, 7]) {
      const candidateWeights = Float64Array.of(0.5, 0.3, 0.2).map((weight) => scale * weight)
      const result = await solve({ ...corner, candidateWeights }, { ...exactly, epsilon: 0.5 })
      expectAll(calibratedGradient(result.candidatePotential), [-0.744975, 0.755025, -0.010051])
      expect(result.regularisedCost).toBeCloseTo(0.881892, 5)
    }
  })

  it('gives a repeated candidate the potential of one that has both weights', async () => {
    const [targets, candidates] = [clustered(30, 5, { seed: 1 }), clustered(60, 5, { seed: 2 })]
    const twice = { ...candidates, n: 120, data: Float32Array.from([...candidates.data, ...candidates.data]) }
    const whole = await solve({ targets, candidates }, { ...exactly, epsilon: 0.1 })
    const split = await solve({ targets, candidates: twice }, { ...exactly, epsilon: 0.1 })
    const weights = { targetWeights: new Float64Array(30).fill(5), candidateWeights: new Float64Array(60).fill(3) }
    const weighted = await solve({ targets, candidates, ...weights }, { ...exactly, epsilon: 0.1 })
    const [a, b, c] = [whole, split, weighted].map((result) => calibratedGradient(result.candidatePotential))
    for (let j = 0; j < 60; j++) {
      expect(b[j] / (120 / 119)).toBeCloseTo(a[j] / (60 / 59), 4)
      expect(b[j + 60]).toBeCloseTo(b[j], 10)
      expect(c[j]).toBeCloseTo(a[j], 10)
    }
  })

  it('meets both marginals', async () => {
    const problem = {
      targets: clustered(25, 6, { seed: 1 }),
      candidates: clustered(70, 6, { seed: 2 }),
      targetWeights: Float64Array.from({ length: 25 }, (_, i) => 1 + (i % 4)),
      candidateWeights: Float64Array.from({ length: 70 }, (_, j) => 1 + (j % 3)),
    }
    const epsilon = 0.05
    const { targetPotential: f, candidatePotential: g, ...result } = await solve(problem, { ...exactly, epsilon })
    const [a, b] = [problem.targetWeights, problem.candidateWeights].map((weights) => {
      const total = weights.reduce((sum, weight) => sum + weight)
      return weights.map((weight) => weight / total)
    })
    const { data: t, d } = problem.targets
    const x = problem.candidates.data
    let [error, cost] = [0, 0]
    for (let i = 0; i < 25; i++) {
      let row = 0
      for (let j = 0; j < 70; j++) {
        let c = 0
        for (let k = 0; k < d; k++) c += (t[i * d + k] - x[j * d + k]) ** 2
        const flow = a[i] * b[j] * Math.exp((f[i] + g[j] - c) / epsilon)
        row += flow
        cost += flow * c
      }
      error += Math.abs(row - a[i])
    }
    // g belongs to f, so the candidates' marginal holds; the targets' does as far as was asked.
    expect(error).toBeLessThan(2e-5)
    expect(result.transportCost).toBeCloseTo(cost, 5)
  })

  it('is what the cost changes by, to first order, as mass moves onto a candidate', async () => {
    const { targets, candidates } = corner
    const [epsilon, h] = [0.5, 1e-3]
    const costOf = async (weights: Float64Array) => {
      const result = await solve({ targets, candidates, candidateWeights: weights }, { ...exactly, epsilon })
      // KL to a b^T with b moving adds eps KL(b' | b) to entropy's own terms: the potential g - eps log b is of OT with KL(P | a 1^T).
      return result.regularisedCost + epsilon * weights.reduce((sum, b) => sum + b * Math.log(b), 0)
    }
    const b = Float64Array.of(0.5, 0.3, 0.2)
    const { candidatePotential } = await solve({ targets, candidates, candidateWeights: b }, { ...exactly, epsilon })
    const gradient = calibratedGradient(candidatePotential.map((g, j) => g + epsilon * Math.log(b[j])))
    for (let j = 0; j < 3; j++) {
      const moved = (sign: number) => b.map((weight, l) => weight + sign * (l === j ? h : -h / 2))
      const slope = ((await costOf(moved(1))) - (await costOf(moved(-1)))) / (2 * h)
      expect(slope).toBeCloseTo(gradient[j], 3)
    }
  })

  it.each([0.1, 1, 5])('takes from the mode that the pool lacks, epsilon %s', async (epsilon) => {
    const { candidates, targets, isB } = twoModes(3, [450, 25, 25, 50])
    const options = { epsilon, threshold: 1e-3, iterations: 2000 }
    const { candidatePotential, targetPotential } = await solve({ targets, candidates }, options)
    expect(lowest(candidatePotential, 25).filter(isB).length).toBe(25)
    // With f = 0 it would be the nearest that win, from where the pool has most.
    const nearest = await score({ targets, targetPotential: targetPotential.fill(0), epsilon: 0.1 }, candidates.data)
    expect(lowest(nearest.potential, 25).filter(isB).length).toBeLessThan(5)
  })

  it('extends a solve on a fifth of the candidates to all of them', async () => {
    const { candidates, targets } = twoModes(4, [720, 40, 40, 60])
    const fifth = sampleOf(candidates, 5)
    for (const epsilon of [0.5, 2]) {
      const all = await solve({ targets, candidates }, { ...exactly, epsilon })
      const { targetPotential } = await solve({ targets, candidates: fifth }, { ...exactly, epsilon })
      const { potential } = await score({ targets, targetPotential, epsilon }, candidates.data)
      expect(spearman(potential, all.candidatePotential)).toBeGreaterThanOrEqual(0.99)
    }
  })

  it.each([
    ['balanced', undefined],
    ['unbalanced', 0.4],
  ])("scores a solve's own candidates as the solve did, %s", async (_, unbalanced) => {
    const [targets, candidates] = [clustered(40, 9, { seed: 1 }), clustered(90, 9, { seed: 2 })]
    const targetWeights = Float64Array.from({ length: 40 }, (_, i) => 1 + (i % 5))
    const options = { epsilon: 0.1, unbalanced }
    const solution = await solve({ targets, candidates, targetWeights }, options)
    const solved = { targets, targetWeights, targetPotential: solution.targetPotential, ...options }
    const { potential } = await score(solved, candidates.data)
    expectAll(potential, [...solution.candidatePotential], 5)
  })

  it('names the nearest target, the lowest row in a tie', async () => {
    const targets = vectorsOf([
      [0, 0],
      [2, 0],
      [0, 0],
      [5, 5],
    ])
    const solved = { targets, targetPotential: Float64Array.of(0, 0.5, 1, 2), epsilon: 1 }
    const block = Float32Array.from([0, 0, 1, 0, 2, 0.5, 4, 4, -3, 0])
    const { nearest, nearestCost } = await score(solved, block)
    expect([...nearest]).toEqual([0, 0, 1, 3, 0])
    expectAll(nearestCost, [0, 1, 0.25, 2, 9], 4)
  })

  it.each([
    ['one target', 1, 5, 3, 0.1],
    ['one candidate', 5, 1, 3, 0.1],
    ['one of each', 1, 1, 1, 1],
    ['one dimension', 7, 9, 1, 0.05],
    ['as many targets as panels hold', 16, 12, 4, 0.1],
    ['more targets than candidates', 50, 6, 4, 0.1],
    ['a huge epsilon', 10, 20, 4, 1000],
  ])('solves %s', async (_, m, n, d, epsilon) => {
    const [targets, candidates] = [clustered(m, d, { seed: 1 }), clustered(n, d, { seed: 2 })]
    const { candidatePotential, ...result } = await solve({ targets, candidates }, { ...exactly, epsilon })
    expect(result.converged).toBe(true)
    expect(result.transportCost).toBeGreaterThanOrEqual(0)
    expect(candidatePotential.every(Number.isFinite)).toBe(true)
    // Nothing but one plan is possible with one row on a side.
    if (m === 1 || n === 1) expect(result.iterations).toBeLessThanOrEqual(3)
  })

  it('solves where all rows are the same', async () => {
    const same = vectorsOf(Array.from({ length: 6 }, () => [0.3, -0.7]))
    const result = await solve({ targets: same, candidates: same }, { ...exactly, epsilon: 0.01 })
    expectAll(calibratedGradient(result.candidatePotential), [0, 0, 0, 0, 0, 0])
    expect(result.transportCost).toBeCloseTo(0, 5)
  })

  it('solves an epsilon far below the costs: the plan is an assignment', async () => {
    const targets = vectorsOf([[0], [1], [2]])
    const candidates = vectorsOf([[2.01], [-0.02], [1.1]])
    const result = await solve({ targets, candidates }, { ...exactly, epsilon: 1e-4 })
    expect(result.transportCost).toBeCloseTo((0.01 ** 2 + 0.02 ** 2 + 0.1 ** 2) / 3, 6)
  })

  it('lets mass go that costs more than the penalty, unbalanced', async () => {
    const targets = vectorsOf([[0], [0.1]])
    const candidates = vectorsOf([[0], [0.1], [30]])
    const result = await solve({ targets, candidates }, { ...exactly, epsilon: 0.1, unbalanced: 1 })
    expect(result.transportCost).toBeLessThan(0.01)
    // Each side gives up what it cannot place: by rho (KL of two thirds of the mass, and a third of b), roughly.
    expect(result.regularisedCost).toBeGreaterThan(0.2)
    expect(result.regularisedCost).toBeLessThan(1)
    const tight = await solve({ targets, candidates }, { ...exactly, epsilon: 0.1, unbalanced: 1e7 })
    const balanced = await solve({ targets, candidates }, { ...exactly, epsilon: 0.1 })
    expect(tight.transportCost / balanced.transportCost).toBeCloseTo(1, 2)
  })

  it('ends at the most iterations, and says so', async () => {
    const problem = { targets: clustered(20, 4, { seed: 1 }), candidates: clustered(30, 4, { seed: 2 }) }
    const result = await solve(problem, { epsilon: 0.01, iterations: 7, threshold: 1e-9 })
    expect(result.iterations).toBe(7)
    expect(result.converged).toBe(false)
  })

  const options = { epsilon: 0.5 }
  it.each([
    ['no epsilon', corner, { epsilon: 0 }, 'transport-option'],
    ['an epsilon of NaN', corner, { epsilon: NaN }, 'transport-option'],
    ['a relaxation of 2', corner, { ...options, relaxation: 2 }, 'transport-option'],
    ['no iterations', corner, { ...options, iterations: 0 }, 'transport-option'],
    ['no penalty', corner, { ...options, unbalanced: 0 }, 'transport-option'],
    ['a weight of 0', { ...corner, candidateWeights: Float64Array.of(1, 0, 1) }, options, 'transport-option'],
    ['a weight missing', { ...corner, targetWeights: Float64Array.of(1) }, options, 'transport-option'],
    ['no candidates', { ...corner, candidates: { data: new Float32Array(), n: 0, d: 2 } }, options, 'vectors-shape'],
    ['other dimensions', { ...corner, candidates: vectorsOf([[1]]) }, options, 'vectors-shape'],
    ['NaN', { ...corner, candidates: vectorsOf([[1, NaN]]) }, options, 'vectors-not-finite'],
  ])('refuses %s', async (_, problem, options, code) => {
    await expect((async () => solve(problem, options))()).rejects.toMatchObject({ fault: { code } })
  })
}

/** Every `step`-th row. */
function sampleOf({ data, n, d }: Vectors, step: number): Vectors {
  const rows = Array.from({ length: Math.ceil(n / step) }, (_, i) => [
    ...data.subarray(i * step * d, (i * step + 1) * d),
  ])
  return vectorsOf(rows)
}
