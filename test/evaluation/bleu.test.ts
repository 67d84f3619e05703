import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bleu, corpusBleu, sentenceBleu, tokenize13a } from '../../src/evaluation/bleu.ts'
import { fixture, texts } from './fixtures.ts'

const expected = fixture<{ corpus: Record<string, Bleu>; sentence: Record<string, number[]> }>('bleu')
const word = fc.constantFrom(...'the cat sat on a mat and . , 3.5 é'.split(' '))
const sentence = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '))

describe('BLEU', () => {
  it.each(Object.keys(texts))('of the corpus %s is that of sacreBLEU', (name) => {
    const found = corpusBleu(
      texts[name].map(({ hypothesis }) => hypothesis),
      texts[name].map(({ references }) => references),
    )
    const { score, precisions, brevityPenalty, ...counts } = expected.corpus[name]
    expect(found).toMatchObject(counts)
    expect(Math.abs(found.score - score)).toBeLessThan(1e-9)
    expect(Math.abs(found.brevityPenalty - brevityPenalty)).toBeLessThan(1e-9)
    for (const [n, value] of precisions.entries()) expect(Math.abs(found.precisions[n] - value)).toBeLessThan(1e-9)
  })

  it.each(Object.keys(texts))('of each text of %s is that of sacreBLEU', (name) => {
    texts[name].forEach(({ hypothesis, references }, row) => {
      const miss = Math.abs(sentenceBleu(hypothesis, references).score - expected.sentence[name][row])
      expect(miss, `row ${row}: ${hypothesis}`).toBeLessThan(1e-9)
    })
  })

  it('is 100 for the reference itself, and never more', () => {
    fc.assert(
      fc.property(sentence, sentence, (one, other) => {
        expect(sentenceBleu(one, [other]).score).toBeLessThanOrEqual(100 + 1e-9)
        if (tokenize13a(one).length > 0) expect(sentenceBleu(one, [other, one]).score).toBeCloseTo(100, 9)
      }),
    )
  })

  it('does not depend on the order of texts or of references', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(sentence, fc.array(sentence, { minLength: 1, maxLength: 3 })), { minLength: 1 }),
        (rows) => {
          const score = (pairs: typeof rows) => corpusBleu(pairs.map(([h]) => h), pairs.map(([, r]) => r)).score // biome-ignore format: one line
          const turned = rows.toReversed().map(([h, r]): [string, string[]] => [h, r.toReversed()])
          expect(score(turned)).toBe(score(rows))
        },
      ),
    )
  })

  it('refuses what has no reference', () => {
    expect(() => corpusBleu(['a'], [])).toThrow(/1 hypotheses, references of 0/)
    expect(() => corpusBleu([], [])).toThrow(/0 hypotheses/)
    expect(() => corpusBleu(['a', 'b'], [['a'], []])).toThrow(/hypothesis 1/)
    expect(() => sentenceBleu('a', [])).toThrow(/no reference/)
  })
})
