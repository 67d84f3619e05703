import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fitBigram, heldOutBigramNll } from '../../src/evaluation/bigram.ts'
import { bigramCounter } from '../../src/evaluation/bigram-counts.ts'
import { randomStream } from '../../src/random/philox.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import type { TokenRows } from '../../src/training/rows.ts'

/** Rows of ids, all trained; a negative id -i stands for token i of a prompt. */
function tokenRows(rows: number[][]): TokenRows {
  const stored = rows.map((row) => Uint32Array.from(row, (id) => (id < 0 ? -id : (id | TRAINED_BIT) >>> 0)))
  return {
    count: rows.length,
    lengths: Uint32Array.from(stored, (row) => row.length),
    labels: Uint32Array.from(stored, (row) => row.filter((token) => token & TRAINED_BIT).length),
    read: (row) => stored[row],
  }
}

describe('the bigram model', () => {
  test('has the probabilities worked out by hand', () => {
    // Bigrams: 0 1 (twice), 1 2, 2 0, 1 0. n1 = 3, n2 = 1, so Y = 3/5, D1 = 1 - 2 Y (1/3) = 3/5; D2 = 2 - 0 is no
    // estimate, so Y again.
    const bigram = fitBigram(tokenRows([[0, 1, 2, 0, 1, 0]]), 4)
    expect([bigram.tokens, bigram.bigrams]).toEqual([5, 4])
    // Contexts before 0: 2, before 1: 1, before 2: 1. n1 = 2, n2 = 1: Y = 1/2, D1' = 1 - 2 (1/2) (1/2) = 1/2 = D2'.
    // Taken 3/2, shared by 4: p(0) = (3/2 + 3/8)/4, p(1) = p(2) = (1/2 + 3/8)/4, p(3) = (3/8)/4.
    const unigram = [15 / 32, 7 / 32, 7 / 32, 3 / 32]
    unigram.forEach((p, token) => {
      expect(bigram.probability(3, token)).toBeCloseTo(p, 14)
      // Context 0: 1 twice, 3/5 discounted. Context 1: 2 and 0 once each, 3/5 of each discounted.
      expect(bigram.probability(0, token)).toBeCloseTo(((token === 1 ? 7 / 5 : 0) + (3 / 5) * p) / 2, 14)
      expect(bigram.probability(1, token)).toBeCloseTo(((token === 0 || token === 2 ? 2 / 5 : 0) + (6 / 5) * p) / 2, 14)
    })
  })

  test('sums to 1 over the vocabulary in every context, and gives nothing probability 0', () => {
    const vocabulary = 12
    const token = fc.integer({ min: 0, max: vocabulary - 1 })
    fc.assert(
      fc.property(fc.array(fc.array(token, { maxLength: 40 }), { maxLength: 12 }), (rows) => {
        const bigram = fitBigram(tokenRows(rows), vocabulary)
        for (let context = 0; context < vocabulary; context++) {
          let sum = 0
          for (let next = 0; next < vocabulary; next++) {
            const p = bigram.probability(context, next)
            expect(p).toBeGreaterThan(0)
            sum += p
          }
          expect(sum).toBeCloseTo(1, 12)
        }
      }),
    )
  })

  test('counts and scores trained tokens only, in the context of the prompt', () => {
    // 1 is always followed by 2 in prompts, by 3 where it counts.
    const rows = tokenRows([
      [-1, -2, -1, 3],
      [-1, -2, -1, 3],
      [-1, -2, -1, 3, 4],
    ])
    const bigram = fitBigram(rows, 6)
    expect(bigram.tokens).toBe(4)
    expect(bigram.probability(1, 3)).toBeGreaterThan(bigram.probability(1, 2))
    const { meanNll, tokens } = bigram.nll(rows, Uint32Array.of(2))
    expect(tokens).toBe(2)
    expect(meanNll).toBeCloseTo(-(Math.log(bigram.probability(1, 3)) + Math.log(bigram.probability(3, 4))) / 2, 12)
  })

  test('does not predict the first token of a row, nor what lies beyond the maximum length', () => {
    const rows = tokenRows([[1, 2, 3, 4, 5]])
    expect(fitBigram(rows, 6, { maxLength: 3 }).tokens).toBe(2)
    expect(fitBigram(rows, 6, { maxLength: 3 }).nll(rows).tokens).toBe(2)
    expect(fitBigram(rows, 6).nll(tokenRows([[1]]))).toEqual({ meanNll: Number.NaN, tokens: 0 })
  })

  test('is fitted on the rows it is given, and scores those it is asked for', () => {
    const rows = tokenRows([
      [1, 2, 1, 2, 1, 2],
      [1, 3, 1, 3, 1, 3],
    ])
    const bigram = fitBigram(rows, 4, { rows: Uint32Array.of(0) })
    expect(bigram.nll(rows, Uint32Array.of(0)).meanNll).toBeLessThan(bigram.nll(rows, Uint32Array.of(1)).meanNll)
  })

  test('comes near the entropy of a Markov chain', () => {
    // From each of 50 tokens to one of 4 with probabilities 1/2, 1/4, 1/8, 1/8: 1.75 bits a token.
    const stream = randomStream(5, 'chain')
    const walk = (length: number) => {
      const row = [0]
      while (row.length < length) {
        const u = stream.uniform()
        const choice = u < 0.5 ? 0 : u < 0.75 ? 1 : u < 0.875 ? 2 : 3
        row.push((row.at(-1)! * 7 + choice * 11 + 3) % 50)
      }
      return row
    }
    const bigram = fitBigram(tokenRows([walk(20_000)]), 50)
    const { meanNll } = bigram.nll(tokenRows([walk(20_000)]))
    const entropy = 1.75 * Math.LN2
    expect(meanNll).toBeGreaterThan(entropy - 0.02)
    expect(meanNll).toBeLessThan(entropy + 0.02)
  })

  test('tells of its progress', () => {
    const seen: number[] = []
    fitBigram(tokenRows(new Array(3000).fill([1, 2])), 4, { onProgress: (rows) => seen.push(rows) })
    expect(seen).toEqual([1024, 2048])
  })

  test('held out, scores every row once, by a model of the others', () => {
    const rows = tokenRows([[1, 2, 1], [1, 3], [2, 2, 1, 3], [0]])
    const expected = [
      [0, 2],
      [1, 3],
    ].map((fold) => {
      const others = Uint32Array.from([0, 1, 2, 3].filter((row) => !fold.includes(row)))
      return fitBigram(rows, 4, { rows: others }).nll(rows, Uint32Array.from(fold))
    })
    const { meanNll, tokens } = heldOutBigramNll(rows, 4, { folds: 2 })
    expect(expected.map((fold) => fold.tokens)).toEqual([5, 1])
    expect(tokens).toBe(6)
    expect(meanNll).toBeCloseTo((expected[0].meanNll * 5 + expected[1].meanNll) / 6, 12)
  })

  test('refuses a token outside the vocabulary', () => {
    expect(() => fitBigram(tokenRows([[1, 9]]), 5)).toThrow(/token 9 is outside a vocabulary of 5/)
  })
})

test('bigrams are counted like in a Map, also when the table has grown several times', () => {
  const stream = randomStream(2, 'pairs')
  const counter = bigramCounter(5000)
  const expected = new Map<number, number>()
  for (let i = 0; i < 200_000; i++) {
    const [context, token] = [stream.below(5000), stream.below(stream.below(2) ? 5000 : 3)]
    counter.add(context, token)
    expected.set(context * 5000 + token, (expected.get(context * 5000 + token) ?? 0) + 1)
  }
  const { offsets, tokens, counts, total } = counter.finish()
  expect(total).toBe(200_000)
  const found = new Map<number, number>()
  for (let context = 0; context < 5000; context++)
    for (let at = offsets[context]; at < offsets[context + 1]; at++) {
      if (at > offsets[context] && tokens[at] <= tokens[at - 1]) expect.fail('tokens of a context are not ascending')
      found.set(context * 5000 + tokens[at], counts[at])
    }
  expect(found.size).toBe(expected.size)
  for (const [pair, count] of expected) if (found.get(pair) !== count) expect(found.get(pair)).toBe(count)
})
