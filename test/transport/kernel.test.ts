import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { calibratedGradient } from '../../src/transport/gradient.ts'
import { referenceScores, referenceSinkhorn } from '../../src/transport/reference.ts'
import { openScorer } from '../../src/transport/scorer.ts'
import { type SinkhornOptions, sinkhorn, type TransportProblem } from '../../src/transport/sinkhorn.ts'
import { WebAssembly } from '../../src/webassembly/webassembly.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { clustered } from '../similarity/vectors.ts'
import { exactly, lowest, twoModes } from './transport.cases.ts'

const weights = (n: number, kind: number) =>
  kind === 0 ? undefined : Float64Array.from({ length: n }, (_, i) => 10 ** (kind * ((i * 7) % 5)))

/** Problems of every shape, with weights of up to 10^8 to 1. */
const anyProblem = fc
  .record({
    ...{ m: fc.integer({ min: 1, max: 40 }), n: fc.integer({ min: 1, max: 60 }), d: fc.integer({ min: 1, max: 20 }) },
    ...{ seed: fc.nat(10_000), spread: fc.constantFrom(0.1, 1), a: fc.constantFrom(0, 0.3), b: fc.constantFrom(0, 2) },
    ...{ scale: fc.constantFrom(1, 1, 30), shift: fc.constantFrom(0, 5) },
  })
  .map(({ m, n, d, seed, spread, a, b, scale, shift }) => {
    const problem: TransportProblem = {
      targets: clustered(m, d, { seed, spread }),
      candidates: clustered(n, d, { seed: seed + 1, spread }),
      ...{ targetWeights: weights(m, a), candidateWeights: weights(n, b) },
    }
    for (const { data } of [problem.targets, problem.candidates])
      for (let i = 0; i < data.length; i++) data[i] = scale * (data[i] + shift)
    return { problem, scale }
  })

describe('the kernel', () => {
  it('follows the reference iteration by iteration', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyProblem,
        fc.record({
          ...{ share: fc.constantFrom(0.02, 0.1, 1), iterations: fc.integer({ min: 1, max: 12 }) },
          ...{ memoryLimit: fc.constantFrom(0, 2 ** 30), unbalanced: fc.constantFrom(undefined, 0.5) },
        }),
        async ({ problem, scale }, { share, iterations, memoryLimit, unbalanced }) => {
          const square = scale ** 2
          const options: SinkhornOptions = {
            ...{ epsilon: share * square, iterations, memoryLimit, relaxation: 1, threshold: 0 },
            unbalanced: unbalanced === undefined ? undefined : unbalanced * square,
          }
          const found = await sinkhorn(problem, options)
          const truth = referenceSinkhorn(problem, options)
          // Unit vectors 5 off the origin, taken relative to the targets' mean: float32 has their costs to 1e-6.
          const [f, g] = [found.targetPotential, found.candidatePotential]
          f.forEach((value, i) => {
            expect(value / square).toBeCloseTo(truth.targetPotential[i] / square, 4.5)
          })
          g.forEach((value, j) => {
            expect(value / square).toBeCloseTo(truth.candidatePotential[j] / square, 4.5)
          })
          expect(found.transportCost / square).toBeCloseTo(truth.transportCost / square, 3.5)
          expect(found.regularisedCost / square).toBeCloseTo(truth.regularisedCost / square, 3.5)
          if (iterations > 1 && truth.marginalError > 1e-4)
            expect(found.marginalError / truth.marginalError).toBeCloseTo(1, 2)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('meets the same end as the reference from a start on samples, relaxed', async () => {
    const [targets, candidates] = [clustered(20, 8, { seed: 1 }), clustered(8200, 8, { seed: 2 })]
    const found = await sinkhorn({ targets, candidates }, { ...exactly, epsilon: 0.1 })
    const truth = referenceSinkhorn({ targets, candidates }, { ...exactly, epsilon: 0.1, relaxation: 1.5 })
    const [a, b] = [found, truth].map((result) => calibratedGradient(result.candidatePotential))
    expect(Math.max(...a.map((value, j) => Math.abs(value - b[j])))).toBeLessThan(5e-6)
    expect(found.regularisedCost).toBeCloseTo(truth.regularisedCost, 6)
    expect(found.iterations).toBeLessThan(truth.iterations)
  })

  it('takes sums over long rows of targets in float64', async () => {
    const [targets, candidates] = [clustered(3001, 4, { seed: 1 }), clustered(70, 4, { seed: 2 })]
    const options = { epsilon: 0.2, iterations: 4, threshold: 0, relaxation: 1 }
    const [found, truth] = [
      await sinkhorn({ targets, candidates }, options),
      referenceSinkhorn({ targets, candidates }, options),
    ]
    found.candidatePotential.forEach((value, j) => {
      expect(value).toBeCloseTo(truth.candidatePotential[j], 6)
    })
  })

  it.each([
    { epsilon: 1e-4, why: 'an epsilon far below the costs' },
    { epsilon: 0.01, why: 'a small epsilon' },
  ])('follows the reference at $epsilon, where sums leave float32', async ({ epsilon }) => {
    const problem = { targets: clustered(30, 6, { seed: 1 }), candidates: clustered(50, 6, { seed: 2 }) }
    for (const memoryLimit of [0, 2 ** 30]) {
      const options = { epsilon, iterations: 25, threshold: 0, relaxation: 1, memoryLimit }
      const [found, truth] = [await sinkhorn(problem, options), referenceSinkhorn(problem, options)]
      found.candidatePotential.forEach((value, j) => {
        expect(value).toBeCloseTo(truth.candidatePotential[j], 5)
      })
    }
  })

  it('has the same bits whether costs are kept or computed again', async () => {
    const problem = { targets: clustered(60, 40, { seed: 1 }), candidates: clustered(500, 40, { seed: 2 }) }
    // 64 columns of 500 rows take 128,000 bytes: once or twice.
    const [kept, again] = [256_000, 255_999].map((memoryLimit) =>
      sinkhorn(problem, { epsilon: 0.002, iterations: 60, threshold: 0, memoryLimit }),
    )
    expect(await kept).toEqual(await again)
    expect((await kept).stored).toBe(true)
  })

  it('agrees without fused multiply-add too', async () => {
    const problem = { targets: clustered(60, 10, { seed: 1 }), candidates: clustered(200, 10, { seed: 2 }) }
    const options = { ...exactly, epsilon: 0.1 }
    const fused = await sinkhorn(problem, options)
    const refuse = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false)
    try {
      const plain = await sinkhorn(problem, options)
      expect(refuse).toHaveBeenCalledOnce()
      plain.candidatePotential.forEach((value, j) => {
        expect(value).toBeCloseTo(fused.candidatePotential[j], 5)
      })
    } finally {
      refuse.mockRestore()
    }
  })

  it('scores blocks as the reference does', async () => {
    await fc.assert(
      fc.asyncProperty(anyProblem, async ({ problem: { targets, candidates, targetWeights }, scale }) => {
        const solved = {
          ...{ targets, targetWeights, epsilon: 0.1 * scale ** 2 },
          targetPotential: Float64Array.from({ length: targets.n }, (_, i) => scale ** 2 * Math.sin(i)),
        }
        await using scorer = await openScorer(solved, { blockRows: 60 })
        const [found, truth] = [await scorer.score(candidates.data), referenceScores(solved, candidates.data)]
        found.potential.forEach((value, j) => {
          expect(value / scale ** 2).toBeCloseTo(truth.potential[j] / scale ** 2, 5)
          expect(found.nearestCost[j] / scale ** 2).toBeCloseTo(truth.nearestCost[j] / scale ** 2, 5)
        })
      }),
      { numRuns: 40 },
    )
  })

  it('scores a row the same in any block', async () => {
    const [targets, candidates] = [clustered(50, 7, { seed: 1 }), clustered(300, 7, { seed: 2 })]
    const solved = { targets, targetPotential: new Float64Array(50), epsilon: 0.1 }
    await using scorer = await openScorer(solved, { blockRows: 300 })
    const whole = await scorer.score(candidates.data)
    const parts = await Promise.all(
      [0, 1, 130].map((first, at) => scorer.score(candidates.data.slice(first * 7, [1, 130, 300][at] * 7))),
    )
    expect(parts.flatMap(({ potential }) => [...potential])).toEqual([...whole.potential])
    expect(parts.flatMap(({ nearest }) => [...nearest])).toEqual([...whole.nearest])
    expect((await scorer.score(new Float32Array())).potential.length).toBe(0)
    await expect(scorer.score(new Float32Array(8))).rejects.toThrow('rows of 7, at most 300')
    await expect(scorer.score(new Float32Array(7).fill(NaN))).rejects.toMatchObject({
      fault: { code: 'vectors-not-finite' },
    })
  })
})

describe('threads', () => {
  it.each([
    ['stored', undefined, undefined],
    ['computed anew', 0, undefined],
    ['unbalanced', undefined, 0.5],
  ])('give the same bits for 1, 2 and 3, the kernel %s', async (_, memoryLimit, unbalanced) => {
    const problem = { targets: clustered(300, 70, { seed: 1 }), candidates: clustered(9000, 70, { seed: 2 }) }
    const options = { epsilon: 0.05, memoryLimit, unbalanced, iterations: 12, threshold: 0 }
    const alone = await sinkhorn(problem, options)
    for (const threads of [2, 3])
      expect(await sinkhorn(problem, { ...options, parallel: gatheredThreads(threads) })).toEqual(alone)
  })

  it('give the same scores for 1, 2 and 3', async () => {
    const [targets, candidates] = [clustered(300, 70, { seed: 1 }), clustered(5000, 70, { seed: 2 })]
    const solved = { targets, targetPotential: new Float64Array(300).map((_, i) => i % 2), epsilon: 0.05 }
    const scores = async (threads: number) => {
      await using scorer = await openScorer(solved, { parallel: gatheredThreads(threads) })
      return await scorer.score(candidates.data)
    }
    const alone = await scores(1)
    expect(await scores(2)).toEqual(alone)
    expect(await scores(3)).toEqual(alone)
  })
})

describe('transport', () => {
  it('reports its iterations, and stops when aborted, with the reason', async () => {
    const problem = { targets: clustered(30, 5, { seed: 1 }), candidates: clustered(40, 5, { seed: 2 }) }
    const stop = new AbortController()
    const seen: number[] = []
    const running = sinkhorn(problem, {
      ...{ epsilon: 0.01, threshold: 0, signal: stop.signal },
      onProgress: ({ iteration, iterations, marginalError, rankChange }) => {
        seen.push(iteration)
        expect(iterations).toBe(2000)
        expect(marginalError).toBeGreaterThan(0)
        expect(rankChange).toBeUndefined()
        if (iteration === 4) stop.abort(new Error('enough'))
      },
    })
    await expect(running).rejects.toThrow('enough')
    expect(seen).toEqual([1, 2, 3, 4])
  })

  it('goes on until the ranking is steady, unless told not to', async () => {
    const problem = { targets: clustered(60, 6, { seed: 1 }), candidates: clustered(400, 6, { seed: 2 }) }
    const [seen, options] = [[] as (number | undefined)[], { epsilon: 0.02, threshold: 0.3, relaxation: 1 }]
    const steady = await sinkhorn(problem, { ...options, onProgress: ({ rankChange }) => seen.push(rankChange) })
    const hasty = await sinkhorn(problem, { ...options, rankTolerance: Infinity })
    expect(hasty.converged && steady.converged).toBe(true)
    expect(hasty.iterations).toBeLessThan(steady.iterations)
    expect(seen.at(-1)).toBeLessThanOrEqual(1e-4)
  })

  it.each([0.1, 1, 5])('picks the mode that a pool of 2,000 lacks, epsilon %s', async (epsilon) => {
    // Of other seeds some have a wide row that happens to lie in B.
    const { candidates, targets, isB } = twoModes(2, [1800, 100, 100, 100])
    const { candidatePotential } = await sinkhorn({ targets, candidates }, { epsilon })
    expect(lowest(candidatePotential, 100).filter(isB).length).toBe(100)
    // Nearest neighbours are the same with all targets' potentials alike.
    const solved = { targets, targetPotential: new Float64Array(100), epsilon: 1e-3 }
    await using scorer = await openScorer(solved)
    const nearest = lowest((await scorer.score(candidates.data)).potential, 100)
    expect(nearest.filter(isB).length).toBeLessThan(10)
  })

  it('goes on plainly where a relaxation diverges', async () => {
    const problem = { targets: clustered(40, 6, { seed: 1 }), candidates: clustered(90, 6, { seed: 2 }) }
    const result = await sinkhorn(problem, { epsilon: 0.2, relaxation: 1.99 })
    expect(result.converged).toBe(true)
    expect(result.relaxation).toBe(1)
  })

  it('says how much memory it lacks', async () => {
    const rows = { data: new Float32Array(2 ** 16), n: 2 ** 16, d: 1 }
    const running = sinkhorn({ targets: rows, candidates: rows }, { epsilon: 1, memoryLimit: Infinity })
    await expect(running).rejects.toMatchObject({ fault: { code: 'memory' } })
  })

  it('refuses vectors whose distances float32 cannot hold', async () => {
    const far = { data: Float32Array.of(0, 3e38, -3e38), n: 3, d: 1 }
    const near = { data: Float32Array.of(0, 1), n: 2, d: 1 }
    for (const [targets, candidates] of [
      [far, near],
      [near, far],
    ])
      await expect(sinkhorn({ targets, candidates }, { epsilon: 1 })).rejects.toMatchObject({
        fault: { code: 'vectors-too-long' },
      })
  })
})
