import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ResolvedBudget } from '../../src/methods/budget.ts'
import { checkpointColumn } from '../../src/methods/checkpoint.ts'
import { confidenceCurriculum } from '../../src/methods/confidence-curriculum.ts'
import { highLearnability } from '../../src/methods/high-learnability.ts'
import { ifd } from '../../src/methods/ifd.ts'
import { leastConfidence } from '../../src/methods/least-confidence.ts'
import { longest } from '../../src/methods/longest.ts'
import type { Method } from '../../src/methods/method.ts'
import { fromCentre, middlePerplexity } from '../../src/methods/middle-perplexity.ts'
import { parseOptions } from '../../src/methods/options.ts'
import { randomBalanced } from '../../src/methods/random-balanced.ts'
import { rds } from '../../src/methods/rds.ts'
import { taptKnn } from '../../src/methods/tapt-knn.ts'
import { categories, type Signals, signal } from '../../src/signals/signal.ts'

const byRows = (rows: number): ResolvedBudget => ({ unit: 'rows', rows })
const byTokens = (tokens: number): ResolvedBudget => ({ unit: 'tokens', tokens })

function select(method: Method, signals: Signals, budget: ResolvedBudget, given: object = {}, seed = 1) {
  const rows = Object.values(signals)[0]!.rows
  return method.select({ rows, budget, signals, options: parseOptions(method, { ...given }), seed })
}
const picked = (...args: Parameters<typeof select>) => [...select(...args).selected]

/** A signal of these rows; a row may be a number. */
const matrix = (name: string, rows: readonly (number | readonly number[])[]) => {
  const columns = rows.map((row) => (typeof row === 'number' ? [row] : row))
  return signal(name, Float32Array.from(columns.flat()), { columns: columns[0].length })
}
const tokens = (counts: number[]) => signal('tokens', Uint32Array.from(counts))
const needs = (method: Method, given: object = {}, facts = {}) =>
  method.needs(parseOptions(method, { ...given }), 'rows', facts)

describe('a checkpoint', () => {
  test.each([
    ['late', 12, 11],
    ['auto', 12, 11],
    ['early', 12, 2],
    ['early', 3, 0],
    [1, 12, 0],
    [12, 12, 11],
  ] as const)('%s of %i is column %i', (checkpoint, of, column) => {
    expect(checkpointColumn(checkpoint, of)).toBe(column)
  })

  test('that is not there is refused, before training where it can be known', () => {
    const fault = { code: 'no-such-checkpoint', path: '--checkpoint', expected: expect.stringContaining('1 to 3') }
    expect(() => checkpointColumn(4, 3)).toThrow(expect.objectContaining({ fault: expect.objectContaining(fault) }))
    for (const method of [leastConfidence, middlePerplexity, highLearnability, ifd])
      expect(() => needs(method, { checkpoint: '4', checkpoints: '3' }), method.name).toThrow(/checkpoint 4/)
    expect(() => needs(highLearnability, { checkpoint: 'start' })).toThrow(/nothing was learned/)
  })
})

describe('least-confidence', () => {
  const confidence = matrix('confidence', [
    [0.9, 0.1],
    [0.2, 0.5],
    [0.3, 0.5],
    [Number.NaN, Number.NaN],
    [0.4, 0.3],
  ])

  test('takes the lowest at the last checkpoint, ties by row', () => {
    expect(picked(leastConfidence, { confidence }, byRows(3))).toEqual([0, 1, 4])
    expect(picked(leastConfidence, { confidence }, byRows(1))).toEqual([0])
  })

  test('takes those of another checkpoint, or of the start', () => {
    expect(picked(leastConfidence, { confidence }, byRows(2), { checkpoint: 'early' })).toEqual([1, 2])
    expect(picked(leastConfidence, { confidence }, byRows(2), { checkpoint: '2' })).toEqual([0, 4])
    const start = { initial_confidence: matrix('initial_confidence', [0.5, 0.4, 0.3, 0.2, 0.1]) }
    expect(picked(leastConfidence, start, byRows(2), { checkpoint: 'start' })).toEqual([3, 4])
    expect(needs(leastConfidence, { checkpoint: 'start' })).toEqual([{ signal: 'initial_confidence' }])
    expect(needs(leastConfidence)).toEqual([{ signal: 'confidence', checkpoints: 12 }])
  })

  test('leaves out rows without a score or without tokens, and says so', () => {
    const { selected, notices, columns, groups } = select(
      leastConfidence,
      { confidence, tokens: tokens([5, 0, 5, 5, 5]) },
      byRows(5),
    )
    expect([...selected]).toEqual([0, 2, 4])
    expect(notices.map(({ code, rows }) => [code, rows])).toEqual([
      ['unscored', 1],
      ['under-filled', 2],
    ])
    expect([...(columns.confidence as Float32Array)]).toEqual([0.1, 0.5, 0.5, Number.NaN, 0.3].map(Math.fround))
    expect(groups).toEqual([{ id: 0, rows: 3, selected: 3 }])
  })

  test('fills a budget of tokens with what still fits', () => {
    const signals = { confidence, tokens: tokens([5, 9, 4, 5, 6]) }
    const { selected, tokens: spent } = select(leastConfidence, signals, byTokens(16))
    expect([...selected]).toEqual([0, 2, 4])
    expect(spent).toBe(15)
  })
})

describe('middle-perplexity', () => {
  test('takes the centred window of every budget, as a sorted list says', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.double({ min: 0, max: 3, noNaN: true }), fc.constant(Number.NaN), fc.constant(1)), {
          minLength: 1,
          maxLength: 20,
        }),
        (losses) => {
          const nll = losses.map(Math.fround)
          const order = nll
            .map((loss, row) => ({ loss, row }))
            .filter(({ loss }) => !Number.isNaN(loss))
            .sort((a, b) => a.loss - b.loss || a.row - b.row)
            .map(({ row }) => row)
          for (let budget = 1; budget <= order.length; budget++) {
            const from = Math.floor((order.length - budget) / 2)
            const window = order.slice(from, from + budget).sort((a, b) => a - b)
            expect(picked(middlePerplexity, { trajectories: matrix('trajectories', nll) }, byRows(budget))).toEqual(
              window,
            )
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  test('grows from the centre, below and above in turn', () => {
    expect([...fromCentre(Uint32Array.of(10, 11, 12, 13, 14))]).toEqual([12, 11, 13, 10, 14])
    expect([...fromCentre(Uint32Array.of(10, 11, 12, 13))]).toEqual([11, 12, 10, 13])
    expect(fromCentre(new Uint32Array())).toEqual(new Uint32Array())
  })

  test('grows so by tokens too', () => {
    const signals = { trajectories: matrix('trajectories', [1, 2, 3, 4, 5]), tokens: tokens([1, 10, 10, 10, 1]) }
    expect(picked(middlePerplexity, signals, byTokens(21))).toEqual([0, 1, 2])
  })

  test('tells perplexities and ranks, whatever their size', () => {
    const { columns, notices } = select(
      middlePerplexity,
      { trajectories: matrix('trajectories', [1000, 0, Number.NaN, 2]) },
      byRows(1),
    )
    // An infinite perplexity is one.
    expect(notices.map(({ code, rows }) => [code, rows])).toEqual([['unscored', 1]])
    expect([...(columns.rank as Int32Array)]).toEqual([2, 0, -1, 1])
    expect([...(columns.perplexity as Float64Array)]).toEqual([Number.POSITIVE_INFINITY, 1, Number.NaN, Math.exp(2)])
  })
})

describe('high-learnability', () => {
  const signals = {
    initial: matrix('initial', [4, 1, 6, Number.NaN, 3]),
    trajectories: matrix('trajectories', [
      [3, 2],
      [0.9, 0.1],
      [3, 5],
      [1, 1],
      [4, 3.5],
    ]),
  }

  test('takes the largest fall, or the largest share', () => {
    const { selected, columns } = select(highLearnability, signals, byRows(2))
    expect([...selected]).toEqual([0, 2])
    expect([...(columns.learnability as Float64Array)].map((x) => Math.round(x * 10) / 10)).toEqual([
      2,
      0.9,
      1,
      Number.NaN,
      -0.5,
    ])
    expect(picked(highLearnability, signals, byRows(2), { normalised: true })).toEqual([0, 1])
    expect(picked(highLearnability, signals, byRows(1), { checkpoint: 'early' })).toEqual([2])
  })

  test('gives no share of a loss of 0', () => {
    const zero = { initial: matrix('initial', [0, 1]), trajectories: matrix('trajectories', [0, 0.5]) }
    expect(picked(highLearnability, zero, byRows(2), { normalised: true })).toEqual([1])
  })
})

describe('ifd', () => {
  const unconditional = matrix('unconditional', [2, 2, 2, 2, Number.NaN, 1])
  const trajectories = matrix('trajectories', [1.9, 2, 2.5, 1, 1, 0.5])

  test('takes the largest below 1, and says what it left out', () => {
    const { selected, columns, notices, groups } = select(ifd, { unconditional, trajectories }, byRows(2))
    expect([...selected]).toEqual([0, 5])
    expect((columns.ifd as Float64Array)[5]).toBeCloseTo(Math.exp(-0.5), 6)
    expect(notices.map(({ code, rows }) => [code, rows])).toEqual([
      ['unhelpful-prompt', 2],
      ['unscored', 1],
    ])
    expect(groups[0].rows).toBe(3)
    expect(picked(ifd, { unconditional, trajectories }, byRows(6))).toEqual([0, 3, 5])
  })

  test('bars a prompt that makes its response unheard of, though the ratio is beyond all numbers', () => {
    const signals = {
      unconditional: matrix('unconditional', [1, 1]),
      trajectories: matrix('trajectories', [2000, 0.5]),
    }
    const { selected, notices } = select(ifd, signals, byRows(2))
    expect([...selected]).toEqual([1])
    expect(notices.map(({ code, rows }) => [code, rows])).toEqual([
      ['unhelpful-prompt', 1],
      ['under-filled', 1],
    ])
  })

  test('takes a pretrained proxy as it is and nano at its last checkpoint, unless told', () => {
    expect(needs(ifd, {}, { pretrained: true })).toEqual([
      { signal: 'initial' },
      { signal: 'unconditional', checkpoint: 'start', checkpoints: 12 },
    ])
    const late = [
      { signal: 'trajectories', checkpoints: 12 },
      { signal: 'unconditional', checkpoint: 'late', checkpoints: 12 },
    ]
    expect(needs(ifd)).toEqual(late)
    expect(needs(ifd, { checkpoint: 'late' }, { pretrained: true })).toEqual(late)
    const initial = matrix('initial', [1, 1.9, 1.9, 1, 1, 2])
    expect(picked(ifd, { unconditional, initial }, byRows(2))).toEqual([1, 2])
    expect(picked(ifd, { unconditional, initial, trajectories }, byRows(2), { checkpoint: 'start' })).toEqual([1, 2])
  })
})

/** The curriculum, stage by stage over all rows. */
function slowCurriculum(confidence: number[][], budget: number): number[] {
  const stages = confidence[0].length
  const schedule: number[] = []
  for (let t = 0; t < stages; t++) {
    while (schedule.length < Math.floor((budget * (t + 1)) / stages)) {
      let best = -1
      for (let row = 0; row < confidence.length; row++) {
        if (schedule.includes(row) || Number.isNaN(confidence[row][t])) continue
        if (best === -1 || confidence[row][t] > confidence[best][t]) best = row
      }
      if (best === -1) break
      schedule.push(best)
    }
  }
  return schedule
}

describe('confidence-curriculum', () => {
  const pools = fc
    .integer({ min: 1, max: 4 })
    .chain((stages) =>
      fc.array(fc.array(fc.integer({ min: 0, max: 8 }), { minLength: stages, maxLength: stages }), {
        minLength: 1,
        maxLength: 14,
      }),
    )
    .map((rows) => rows.map((row) => row.map((value) => value / 8)))

  test('takes at each stage the surest rows of those that are left', () => {
    fc.assert(
      fc.property(pools, fc.integer({ min: 1, max: 14 }), (pool, budget) => {
        const confidence = matrix('confidence', pool)
        const { selected, schedule, columns } = select(confidenceCurriculum, { confidence }, byRows(budget))
        const expected = slowCurriculum(pool, budget)
        expect([...schedule!]).toEqual(expected)
        expect([...selected]).toEqual(expected.toSorted((a, b) => a - b))
        const order = columns.order as Int32Array
        expected.forEach((row, place) => {
          expect(order[row]).toBe(place)
        })
        expect(order.filter((place) => place >= 0).length).toBe(expected.length)
      }),
    )
  })

  test('splits tokens over the stages and never spends more', () => {
    fc.assert(
      fc.property(
        pools,
        fc.integer({ min: 1, max: 60 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (pool, budget, sizes) => {
          const counts = pool.map(() => sizes.next().value as number)
          const signals = { confidence: matrix('confidence', pool), tokens: tokens(counts) }
          const { selected, columns, groups } = select(confidenceCurriculum, signals, byTokens(budget))
          const stage = columns.stage as Int32Array
          let spent = 0
          groups.forEach(({ selected: count }, t) => {
            const rows = [...selected].filter((row) => stage[row] === t + 1)
            expect(rows.length).toBe(count)
            spent += rows.reduce((total, row) => total + counts[row], 0)
            expect(spent).toBeLessThanOrEqual((budget * (t + 1)) / groups.length)
          })
          // No row that was left out would still fit at the last stage.
          for (const [row, count] of counts.entries())
            if (stage[row] === 0) expect(count).toBeGreaterThan(budget - spent)
        },
      ),
    )
  })

  test('tells the confidence by which each row was taken', () => {
    const confidence = matrix('confidence', [
      [0.75, 0.25],
      [0.5, 1],
      [0.25, 0.5],
    ])
    const { columns } = select(confidenceCurriculum, { confidence }, byRows(2))
    expect([...(columns.stage as Int32Array)]).toEqual([1, 2, 0])
    expect([...(columns.confidence as Float32Array)]).toEqual([0.75, 1, 0.5])
  })
})

describe('longest', () => {
  test('takes the longest, ties by row, and none that training would not see', () => {
    const lengths = signal('lengths', Uint32Array.of(3, 9, 0, 9, 7))
    expect(picked(longest, { lengths }, byRows(2))).toEqual([1, 3])
    expect(picked(longest, { lengths }, byRows(5))).toEqual([0, 1, 3, 4])
    expect(needs(longest, { length: 'all' })).toEqual([{ signal: 'lengths', part: 'all' }])
  })
})

describe('random-balanced', () => {
  test.each([
    [[2, 5, 10, 100], 20, [2, 5, 6, 7]],
    [[1, 1, 3, 50, 60], 40, [1, 1, 3, 17, 18]],
    [[10, 10, 10], 7, [2, 2, 3]],
    [[3, 4, 1000], 500, [3, 4, 493]],
  ])('of sources of %j rows takes %i as %j', (sizes, budget, expected) => {
    const names = sizes.flatMap((size, i) => new Array<string>(size).fill(`source ${i}`))
    const signals = { source: categories('source', names, names.length) }
    const { groups, columns, selected } = select(randomBalanced, signals, byRows(budget))
    expect(groups.map((group) => group.selected)).toEqual(expected)
    // Weighted, each source counts as much as it holds.
    const weight = columns.weight as Float64Array
    expect(selected.reduce((total, row) => total + weight[row], 0)).toBeCloseTo(names.length, 6)
    const larger = new Set(picked(randomBalanced, signals, byRows(Math.min(names.length, budget + 5))))
    for (const row of selected) expect(larger.has(row)).toBe(true)
  })
})

describe('rds', () => {
  test('draws as tapt-knn does, over the hidden states of the proxy alone', () => {
    const signals = {
      order: signal('order', Int32Array.of(2, -1, 0, 1)),
      taken_by: signal('taken_by', Int32Array.of(0, -1, 0, 1)),
      similarity: signal('similarity', Float32Array.of(0.1, Number.NaN, 0.9, 0.8)),
    }
    expect(select(rds, signals, byRows(2))).toEqual(select(taptKnn, signals, byRows(2)))
    expect(picked(rds, signals, byRows(2))).toEqual([2, 3])
    expect(needs(rds)).toContainEqual({ signal: 'embeddings', normalise: true, embedding: 'proxy' })
  })
})

describe('methods that rank rows', () => {
  const methods: [Method, string][] = [
    [leastConfidence, 'confidence'],
    [middlePerplexity, 'trajectories'],
    [longest, 'lengths'],
  ]
  test('select subsets of larger budgets with smaller ones, and take what their score says', () => {
    const values = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 30 })
    fc.assert(
      fc.property(values, fc.constantFrom(...methods), (numbers, [method, name]) => {
        const signals = { [name]: matrix(name, numbers) }
        const options = parseOptions(method, {})
        const { values: scores, taken } = method.score!({ rows: numbers.length, signals, options })
        let smaller: number[] = []
        for (let budget = 1; budget <= numbers.length; budget++) {
          const rows = picked(method, signals, byRows(budget))
          for (const row of smaller) expect(rows).toContain(row)
          smaller = rows
          const sign = taken === 'lowest' ? 1 : -1
          const worst = Math.max(...rows.map((row) => sign * scores[row]))
          for (let row = 0; row < numbers.length; row++)
            if (!rows.includes(row)) expect(sign * scores[row]).toBeGreaterThanOrEqual(worst)
        }
      }),
    )
  })
})
