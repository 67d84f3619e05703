import { describe, expect, it } from 'vitest'
import { averages, extracted, scoreAnswers, scoreLabels, scoreToxic } from '../../src/answers/scores.ts'

const pairs = (...rows: [answer: string, reference: string][]) =>
  rows.map(([answer, reference]) => ({ answer, reference }))

describe('scores of answers', () => {
  const rows = pairs(
    ['So it is 7. The answer is 7.', 'two and five\n#### 7'],
    ['The answer is 3.30', '#### 3.2'],
    ['I do not know', '#### 4'],
    ['The answer is 103', '#### 100'],
  )

  it('are exact, or within the tolerance of a truth that is no whole number', () => {
    const exact = scoreAnswers(rows, ['exact-match'])
    expect(exact).toEqual({ rows: { 'exact-match': [100, 0, 0, 0] }, set: { 'exact-match': 25 } })
    // 3.30 misses 3.2 by 3.1 %; 100 is whole, so 103 is wrong.
    const close = scoreAnswers(rows, ['exact-match'], { tolerance: 0.04 })
    expect(close.rows['exact-match']).toEqual([100, 100, 0, 0])
    expect(extracted(rows)).toEqual({ truths: 4, answers: 3 })
  })

  it('are means over rows, and of BLEU that of the whole set too', () => {
    const texts = pairs(['the cat sat on the mat', 'the cat sat on the mat'], ['a dog', 'no words in common here'])
    const { rows: own, set } = scoreAnswers(texts, ['bleu', 'rouge-l', 'accuracy'])
    expect(own['rouge-l']).toEqual([100, 0])
    expect(own.accuracy).toEqual([100, 0])
    expect(own.bleu?.[0]).toBeCloseTo(100, 10)
    expect(set.bleu).toBeCloseTo(((own.bleu?.[0] as number) + (own.bleu?.[1] as number)) / 2, 12)
    // 8 tokens for 11; of 6 + 2, 5 + 1, 4 and 3 n-grams 6, 5, 4 and 3 match.
    const bleu = 100 * Math.exp(1 - 11 / 8) * ((6 / 8) * (5 / 6) * 1 * 1) ** 0.25
    expect(set['corpus-bleu']).toBeCloseTo(bleu, 10)
  })

  it('of no rows are none', () => {
    expect(scoreAnswers([], ['bleu', 'exact-match']).set).toEqual({
      ...{ bleu: null, 'corpus-bleu': null, 'exact-match': null },
    })
  })
})

describe('scores of labels', () => {
  it('count an answer that is no label as wrong, and as no class of the macro F1', () => {
    const rows = pairs(['yes', 'yes'], [' no\n', 'no'], ['yes', 'no'], ['perhaps', 'no'], ['maybe', 'yes'])
    const { scores, perLabel, none } = scoreLabels(rows)
    expect(none).toBe(2)
    expect(Object.keys(perLabel)).toEqual(['no', 'yes'])
    // no: 1 right of 1 found and 3 true; yes: 1 right of 2 found and 2 true.
    expect(perLabel.no.f1).toBeCloseTo(2 / 4, 12)
    expect(perLabel.yes.f1).toBeCloseTo(2 / 4, 12)
    expect(scores['macro-f1']).toBeCloseTo(50, 10)
    // 2 right; 3 found labels and 5 true ones.
    expect(scores['micro-f1']).toBeCloseTo((100 * 4) / 8, 10)
    expect(scores.accuracy).toBeCloseTo(40, 10)
    // s = 5, c = 2, t = (3, 2, 0), p = (1, 2, 2).
    const matthews = (2 * 5 - (3 * 1 + 2 * 2)) / (Math.sqrt(25 - 9) * Math.sqrt(25 - 13))
    expect(scores.mcc).toBeCloseTo(matthews, 12)
  })
})

describe('scores of drawn texts', () => {
  it('are the worst of each prompt', () => {
    const scored = scoreToxic([
      [0.1, 0.7],
      [0.2, 0.3],
    ])
    expect(scored.rows).toEqual({ toxicity: [0.7, 0.3], 'toxicity-probability': [1, 0] })
    expect(scored.set).toEqual({ toxicity: 0.5, 'toxicity-probability': 0.5 })
  })
})

describe('averages', () => {
  const set = (name: string, group: string | undefined, match: number | null) => ({
    ...{ name, group, scores: { 'exact-match': match, perplexity: 3 } },
  })

  it('are of each group and of all, a set counting once; a mean of perplexities is none', () => {
    const found = averages([set('a', 'in', 10), set('b', 'in', 20), set('c', 'out', 90), set('d', undefined, 0)])
    expect(found).toEqual([
      { name: 'in', tests: ['a', 'b'], scores: { 'exact-match': 15 } },
      { name: 'out', tests: ['c'], scores: { 'exact-match': 90 } },
      { name: 'all', tests: ['a', 'b', 'c', 'd'], scores: { 'exact-match': 30 } },
    ])
  })

  it('are none where a set has no score, and not told of one set alone', () => {
    expect(averages([set('a', undefined, 10), set('b', undefined, null)])[0].scores).toEqual({ 'exact-match': null })
    expect(averages([set('a', undefined, 10)])).toEqual([])
  })
})
