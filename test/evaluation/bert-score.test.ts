import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTokenEncoder, type TokenEncoder } from '../../src/embedding/token-vectors.ts'
import { bertScore, idfWeights, plainWeights } from '../../src/evaluation/bert-score.ts'
import { fixture } from './fixtures.ts'

const expected = fixture<{ pairs: [string, string][]; plain: number[][]; idf: number[][] }>('bert-score')
let encoder: TokenEncoder
beforeAll(async () => {
  encoder = await openTokenEncoder({ model: fileURLToPath(new URL('../fixtures/encoder/tiny-bert', import.meta.url)) })
})
afterAll(() => encoder[Symbol.asyncDispose]())

describe('BERTScore', () => {
  it.each(['plain', 'idf'] as const)('with weights %s is that of bert-score', async (kind) => {
    const hypotheses = await encoder.encode(expected.pairs.map(([hypothesis]) => hypothesis))
    const references = await encoder.encode(expected.pairs.map(([, reference]) => reference))
    const weight = kind === 'plain' ? plainWeights(encoder.special) : idfWeights(references.map(({ ids }) => ids))
    hypotheses.forEach((hypothesis, row) => {
      const { precision, recall, f1 } = bertScore(hypothesis, references[row], weight)
      const [p, r, f] = expected[kind][row]
      const miss = Math.max(Math.abs(precision - p), Math.abs(recall - r), Math.abs(f1 - f))
      expect(miss, `${expected.pairs[row]}: ${precision}, ${recall}, ${f1} for ${expected[kind][row]}`).toBeLessThan(
        2e-6,
      )
    })
  })

  it('does not depend on which texts are encoded together', async () => {
    const all = await encoder.encode(expected.pairs.flat())
    const [one] = await encoder.encode([expected.pairs[1][0]])
    expect(Array.from(one.ids)).toEqual(Array.from(all[2].ids))
    one.vectors.forEach((value, k) => void expect(value).toBeCloseTo(all[2].vectors[k], 5))
  })

  const text = fc
    .array(fc.tuple(fc.nat(9), fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 })), {
      minLength: 1,
      maxLength: 8,
    })
    .map((tokens) => ({
      ids: tokens.map(([id]) => id),
      vectors: Float32Array.from(tokens.flatMap(([, v]) => [...v, 1])),
    }))

  it('is 1 of a text with itself, and takes precision for recall the other way round', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        const weight = plainWeights([])
        expect(bertScore(one, one, weight).f1).toBeCloseTo(1, 6)
        const [there, back] = [bertScore(one, other, weight), bertScore(other, one, weight)]
        expect(there.precision).toBeCloseTo(back.recall, 12)
        expect(there.f1).toBeCloseTo(back.f1, 12)
      }),
    )
  })

  it('refuses vectors that are not those of the tokens', () => {
    const good = { ids: [1, 2], vectors: new Float32Array(6) }
    const bad = { ids: [1, 2], vectors: new Float32Array(5) }
    expect(() => bertScore(good, bad, plainWeights([]))).toThrow(/5 numbers for 2 tokens/)
    expect(() => bertScore({ ids: [], vectors: new Float32Array(0) }, good, plainWeights([]))).toThrow(/0 tokens/)
  })
})
