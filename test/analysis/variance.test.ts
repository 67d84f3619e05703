import { describe, expect, it } from 'vitest'
import { varianceBetween } from '../../src/analysis/variance.ts'
import { randomStream } from '../../src/random/philox.ts'

describe('the share of variance between groups', () => {
  it('is that of the groups’ means, values that are none left out', () => {
    // Means 1 and 4 around 2.5: 9 of 2.5^2 + 0.5^2 + 0.5^2 + 2.5^2 = 13.
    const found = varianceBetween({ values: [0, 2, 3, 5, Number.NaN], groups: [4, 4, 9, 9, 9], seed: 0 })!
    expect(found.found).toBeCloseTo(9 / 13, 12)
    expect(varianceBetween({ values: [1, 1, 5, 5], groups: [0, 0, 1, 1], seed: 0 })!.found).toBeCloseTo(1, 12)
  })

  it('is large by chance where groups are small, and tells planted groups from that', () => {
    const groups = Array.from({ length: 60 }, (_, i) => Math.floor(i / 2))
    const stream = randomStream(2, 'test values')
    const noise = groups.map(() => stream.normal())
    const chance = varianceBetween({ values: noise, groups, seed: 1, permutations: 300 })!
    expect(chance.expected).toBeGreaterThan(0.4)
    expect(chance.p).toBeGreaterThan(0.02)
    const planted = noise.map((value, i) => value + 3 * Math.sin(groups[i]))
    expect(varianceBetween({ values: planted, groups, seed: 1, permutations: 300 })!.p).toBeLessThan(0.01)
  })

  it('is undefined where there is no variance', () => {
    expect(varianceBetween({ values: [1, 1, 1], groups: [0, 1, 1], seed: 0 })).toBeUndefined()
    expect(varianceBetween({ values: [1, Number.NaN, 2], groups: [0, 1, 1], seed: 0 })).toBeUndefined()
  })
})
