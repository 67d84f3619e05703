import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gradientSimilarity, sampleGroups } from '../../src/analysis/gradient-similarity.ts'
import { randomStream } from '../../src/random/philox.ts'
import { referenceGram } from '../../src/training/gradient-gram.ts'

/** Inner products of vectors in 20 dimensions: noise, and `strength` times a direction for each of `of`. */
function gramOf(seed: number, of: readonly number[], strength: number): Float64Array {
  const stream = randomStream(seed, 'test gradients')
  const vectors = new Float32Array(of.length * 20)
  of.forEach((direction, i) => {
    for (let k = 0; k < 20; k++) vectors[i * 20 + k] = stream.normal() + (k === direction ? strength : 0)
  })
  return referenceGram(vectors, of.length)
}

const groups = Array.from({ length: 40 }, (_, i) => Math.floor(i / 5))

describe('the similarity of gradients within groups', () => {
  it('is the mean cosine of pairs, whatever the lengths of the gradients', () => {
    const vectors = Float32Array.of(1, 0, 3, 0, 0, 2, 0, -5)
    const gram = referenceGram(vectors, 4)
    const test = gradientSimilarity({ gram, groups: [7, 7, 9, 9], seed: 0, permutations: 50, resamples: 50 })
    expect(test).toMatchObject({ within: 0, across: 0, pairs: { within: 2, across: 4 }, groups: 2 })
    const same = gradientSimilarity({ gram, groups: [7, 7, 8, 9], seed: 0, permutations: 50, resamples: 50 })
    // Pair (0, 1) is parallel; of the five others only (2, 3) is not orthogonal: opposite.
    expect(same).toMatchObject({
      within: 1,
      across: -1 / 5,
      median: { within: 1, across: 0 },
      pairs: { within: 1, across: 5 },
    })
  })

  it('is found where groups share a direction', () => {
    const test = gradientSimilarity({ gram: gramOf(1, groups, 2), groups, seed: 1, permutations: 300, resamples: 300 })
    expect(test!.difference).toBeGreaterThan(0.05)
    expect(test!.interval[0]).toBeGreaterThan(0)
    expect(test!.p).toBeLessThan(0.01)
  })

  it('is rarely found in noise', () => {
    const tests = Array.from(
      { length: 20 },
      (_, seed) =>
        gradientSimilarity({ gram: gramOf(seed, groups, 0), groups, seed, permutations: 200, resamples: 200 })!,
    )
    expect(tests.filter(({ p }) => p < 0.05).length).toBeLessThanOrEqual(4)
    expect(tests.filter(({ interval: [low] }) => low > 0).length).toBeLessThanOrEqual(5)
  })

  it('inside strata does not count what the strata alone explain', () => {
    // Gradients go by stratum; each stratum has four groups that say nothing further.
    const strata = groups.map((group) => Math.floor(group / 4))
    const gram = gramOf(5, strata, 3)
    const of = { gram, groups, seed: 1, permutations: 300, resamples: 300 }
    expect(gradientSimilarity(of)!.p).toBeLessThan(0.01)
    const inside = gradientSimilarity({ ...of, strata })!
    expect(inside.p).toBeGreaterThan(0.05)
    expect(inside.pairs.within + inside.pairs.across).toBe(2 * ((20 * 19) / 2))
  })

  it('leaves out examples without a gradient, and is undefined where no pair is left', () => {
    const gram = referenceGram(Float32Array.of(0, 0, 1, 1, 1, 1, 1, 0), 4)
    const of = { gram, seed: 0, permutations: 20, resamples: 20 }
    expect(gradientSimilarity({ ...of, groups: [1, 1, 2, 2] })).toBeDefined()
    expect(gradientSimilarity({ ...of, groups: [1, 1, 2, 3] })).toBeUndefined()
    expect(gradientSimilarity({ ...of, groups: [1, 1, 1, 1] })).toBeUndefined()
  })

  it('is the same for the same seed, and does not depend on the names of groups', () => {
    const gram = gramOf(2, groups, 1)
    const of = { gram, seed: 4, permutations: 100, resamples: 100 }
    expect(gradientSimilarity({ ...of, groups })).toEqual(gradientSimilarity({ ...of, groups }))
    const named = gradientSimilarity({ ...of, groups: groups.map((group) => 1000 + 3 * group) })
    expect(named).toEqual(gradientSimilarity({ ...of, groups }))
  })
})

describe('the sample of rows to compare', () => {
  it('has as many rows of each group as fit, at least two, each once', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(8), { minLength: 1, maxLength: 80 }),
        fc.integer({ min: 0, max: 60 }),
        fc.nat(5),
        (groups, size, seed) => {
          const eligible = Uint32Array.from(groups.keys()).filter((row) => row % 5 !== 0)
          const sample = sampleGroups({ groups, eligible, size, seed })
          expect(sample.rows.length).toBeLessThanOrEqual(size)
          expect(new Set(sample.rows).size).toBe(sample.rows.length)
          sample.rows.forEach((row, i) => {
            expect(sample.groups[i]).toBe(groups[row])
            expect(row % 5).not.toBe(0)
          })
          for (const group of new Set(sample.groups)) {
            const taken = sample.groups.filter((one) => one === group).length
            expect(taken).toBeGreaterThanOrEqual(2)
          }
          expect(sampleGroups({ groups, eligible, size, seed })).toEqual(sample)
        },
      ),
    )
  })

  it('draws groups where two rows of each are too many', () => {
    const groups = Array.from({ length: 100 }, (_, row) => Math.floor(row / 4))
    const eligible = Uint32Array.from(groups.keys())
    const sample = sampleGroups({ groups, eligible, size: 11, seed: 3 })
    expect(sample.rows).toHaveLength(10)
    expect(new Set(sample.groups).size).toBe(5)
  })
})
