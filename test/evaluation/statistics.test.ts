import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareWith, pairedBootstrap } from '../../src/evaluation/statistics.ts'
import { studentProbability, studentQuantile } from '../../src/evaluation/student.ts'
import { randomStream } from '../../src/random/philox.ts'

/** differences[seed][row] = mean + effect of the seed + effect of the row + noise, all normal. */
function draw(seeds: number, rows: number, sizes: { mean?: number; seed?: number; row?: number }, id = 0) {
  const stream = randomStream(1, 'differences', id)
  const rowEffects = Float64Array.from({ length: rows }, () => (sizes.row ?? 0) * stream.normal())
  return Array.from({ length: seeds }, () => {
    const own = (sizes.mean ?? 0) + (sizes.seed ?? 0) * stream.normal()
    return rowEffects.map((effect) => own + effect + stream.normal())
  })
}

/** The definition, one resample after another, from the same words. */
function slowBootstrap(differences: Float64Array[], seed: number, resamples: number) {
  const [seeds, rows] = [differences.length, differences[0].length]
  const means = Array.from({ length: resamples }, (_, id) => {
    const seedStream = randomStream(seed, 'bootstrap-seeds', id)
    const drawnSeeds = differences.map(() => seedStream.below(seeds))
    const rowStream = randomStream(seed, 'bootstrap-rows', id)
    const drawnRows = Array.from(differences[0], () => Math.floor((rowStream.uint32() / 2 ** 32) * rows))
    let sum = 0
    for (const s of drawnSeeds) for (const row of drawnRows) sum += differences[s][row]
    return sum / (seeds * rows)
  }).sort((a, b) => a - b)
  const at = (share: number) => {
    const place = share * (resamples - 1)
    const below = Math.floor(place)
    return means[below] + (place - below) * ((means[below + 1] ?? means[below]) - means[below])
  }
  return { low: at(0.025), high: at(0.975) }
}

describe('the paired bootstrap', () => {
  it('equals its definition', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 30 }), fc.nat(1000), (seeds, rows, id) => {
        const differences = draw(seeds, rows, { seed: 0.5, row: 0.5 }, id)
        const fast = pairedBootstrap(differences, { seed: id, resamples: 150 })
        const slow = slowBootstrap(differences, id, 150)
        expect(fast.low).toBeCloseTo(slow.low, 10)
        expect(fast.high).toBeCloseTo(slow.high, 10)
      }),
      { numRuns: 30 },
    )
  })

  it('gives the standard error of the mean where only rows vary', () => {
    const { mean, low, high } = pairedBootstrap(draw(1, 2000, { mean: 0.1 }), { seed: 3 })
    expect((high - low) / 2).toBeCloseTo(1.96 / Math.sqrt(2000), 2)
    expect(low).toBeLessThan(mean)
    expect(high).toBeGreaterThan(mean)
  })

  it('is wider where seeds differ, and does not let rows hide it', () => {
    const width = (size: number) => {
      const { low, high } = pairedBootstrap(draw(5, 1000, { seed: size }), { seed: 3, resamples: 1000 })
      return high - low
    }
    expect(width(1)).toBeGreaterThan(5 * width(0))
  })

  it('does not count the same rows as new ones for each seed', () => {
    const rows = draw(1, 500, {})[0]
    const one = pairedBootstrap([rows], { seed: 1, resamples: 2000 })
    const four = pairedBootstrap([rows, rows, rows, rows], { seed: 1, resamples: 2000 })
    expect((four.high - four.low) / (one.high - one.low)).toBeCloseTo(1, 10)
  })

  it('gives the same bits again, others for another seed, and a narrower interval at a lower level', () => {
    const differences = draw(3, 200, { seed: 0.1 })
    const first = pairedBootstrap(differences, { seed: 1, resamples: 500 })
    expect(pairedBootstrap(differences, { seed: 1, resamples: 500 })).toEqual(first)
    expect(pairedBootstrap(differences, { seed: 2, resamples: 500 })).not.toEqual(first)
    const half = pairedBootstrap(differences, { seed: 1, resamples: 500, level: 0.5 })
    expect(half.high - half.low).toBeLessThan(first.high - first.low)
  })

  it('moves and scales with the differences', () => {
    const differences = draw(3, 100, { seed: 0.3 })
    const plain = pairedBootstrap(differences, { seed: 1, resamples: 300 })
    const moved = pairedBootstrap(
      differences.map((own) => own.map((value) => 4 * value + 2)),
      { seed: 1, resamples: 300 },
    )
    for (const key of ['mean', 'low', 'high'] as const) expect(moved[key]).toBeCloseTo(4 * plain[key] + 2, 9)
  })

  it.each([
    ['none', [], /no differences/],
    ['no rows', [new Float64Array(0)], /no differences/],
    ['unlike rows', [new Float64Array(3), new Float64Array(2)], /seed 1 has not the rows of seed 0.*2 rows/],
    ['not a number', [Float64Array.of(1, Number.NaN)], /row 1 of seed 0.*NaN/],
  ])('refuses %s', (_, differences, message) => {
    expect(() => pairedBootstrap(differences, { seed: 1 })).toThrow(message)
  })

  it('refuses options that give no interval', () => {
    expect(() => pairedBootstrap([Float64Array.of(1)], { seed: 1, resamples: 10 })).toThrow(/10 resamples/)
    expect(() => pairedBootstrap([Float64Array.of(1)], { seed: 1, level: 95 })).toThrow(/95 is no level/)
  })
})

describe('a verdict', () => {
  it('tells a clear difference', () => {
    const found = compareWith(draw(3, 1000, { mean: 0.5, seed: 0.02 }), { seed: 1, resamples: 1000 })
    expect(found).toMatchObject({ distinguishable: true, seeds: 3, rows: 1000 })
    expect(found.low).toBeGreaterThan(0)
  })

  it('does not take three seeds on one side of 0 for a difference, where they vary', () => {
    const rows = draw(1, 2000, {})[0]
    const differences = [0.1, 0.5, 1.2].map((effect) => rows.map((value) => 0.01 * value + effect))
    expect(pairedBootstrap(differences, { seed: 1, resamples: 1000 }).low).toBeGreaterThan(0)
    expect(compareWith(differences, { seed: 1, resamples: 1000 })).toMatchObject({ distinguishable: false })
  })

  it('tells nothing from itself, and nothing from too few rows', () => {
    const zero = [new Float64Array(100), new Float64Array(100)]
    expect(compareWith(zero, { seed: 1, resamples: 100 })).toMatchObject({ low: 0, high: 0, distinguishable: false })
    const all = (rows: number) => [new Float64Array(rows).fill(1)]
    expect(compareWith(all(5), { seed: 1, resamples: 100 }).distinguishable).toBe(false)
    expect(compareWith(all(6), { seed: 1, resamples: 100 }).distinguishable).toBe(true)
  })

  it('is the same seen from the other side', () => {
    const differences = draw(3, 300, { mean: 0.05, seed: 0.05 })
    const one = compareWith(differences, { seed: 1, resamples: 400 })
    const other = compareWith(
      differences.map((own) => own.map((value) => -value)),
      { seed: 1, resamples: 400 },
    )
    expect(other.low).toBeCloseTo(-one.high, 12)
    expect(other.distinguishable).toBe(one.distinguishable)
  })
})

describe("Student's t", () => {
  // scipy.stats.t.ppf(0.975, df), scipy 1.15.
  it.each([
    [1, 12.706204736174694],
    [2, 4.302652729749462],
    [3, 3.1824463052837078],
    [4, 2.7764451051977934],
    [30, 2.0422724563012378],
    [999, 1.9623414611334493],
    [20_000, 1.9600826051581348],
  ])('has the quantile of %d degrees of freedom', (df, expected) => {
    expect(studentQuantile(0.975, df)).toBeCloseTo(expected, 7)
    expect(studentQuantile(0.025, df)).toBeCloseTo(-expected, 7)
  })

  it('is the inverse of its probability', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 60 }), (p, df) => {
        expect(studentProbability(studentQuantile(p, df), df)).toBeCloseTo(p, 10)
      }),
    )
  })
})
