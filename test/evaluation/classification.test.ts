import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Classification, classify } from '../../src/evaluation/classification.ts'
import { fixture } from './fixtures.ts'

interface Case extends Classification {
  found: string[]
  truth: string[]
}
const { cases, known } = fixture<{ cases: Case[]; known: { labels: string[]; microF1: number; macroF1: number } }>(
  'classes',
)

describe('classification', () => {
  it.each(cases.map((one, i) => [i, one] as const))('of case %d is that of scikit-learn', (_, {
    found,
    truth,
    perClass,
    ...scores
  }) => {
    const got = classify(found, truth)
    for (const key of ['accuracy', 'microF1', 'macroF1', 'matthews'] as const)
      expect(got[key], key).toBeCloseTo(scores[key], 11)
    expect(Object.keys(got.perClass)).toEqual(Object.keys(perClass))
    for (const [label, expected] of Object.entries(perClass))
      for (const key of ['precision', 'recall', 'f1', 'support'] as const)
        expect(got.perClass[label][key], `${label} ${key}`).toBeCloseTo(expected[key], 11)
  })

  it('counts the classes that are named alone', () => {
    const { found, truth } = cases.at(-1) as Case
    const got = classify(found, truth, { labels: known.labels })
    expect(got.microF1).toBeCloseTo(known.microF1, 11)
    expect(got.macroF1).toBeCloseTo(known.macroF1, 11)
    expect(Object.keys(got.perClass)).toEqual(known.labels)
  })

  it('does not depend on the order of rows, nor on what classes are called', () => {
    const labels = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('a', 'b', 'c')), { minLength: 1 })
    fc.assert(
      fc.property(labels, (rows) => {
        const of = (pairs: [string, string][], name = (label: string) => label) =>
          classify(pairs.map(([found]) => name(found)), pairs.map(([, truth]) => name(truth))) // biome-ignore format: one line
        const { accuracy, macroF1, matthews, microF1 } = of(rows)
        const turned = of(rows.toReversed(), (label) => ({ a: '__proto__', b: 'x', c: 'constructor' })[label] as string)
        expect(turned.accuracy).toBe(accuracy)
        expect(turned.matthews).toBeCloseTo(matthews, 12)
        expect(turned.macroF1).toBeCloseTo(macroF1, 12)
        expect(microF1).toBeCloseTo(accuracy, 12)
      }),
    )
  })

  it('refuses what cannot be compared', () => {
    expect(() => classify(['a'], [])).toThrow(/1 found, 0 true/)
    expect(() => classify([], [])).toThrow(/0 found, 0 true/)
  })
})
