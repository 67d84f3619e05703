import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Comparison } from '../../src/evaluation/comparison.ts'
import { pairedDifferences, type Summary, summarise } from '../../src/evaluation/summary.ts'
import { EXACT, madeUp, NLL, threeErrors } from './comparisons.ts'

const summaryOf = (comparison: Comparison) => summarise(comparison, { compareWith: threeErrors })
const average = (summary: Summary, method: string, budget: number, metric = 'nll') =>
  summary.rows
    .find((row) => row.method === method && row.budget === budget)!
    .scores.find((score) => score.metric === metric && score.test === null)!

/** Two tests of 2 and 1 rows, two seeds, every score as given: [seed][test][row]. */
function small(scores: Record<string, number[][][]>, rest: Partial<Comparison> = {}): Comparison {
  return madeUp({
    ...{ methods: Object.fromEntries(Object.keys(scores).map((label) => [label, 0])), budgets: ['10%'] },
    ...{ seeds: [1, 2], tests: { a: 2, b: 1 }, references: false },
    score: (_value, { method, seed }, test, row) => scores[method][seed - 1][test === 'a' ? 0 : 1][row],
    rest,
  })
}

describe('summarise', () => {
  it('means over rows, over tests each counted once, and over seeds; the deviation is that of a sample', () => {
    const summary = summaryOf(
      small({
        random: [
          [[1, 3], [10]],
          [[3, 5], [12]],
        ],
      }),
    )
    const [a, b, all] = summary.rows[0].scores
    expect(a).toMatchObject({ test: 'a', mean: 3, values: [2, 4] })
    expect(b).toMatchObject({ test: 'b', mean: 11, values: [10, 12] })
    expect(all).toMatchObject({ test: null, mean: 7, values: [6, 8] })
    expect(all.deviation).toBeCloseTo(Math.SQRT2, 12)
  })

  it('differences are paired by seed and row, of the average such that each test counts once', () => {
    const seen: number[][][] = []
    const comparison = small({
      random: [
        [[1, 3], [10]],
        [[3, 5], [12]],
      ],
      s2l: [
        [[0, 3], [14]],
        [[3, 3], [12]],
      ],
    })
    summarise(comparison, {
      compareWith: (differences, options) => {
        seen.push(differences.map((seed) => [...seed]))
        return threeErrors(differences, options)
      },
    })
    // Mean differences of seed 1: -0.5 and 4, average 1.75; of seed 2: -1 and 0, average -0.5. N / (T n) is 3/4 and 3/2.
    expect(seen).toEqual([
      [
        [-1, 0],
        [0, -2],
      ],
      [[4], [0]],
      [
        [1.75 - 0.75 * 0.5, 1.75 + 0.75 * 0.5, 1.75],
        [-0.5 + 0.75, -0.5 - 0.75, -0.5],
      ],
    ])
  })

  it('spends all resamples on what verdicts are about, and fewer on the rest', () => {
    for (const tests of [{ a: 5, b: 4 }, { a: 9 }] as Record<string, number>[]) {
      const asked: (number | undefined)[] = []
      summarise(madeUp({ tests, budgets: ['5%', '10%'], metrics: [NLL, EXACT], methods: { random: 0, s2l: 0 } }), {
        compareWith: (differences, options) => {
          if (options.resamples === undefined) asked.push(differences[0].length)
          return threeErrors(differences, options)
        },
      })
      // One method at two budgets, over the rows of all tests.
      expect(asked).toEqual([9, 9])
    }
  })

  it('the mean of the paired differences is the difference of the means, whatever the tests', () => {
    const score = fc.float({ min: -8, max: 8, noNaN: true })
    const run = fc.tuple(fc.tuple(score, score), fc.tuple(score))
    fc.assert(
      fc.property(fc.tuple(run, run), fc.tuple(run, run), (random, s2l) => {
        const summary = summaryOf(small({ random, s2l }))
        const [one, other] = ['s2l', 'random'].map((method) => average(summary, method, 0))
        expect(one.toRandom!.mean).toBeCloseTo(one.mean - other.mean, 5)
      }),
      { numRuns: 50 },
    )
  })

  it('differences joined over tests vary as an average of tests does that are resampled apart', () => {
    const scores = (length: number) =>
      fc
        .array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: length, maxLength: length })
        .map((all) => Float32Array.from(all))
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 })
    const variance = (values: ArrayLike<number>) => {
      const all = Array.from(values)
      const mean = all.reduce((sum, one) => sum + one, 0) / all.length
      return all.reduce((sum, one) => sum + (one - mean) ** 2, 0) / all.length
    }
    fc.assert(
      fc.property(
        sizes.chain((each) => fc.tuple(...each.map(scores))),
        (tests) => {
          const joined = pairedDifferences(
            tests,
            tests.map(({ length }) => new Float32Array(length)),
          )
          const apart = tests.reduce((sum, test) => sum + variance(test) / test.length, 0) / tests.length ** 2
          expect(variance(joined) / joined.length).toBeCloseTo(apart, 8)
        },
      ),
    )
  })

  it('gives each verdict, whichever way is better', () => {
    const methods = { random: 0, better: -0.1, worse: 0.1, same: 0 }
    for (const metric of [NLL, EXACT]) {
      const summary = summaryOf(madeUp({ methods, metrics: [metric] }))
      const verdict = (method: string) => average(summary, method, 1, metric.name).toRandom?.verdict
      expect(verdict('better')).toBe('better than random')
      expect(verdict('worse')).toBe('worse than random')
      expect(verdict('same')).toBe('not distinguishable from random')
      expect(verdict('random')).toBeUndefined()
    }
  })

  it('identical scores are not distinguishable, even if the statistics were to say so', () => {
    const comparison = madeUp({ methods: { random: 0, twin: 0 }, score: (_value, _cell, _test, row) => row })
    const certain = summarise(comparison, {
      compareWith: (differences, options) => ({ ...threeErrors(differences, options), distinguishable: true }),
    })
    expect(average(certain, 'twin', 0)).toMatchObject({
      deviation: 0,
      toRandom: { mean: 0, verdict: 'not distinguishable from random' },
    })
    expect(average(summaryOf(comparison), 'twin', 0).toRandom).toMatchObject({ mean: 0, low: 0, high: 0 })
  })

  it('measures every method against the full pool and against the untouched model as well', () => {
    const summary = summaryOf(madeUp())
    const s2l = average(summary, 's2l', 0)
    expect(s2l.toFull!.mean).toBeCloseTo(s2l.mean - average(summary, 'full', -1).mean, 5)
    expect(s2l.toNone!.mean).toBeCloseTo(s2l.mean - average(summary, 'none', -1).mean, 5)
    expect(average(summary, 'random', 0).toFull).toBeDefined()
    expect(average(summary, 'full', -1).toNone!.seeds).toBe(3)
    expect(average(summary, 'none', -1)).not.toHaveProperty('deviation', expect.anything())
  })

  it('places full data and the untouched model against random at each budget', () => {
    const summary = summaryOf(madeUp({ budgets: ['5%', '10%'] }))
    const [full, none] = ['full', 'none'].map((method) => average(summary, method, -1).toRandomAt!)
    expect(full.map((at) => at!.verdict)).toEqual(['better than random', 'better than random'])
    expect(none.map((at) => at!.verdict)).toEqual(['worse than random', 'worse than random'])
    const { mean, low, high } = average(summary, 'random', 1).toFull!
    expect(full[1]).toMatchObject({ mean: -mean, low: -high, high: -low })
  })

  it('keeps early and late checkpoints apart, and the order of the methods', () => {
    const methods = { 'ifd@early': 0, 'ifd@late': 0.1, random: 0 }
    const { rows } = summaryOf(madeUp({ methods, budgets: ['5%', '10%'] }))
    expect(rows.map(({ method, budget, role }) => [method, budget, role])).toEqual([
      ...[0, 1].flatMap((budget) => [
        ['ifd@early', budget, 'method'],
        ['ifd@late', budget, 'method'],
        ['random', budget, 'random'],
      ]),
      ['full', -1, 'full'],
      ['none', -1, 'none'],
    ])
  })

  it('of one seed there is no deviation, and the difference is told to be of one', () => {
    const summary = summaryOf(madeUp({ seeds: [5] }))
    expect(average(summary, 's2l', 0).deviation).toBeUndefined()
    expect(average(summary, 's2l', 0).toRandom!.seeds).toBe(1)
  })

  it('names a missing cell, and pairs the seeds that both have', () => {
    const comparison = madeUp()
    comparison.cells = comparison.cells.filter(
      ({ method, budget, seed }) =>
        !(method === 's2l' && budget === 1 && seed === 2) &&
        !(method === 'random' && budget === 1 && seed === 3) &&
        !(method === 'full' && seed === 1) &&
        !(method === 'longest' && budget === 2),
    )
    const summary = summaryOf(comparison)
    expect(summary.missing).toEqual([
      { method: 'random', budget: 1, seed: 3 },
      { method: 's2l', budget: 1, seed: 2 },
      ...[1, 2, 3].map((seed) => ({ method: 'longest', budget: 2, seed })),
      { method: 'full', budget: -1, seed: 1 },
    ])
    expect(average(summary, 's2l', 1).toRandom!.seeds).toBe(1)
    expect(average(summary, 's2l', 1).values).toHaveLength(2)
    expect(average(summary, 's2l', 1).toFull!.seeds).toBe(1)
    expect(summary.rows.some(({ method, budget }) => method === 'longest' && budget === 2)).toBe(false)
  })

  it('without a common seed, or without full data, there is no difference and no verdict', () => {
    const comparison = madeUp({ references: false, budgets: ['5%'] })
    comparison.cells = comparison.cells.filter(({ method, seed }) => (method === 'random') === (seed === 1))
    const summary = summaryOf(comparison)
    const s2l = average(summary, 's2l', 0)
    expect([s2l.toRandom, s2l.toFull, s2l.toNone]).toEqual([undefined, undefined, undefined])
    expect(summary.chance).toEqual({ comparisons: 0, better: 0, worse: 0, expected: 0 })
  })

  it('says how many of its verdicts chance alone would give', () => {
    const { chance } = summaryOf(madeUp({ methods: { random: 0, s2l: -0.1, longest: 0.1, same: 0 } }))
    expect(chance).toMatchObject({ comparisons: 9, expected: 9 * 0.05 })
    expect(chance.better).toBeGreaterThanOrEqual(3)
    expect(chance.worse).toBeGreaterThanOrEqual(3)
  })

  it('is plain data: what JSON keeps of it is all of it', () => {
    const summary = summaryOf(madeUp({ seeds: [1] }))
    // A NaN would come back as null, a typed array as an object.
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary)
    expect(summary).not.toHaveProperty('cells')
  })

  it.each<[string, (comparison: Comparison) => void, string, RegExp]>([
    [
      'a score that is not a number',
      ({ cells }) => cells[1].scores.nll.svamp.fill(Number.NaN, 4, 5),
      'comparison-score-not-finite',
      /^the cell s2l at 5%, seed 1 has a score that is no finite number \(at scores\.nll\.svamp\[4\], found NaN\)/,
    ],
    [
      'a score too few',
      ({ cells }) => {
        cells[0].scores.nll.gsm8k = new Float32Array(39)
      },
      'comparison-score-count',
      /random at 5%, seed 1 does not have a score for each test row \(.*found 39 scores, expected 40\)/,
    ],
    [
      'a test without scores',
      ({ cells }) => delete cells[0].scores.nll.gsm8k,
      'comparison-score-missing',
      /random at 5%/,
    ],
    [
      'a cell that is there twice',
      ({ cells }) => cells.push(cells[0]),
      'comparison-cell-twice',
      /random at 5%, seed 1/,
    ],
    ['a method unknown', ({ methods }) => methods.pop(), 'comparison-cell-unknown', /^the cell longest at 5%, seed 1/],
    ['a budget unknown', ({ budgets }) => budgets.pop(), 'comparison-cell-unknown', /random at budget 2, seed 1/],
    ['a seed unknown', ({ seeds }) => seeds.pop(), 'comparison-cell-unknown', /seed 3/],
    ['no random', ({ methods }) => methods.shift(), 'comparison-without-random', /found s2l, longest/],
    ['no tests', (comparison) => comparison.tests.splice(0), 'comparison-without-test', /measures nothing/],
  ])('refuses %s', (_, spoil, code, message) => {
    const comparison = madeUp()
    spoil(comparison)
    expect(() => summaryOf(comparison)).toThrow(
      expect.objectContaining({
        name: 'WinnowError',
        message: expect.stringMatching(message),
        fault: expect.objectContaining({ code }),
      }),
    )
  })
})
