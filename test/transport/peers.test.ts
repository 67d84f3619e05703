import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Vectors } from '../../src/similarity/vectors.ts'
import { squaredCost } from '../../src/transport/cost.ts'
import { referenceSinkhorn } from '../../src/transport/reference.ts'
import { type SinkhornOptions, sinkhorn, type Transport, type TransportProblem } from '../../src/transport/sinkhorn.ts'
import { exactly } from './transport.cases.ts'

interface Problem {
  m: number
  n: number
  d: number
  /** base64 of float32. */
  targets: string
  candidates: string
  targetWeights: number[]
  candidateWeights: number[]
}

interface Case {
  name: string
  problem: number
  epsilon: number
  unbalanced?: number
  /** Potentials less their mean; the plan's first two rows. */
  pot: { potential?: number[]; plan: number[]; transportCost: number }
  ott?: { potential: number[] }
}

const url = new URL('../fixtures/transport/peers.json', import.meta.url)
const { problems, cases }: { problems: Problem[]; cases: Case[] } = JSON.parse(readFileSync(url, 'utf8'))

function vectors(text: string, n: number, d: number): Vectors {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'))
  return { data: new Float32Array(bytes.buffer), n, d }
}

const implementations: [string, (p: TransportProblem, o: SinkhornOptions) => Transport | Promise<Transport>][] = [
  ['the reference', referenceSinkhorn],
  ['the kernel, stored', sinkhorn],
  ['the kernel, computed anew', (problem, options) => sinkhorn(problem, { ...options, memoryLimit: 0 })],
]

describe.each(implementations)('%s agrees with POT and ott-jax', (_, solve) => {
  it.each(cases.map((item) => [item.name, item] as const))('on %s', async (_, item) => {
    const { m, n, d, ...given } = problems[item.problem]
    const [targets, candidates] = [vectors(given.targets, m, d), vectors(given.candidates, n, d)]
    const [targetWeights, candidateWeights] = [given.targetWeights, given.candidateWeights].map((w) =>
      Float64Array.from(w),
    )
    const { epsilon, unbalanced } = item
    // As far as it goes: float32 ends at some 1e-7.
    const problem = { targets, candidates, targetWeights, candidateWeights }
    const found = await solve(problem, { ...exactly, threshold: 1e-9, epsilon, unbalanced })
    const { targetPotential: f, candidatePotential: g } = found
    const mean = g.reduce((sum, value) => sum + value, 0) / n
    for (const peer of [item.pot.potential, item.ott?.potential])
      peer?.forEach((value, j) => {
        expect(Math.abs(g[j] - mean - value)).toBeLessThan(1e-5)
      })
    expect(Math.abs(found.transportCost / item.pot.transportCost - 1)).toBeLessThan(2e-5)
    const share = (weights: Float64Array, i: number) => weights[i] / weights.reduce((sum, weight) => sum + weight, 0)
    item.pot.plan.forEach((flow, at) => {
      const [i, j] = [Math.floor(at / n), at % n]
      const density = Math.exp((f[i] + g[j] - squaredCost(targets, i, candidates, j)) / epsilon)
      const here = share(targetWeights, i) * share(candidateWeights, j) * density
      expect(Math.abs(here - flow)).toBeLessThan(1e-6)
    })
  })
})
