import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { porterStem } from '../../src/evaluation/porter.ts'
import { rouge1, rouge2, rougeL, rougeLsum } from '../../src/evaluation/rouge.ts'
import { fixture, texts } from './fixtures.ts'

const kinds = { rouge1, rouge2, rougeL, rougeLsum }
type Scores = Record<string, Record<string, [number, number, number][]>>
const expected = fixture<{ plain: Scores; stemmed: Scores }>('rouge')
const { stems } = fixture<{ stems: Record<string, string> }>('stems')

const cases = (['plain', 'stemmed'] as const).flatMap((key) =>
  Object.keys(texts).flatMap((name) => Object.keys(kinds).map((kind) => [kind, key, name] as const)),
)

describe('ROUGE', () => {
  it.each(cases)('%s, %s, of %s is that of rouge-score', (kind, key, name) => {
    const score = kinds[kind as keyof typeof kinds]
    texts[name].forEach(({ hypothesis, references: [reference] }, row) => {
      const { precision, recall, fmeasure } = score(hypothesis, reference, { stemmer: key === 'stemmed' })
      const [p, r, f] = expected[key][name][kind][row]
      expect(Math.max(Math.abs(precision - p), Math.abs(recall - r), Math.abs(fmeasure - f))).toBeLessThan(1e-11)
    })
  })

  it('takes precision for recall the other way round, and is 1 for the same words', () => {
    const text = fc
      .array(fc.constantFrom(...'the cat sat on a mat \n'.split(' ')), { minLength: 1 })
      .map((w) => w.join(' '))
    fc.assert(
      fc.property(text, text, (one, other) => {
        for (const score of [rouge1, rouge2, rougeL]) {
          const [there, back] = [score(one, other), score(other, one)]
          expect(there.precision).toBe(back.recall)
          expect(there.fmeasure).toBe(back.fmeasure)
        }
        if (/[a-z]/.test(one)) for (const score of [rouge1, rougeL, rougeLsum]) expect(score(one, one).fmeasure).toBe(1)
      }),
    )
  })
})

describe("Porter's stemmer", () => {
  it("gives NLTK's stems", () => {
    const wrong = Object.entries(stems).filter(([word, stem]) => porterStem(word) !== stem)
    expect(wrong.map(([word, stem]) => `${word}: ${porterStem(word)}, not ${stem}`)).toEqual([])
    expect(Object.keys(stems).length).toBeGreaterThan(1000)
  })
})
