import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { classifierToxicity, expectedMaximumToxicity, scoreToxicity } from '../../src/evaluation/toxicity.ts'
import { toxicityFile } from '../../src/evaluation/toxicity-file.ts'

async function file(name: string, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'winnow-toxicity-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  await writeFile(join(directory, name), text)
  return join(directory, name)
}

describe('toxicity', () => {
  it('is the mean of the worst, and the share of prompts whose worst is bad', () => {
    const scores = [
      [0.1, 0.9, 0.2],
      [0.5, 0.0, 0.1],
      [0.2, 0.3, 0.49],
      [0, 0, 0],
    ]
    expect(expectedMaximumToxicity(scores)).toEqual({ expectedMaximum: (0.9 + 0.5 + 0.49) / 4, probability: 0.5 })
    expect(expectedMaximumToxicity(scores, 0.6).probability).toBe(0.25)
  })

  it('grows with more generations, and does not depend on their order', () => {
    const score = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.array(score, { minLength: 4, maxLength: 4 }), { minLength: 1 }), (scores) => {
        const all = expectedMaximumToxicity(scores)
        const fewer = expectedMaximumToxicity(scores.map((own) => own.slice(0, 2)))
        expect(all.expectedMaximum).toBeGreaterThanOrEqual(fewer.expectedMaximum)
        expect(expectedMaximumToxicity(scores.map((own) => own.toReversed()))).toEqual(all)
      }),
    )
  })

  it.each([
    ['no prompts', [], /no scores/],
    ['no generations', [[]], /no scores/],
    ['unlike numbers', [[0.1, 0.2], [0.1]], /prompt 1 has not the generations.*found 1/],
    ['what is no share', [[0.1], [1.5]], /prompt 1 has a score that is none.*1.5/],
    ['what is no number', [[Number.NaN]], /NaN/],
  ])('refuses %s', (_, scores, message) => {
    expect(() => expectedMaximumToxicity(scores)).toThrow(message)
  })

  it('asks the scorer for every text, a batch at a time, and gives scores to their prompts', async () => {
    const asked: number[] = []
    const scorer = async (texts: readonly string[]) => {
      asked.push(texts.length)
      return texts.map((text) => text.length / 10)
    }
    const found = await scoreToxicity([['a', 'bb'], ['ccc'], [], ['dddd', 'eeeee']], scorer, { batch: 2 })
    expect(found).toEqual([[0.1, 0.2], [0.3], [], [0.4, 0.5]])
    expect(asked).toEqual([2, 2, 1])
    await expect(scoreToxicity([['a', 'b']], async () => [0.5])).rejects.toThrow(/not one score for each text/)
  })

  it('is the probability of the label that says so', async () => {
    const classifier = {
      name: 'tiny',
      labels: ['neutral', 'Toxic', 'threat'],
      probabilities: async (texts: readonly string[]) =>
        Float64Array.from(texts.flatMap((_, i) => [0.5, i / 10, 0.25])),
    }
    expect(await classifierToxicity(classifier)(['a', 'b', 'c'])).toEqual([0, 0.1, 0.2])
    expect(await classifierToxicity(classifier, 'threat')(['a'])).toEqual([0.25])
    expect(() => classifierToxicity(classifier, 'insult')).toThrow(/'insult' is no label.*neutral, Toxic, threat/)
    expect(() => classifierToxicity({ ...classifier, labels: ['x'] })).toThrow(/no label for toxicity/)
  })
})

describe('a file of scores', () => {
  it('gives each text its score', async () => {
    const path = await file(
      'scores.jsonl',
      '{"text":"a\\nb","score":0.25}\n{"text":"c","score":1}\n{"text":"c","score":1}\n',
    )
    const scorer = await toxicityFile(path)
    expect(await scorer(['c', 'a\nb', 'c'])).toEqual([1, 0.25, 1])
    await expect(scorer(['d'])).rejects.toThrow(/scores.jsonl.*a text has no score.*"d"/)
  })

  it('may be a table, with names of its own', async () => {
    const scorer = await toxicityFile(await file('scores.csv', 'generation,toxicity\nhello,0.125\n'), {
      text: 'generation',
      score: 'toxicity',
    })
    expect(await scorer(['hello'])).toEqual([0.125])
  })

  it.each([
    ['no score', '{"text":"a","score":0.1}\n{"text":"b"}\n', /:2: the row has not a text and its score/],
    ['a score that is none', '{"text":"a","score":1.1}\n', /:1:.*1.1.*0 to 1/],
    ['two scores of one text', '{"text":"a","score":0.1}\n{"text":"a","score":0.2}\n', /:2:.*0.2, but 0.1/],
    ['what is no JSON', '{"text":"a","score":0.1}\n{"text"\n', /:2:/],
  ])('with %s is refused at the line', async (_, text, message) => {
    await expect(toxicityFile(await file('scores.jsonl', text))).rejects.toThrow(message)
  })
})
