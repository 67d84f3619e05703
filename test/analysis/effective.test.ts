import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { effectiveFigure } from '../../scripts/effective-figure.ts'
import { lowest, modeProblem } from '../../scripts/mode-figure.ts'
import { effectiveCosts, effectiveSlope, effectiveWeights } from '../../src/analysis/effective.ts'
import { randomStream, sample } from '../../src/random/philox.ts'
import { sinkhorn } from '../../src/transport/sinkhorn.ts'

describe('the weights of an effective distribution', () => {
  it('mix the pick into the pool and sum to 1', () => {
    expect(Array.from(effectiveWeights(4, [1, 3], 0.5))).toEqual([0.125, 0.375, 0.125, 0.375])
    expect(Array.from(effectiveWeights(4, [1, 3], 0))).toEqual([0.25, 0.25, 0.25, 0.25])
    expect(Array.from(effectiveWeights(4, [1, 3], 1))).toEqual([0, 0.5, 0, 0.5])
    expect(() => effectiveWeights(4, [1], 1.1)).toThrow(RangeError)
  })
})

const rows = (points: readonly Float64Array[]) => ({
  data: Float32Array.from(points.flatMap((point) => Array.from(point))),
  n: points.length,
  d: points[0].length,
})

describe('the cost of an effective distribution, on the mode problem', async () => {
  const problem = modeProblem(3)
  const [pool, target] = [rows(problem.pool), rows(problem.target)]
  const options = { epsilon: 1, threshold: 1e-7 }
  const { candidatePotential, regularisedCost } = await sinkhorn({ targets: target, candidates: pool }, options)
  const every = Uint32Array.from({ length: pool.n }, (_, row) => row)
  const gotD = lowest(candidatePotential)
  const random = sample(every, 100, randomStream(3, 'test pick'))
  const costs = (pick: ArrayLike<number>, lambdas: number[]) => effectiveCosts({ pool, target, pick, lambdas, options })

  it('begins at that of the pool, and falls with the slope of the gradients', async () => {
    for (const pick of [gotD, random]) {
      const [none, little] = await costs(pick, [0, 1e-3])
      expect(none.regularisedCost).toBeCloseTo(regularisedCost, 5)
      const slope = effectiveSlope(candidatePotential, pick)
      // The cost is convex in lambda: a step's slope is no lower than that at its beginning.
      expect((little.regularisedCost - none.regularisedCost) / 1e-3).toBeGreaterThan(slope - 0.02)
      expect((little.regularisedCost - none.regularisedCost) / 1e-3).toBeLessThan(slope + 0.1)
    }
    expect(effectiveSlope(candidatePotential, every)).toBeCloseTo(0, 9)
  })

  it('falls faster for the lowest gradients than for any other pick of as many rows', async () => {
    const slope = effectiveSlope(candidatePotential, gotD)
    for (let id = 0; id < 20; id++)
      expect(slope).toBeLessThan(effectiveSlope(candidatePotential, sample(every, 100, randomStream(id, 'test picks'))))
    const [, ours] = await costs(gotD, [0, 0.3])
    const [, other] = await costs(random, [0, 0.3])
    expect(ours.transportCost).toBeLessThan(0.6 * other.transportCost)
  })

  it('rises again where the pick alone is left: the gradients are of the pool as it is', async () => {
    const [half, all] = await costs(gotD, [0.5, 1])
    expect(all.transportCost).toBeGreaterThan(1.5 * half.transportCost)
  })
})

describe('the effective figure', () => {
  it('in the docs is what the script draws', async () => {
    const file = new URL('../../docs/figures/effective.svg', import.meta.url)
    expect(await effectiveFigure()).toBe(readFileSync(file, 'utf8'))
  })
})
