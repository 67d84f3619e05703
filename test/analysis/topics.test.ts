import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { entropy, topicShift, topicsOfClusters, totalVariation } from '../../src/analysis/topics.ts'
import { randomStream, shuffle } from '../../src/random/philox.ts'

const NONE = 0xffffffff

describe('the topics of clusters', () => {
  it('are the commonest of each, weighted by rows, without rows in no cluster', () => {
    const found = topicsOfClusters({
      assignment: [0, 0, 0, 2, 2, NONE],
      none: NONE,
      topics: [1, 1, 0, 2, 0, 2],
      topicCount: 3,
      seed: 1,
    })
    expect(found.clusters).toEqual([
      { cluster: 0, rows: 3, topic: 1, share: 2 / 3 },
      { cluster: 2, rows: 2, topic: 0, share: 1 / 2 },
    ])
    expect(found.top1.found).toBeCloseTo(3 / 5, 12)
    expect(found.commonest).toBeCloseTo(2 / 5, 12)
  })

  it('are no surprise where labels are shuffled, and one where clusters are the topics', () => {
    const topics = Uint32Array.from({ length: 400 }, (_, row) => row % 4)
    const shuffled = shuffle(topics.slice(), randomStream(3, 'test'))
    const of = (assignment: Uint32Array) =>
      topicsOfClusters({ assignment, none: NONE, topics, topicCount: 4, seed: 2 }).top1
    const chance = of(shuffled)
    expect(chance.found).toBeGreaterThan(chance.low - 0.02)
    expect(chance.found).toBeLessThan(chance.high + 0.02)
    expect(of(topics)).toMatchObject({ found: 1, p: 1 / 201 })
    // The commonest of four topics has a quarter at least, and more by chance.
    expect(chance.expected).toBeGreaterThan(0.25)
    expect(chance.expected).toBeLessThan(0.35)
  })

  it('have full shares in clusters of one row, and so by chance', () => {
    const assignment = Uint32Array.from({ length: 20 }, (_, row) => row)
    const topics = assignment.map((row) => row % 3)
    const { top1 } = topicsOfClusters({ assignment, none: NONE, topics, topicCount: 3, seed: 1, draws: 20 })
    expect(top1).toMatchObject({ found: 1, expected: 1, p: 1 })
  })
})

describe('topics before and after', () => {
  it('are counted, with entropy and total variation', () => {
    const shift = topicShift({
      topics: [0, 0, 0, 1, 1, 2],
      topicCount: 3,
      selected: Uint32Array.of(0, 3, 5),
      draws: 50,
      seed: 0,
    })
    expect(shift.pool).toEqual([3, 2, 1])
    expect(shift.picked).toEqual([1, 1, 1])
    expect(shift.entropy.found).toBeCloseTo(Math.log(3), 12)
    expect(shift.variation.found).toBeCloseTo(1 / 6, 12)
    expect(shift.entropy.high).toBeLessThanOrEqual(Math.log(3) + 1e-12)
  })

  it('of a pick of everything are those of the pool', () => {
    const topics = Uint32Array.from({ length: 30 }, (_, row) => row % 7)
    const everything = Uint32Array.from(topics.keys())
    const shift = topicShift({ topics, topicCount: 7, selected: everything, draws: 20, seed: 0 })
    expect(shift.variation).toMatchObject({ found: 0, expected: 0 })
    expect(shift.entropy.found).toBe(shift.poolEntropy)
  })

  it('differ from the pool by more where a pick is of one topic than chance would', () => {
    const topics = Uint32Array.from({ length: 300 }, (_, row) => Number(row >= 150))
    const { variation, entropy: of } = topicShift({
      topics,
      topicCount: 2,
      selected: Uint32Array.from({ length: 50 }, (_, row) => row),
      seed: 0,
    })
    expect(variation.found).toBe(0.5)
    expect(variation.found).toBeGreaterThan(variation.high)
    expect(of.found).toBe(0)
    expect(of.found).toBeLessThan(of.low)
  })

  it('entropy is at most log of the topics, variation a distance in [0, 1]', () => {
    const counts = fc.array(fc.nat(20), { minLength: 3, maxLength: 3 }).filter((of) => of.some((count) => count > 0))
    fc.assert(
      fc.property(counts, counts, counts, (a, b, c) => {
        expect(entropy(a)).toBeLessThanOrEqual(Math.log(3) + 1e-12)
        expect(entropy(a)).toBeGreaterThanOrEqual(0)
        expect(totalVariation(a, b)).toBeCloseTo(totalVariation(b, a), 12)
        expect(totalVariation(a, b)).toBeLessThanOrEqual(1)
        expect(totalVariation(a, c)).toBeLessThanOrEqual(totalVariation(a, b) + totalVariation(b, c) + 1e-12)
      }),
    )
  })
})
