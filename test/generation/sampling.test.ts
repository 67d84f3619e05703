import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { distribution, likeliest, type Sampling, sampleToken } from '../../src/generation/sampling.ts'

const logits = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log)
const kept = (from: Float32Array, sampling: Partial<Sampling>) => {
  const { ids, weights, total } = distribution(from, { temperature: 1, seed: 0, ...sampling })
  return Object.fromEntries(Array.from(ids, (id, i) => [id, weights[i] / total]))
}

/** The nucleus by its definition: every token sorted, taken until the mass is reached. */
function reference(from: Float32Array, { temperature, topP = 1, topK = from.length }: Sampling): number[] {
  const peak = Math.max(...from)
  const all = Array.from(from, (logit, id) => ({ id, weight: Math.exp((logit - peak) / temperature) }))
  const ordered = all.toSorted((a, b) => b.weight - a.weight || a.id - b.id).slice(0, topK)
  const total = (topK < from.length ? ordered : all).reduce((sum, { weight }) => sum + weight, 0)
  const ids: number[] = []
  let mass = 0
  for (const { id, weight } of ordered) {
    if (ids.length > 0 && topP < 1 && mass >= topP * total) break
    ids.push(id)
    mass += weight
  }
  return ids.sort((a, b) => a - b)
}

const anyLogits = fc
  .array(fc.integer({ min: -40, max: 40 }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values, (x) => x / 8))

describe('the distribution that is sampled', () => {
  it('is the softmax of the logits over the temperature', () => {
    const found = kept(logits(0.1, 0.6, 0.3), { temperature: 2 })
    const roots = [0.1, 0.6, 0.3].map(Math.sqrt)
    const total = roots.reduce((a, b) => a + b)
    roots.forEach((root, id) => {
      expect(found[id]).toBeCloseTo(root / total, 6)
    })
  })

  it('keeps the smallest set of likeliest tokens with a mass of p', () => {
    const from = logits(0.05, 0.5, 0.15, 0.3)
    expect(Object.keys(kept(from, { topP: 0.49 }))).toEqual(['1'])
    expect(Object.keys(kept(from, { topP: 0.51 }))).toEqual(['1', '3'])
    expect(Object.keys(kept(from, { topP: 0.94 }))).toEqual(['1', '2', '3'])
    expect(Object.keys(kept(from, { topP: 0.96 }))).toEqual(['0', '1', '2', '3'])
    expect(kept(from, { topP: 0.51 })[1]).toBeCloseTo(0.625, 6)
  })

  it('keeps the likeliest token whatever p, and all of them at p = 1', () => {
    expect(Object.keys(kept(logits(0.2, 0.3, 0.5), { topP: 1e-300 }))).toEqual(['2'])
    expect(Object.keys(kept(logits(1e-30, 1, 1e-20), { topP: 1 }))).toEqual(['0', '1', '2'])
  })

  it('of equal tokens takes the lower ids', () => {
    expect(Object.keys(kept(new Float32Array(8), { topP: 0.4 }))).toEqual(['0', '1', '2', '3'])
    expect(Object.keys(kept(new Float32Array(8), { topK: 3 }))).toEqual(['0', '1', '2'])
  })

  it('takes the nucleus of what top-k left', () => {
    const from = logits(0.4, 0.3, 0.2, 0.1)
    // 0.4 and 0.3 are 0.78 of the three, 0.7 of the four.
    expect(Object.keys(kept(from, { topK: 3, topP: 0.75 }))).toEqual(['0', '1'])
    expect(Object.keys(kept(from, { topP: 0.75 }))).toEqual(['0', '1', '2'])
  })

  it('is what its definition says, for any logits', () => {
    fc.assert(
      fc.property(
        anyLogits,
        // Next to 1 the rounding of the sums decides whether the mass is ever reached.
        fc.oneof(fc.constant(1), fc.double({ min: 0.001, max: 1 - 1e-9, noNaN: true })),
        fc.option(fc.integer({ min: 1, max: 70 }), { nil: undefined }),
        fc.double({ min: 0.05, max: 4, noNaN: true }),
        (from, topP, topK, temperature) => {
          const sampling = { temperature, topP, topK, seed: 0 }
          const { ids, weights, total } = distribution(from, sampling)
          expect([...ids].sort((a, b) => a - b)).toEqual(reference(from, sampling))
          expect(weights.reduce((a, b) => a + b)).toBeCloseTo(total, 9)
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('a draw', () => {
  const sampling = { temperature: 1, seed: 11 }
  const from = logits(0.5, 0.25, 0.125, 0.125)

  it('is a function of seed, prompt, sample and position', () => {
    const draws = (change: Partial<Sampling> & { prompt?: number; sample?: number }) => {
      const { prompt = 0, sample = 0, ...rest } = change
      return Array.from({ length: 40 }, (_, position) =>
        sampleToken(from, { ...sampling, ...rest }, { prompt, sample, position }),
      )
    }
    expect(draws({})).toEqual(draws({}))
    const others = [draws({}), draws({ seed: 12 }), draws({ prompt: 1 }), draws({ sample: 1 })]
    expect(new Set(others.map(String)).size).toBe(4)
  })

  it('comes as often as it is likely', () => {
    const counts = new Float64Array(4)
    const draws = 20_000
    for (let prompt = 0; prompt < draws; prompt++)
      counts[sampleToken(from, sampling, { prompt, sample: 2, position: 3 })]++
    const expected = [0.5, 0.25, 0.125, 0.125].map((p) => p * draws)
    const chi = expected.reduce((sum, e, id) => sum + (counts[id] - e) ** 2 / e, 0)
    // The 99.9 % point of chi-squared with 3 degrees of freedom.
    expect(chi).toBeLessThan(16.27)
  })

  it('never falls on a token without weight', () => {
    const certain = Float32Array.of(-1e4, 0, -1e4)
    for (let prompt = 0; prompt < 100; prompt++)
      expect(sampleToken(certain, sampling, { prompt, sample: 0, position: 0 })).toBe(1)
  })

  it('at temperature 0 is the likeliest token, the lowest of equal ones', () => {
    expect(likeliest(Float32Array.of(1, 3, 3, 2))).toBe(1)
    expect(
      sampleToken(Float32Array.of(1, 3, 3, 2), { temperature: 0, seed: 0 }, { prompt: 0, sample: 0, position: 0 }),
    ).toBe(1)
  })
})
