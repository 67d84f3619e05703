/** Two models on the same rows: differences of their scores, with paired bootstrap intervals. Pure. */

import { WinnowError } from '../errors.ts'
import { compareWith } from '../evaluation/statistics.ts'
import { pairedDifferences } from '../evaluation/summary.ts'
import type { ScoredLine } from './lines.ts'
import { SCORE_FACTS, type ScoreName } from './metrics.ts'

/** Both models' mean score, and the mean difference of the first minus the other with its 95 % interval. */
export interface Difference {
  score: ScoreName
  /** Null: the average of all tests, each counted once. */
  test: string | null
  /** Rows that both have a score for. */
  rows: number
  own: number
  other: number
  mean: number
  low: number
  high: number
  /** Whether the interval leaves out 0. */
  distinguishable: boolean
  /** Which is better, where they can be told apart. */
  better: 'own' | 'other' | null
}

/**
 * Differences of every score that both have row by row, by test and over all tests, by `compareWith` with one seed: the interval says how sure the test rows
 * make it, and nothing of what training either model with another seed would have given.
 *
 * Deterministic in the lines and `seed`. O(resamples rows).
 *
 * @throws {WinnowError} `unlike-rows` where the other has not the rows of the first, or other references; `no-common-score`.
 */
export function differences(
  own: readonly ScoredLine[],
  other: readonly ScoredLine[],
  { seed, name }: { seed: number; name: string },
): Difference[] {
  const key = ({ test, row }: ScoredLine) => `${row} ${test}`
  const others = new Map(other.map((line) => [key(line), line]))
  const pairs = own.map((line): [ScoredLine, ScoredLine] => {
    const same = others.get(key(line))
    const where = `row ${line.row} of the test set ${line.test}`
    if (same === undefined) throw unlike(`${name} has no scores of ${where}`)
    if (line.reference !== undefined && same.reference !== undefined && line.reference !== same.reference)
      throw unlike(`${name} was measured by another answer to ${where}`, same.reference, line.reference)
    return [line, same]
  })
  const tests = [...new Set(own.map(({ test }) => test))]
  const result: Difference[] = []
  for (const score of Object.keys(SCORE_FACTS) as ScoreName[]) {
    const byTest = tests.map((test) => {
      const both = pairs.filter(([a, b]) => a.test === test && a.scores[score] != null && b.scores[score] != null)
      return [0, 1].map((side) => Float32Array.from(both, (pair) => pair[side].scores[score] as number))
    })
    const told = byTest.filter(([ours]) => ours.length > 0)
    for (const [i, [ours, theirs]] of byTest.entries())
      if (ours.length > 0) result.push(differenceOf(score, tests[i], [[ours, theirs]]))
    if (told.length > 1 && told.length === tests.length)
      result.push(differenceOf(score, null, told as [Float32Array, Float32Array][]))
  }
  if (result.length === 0)
    throw new WinnowError('usage', {
      code: 'no-common-score',
      message: `${name} has none of the scores that are asked for`,
      path: '--against',
      found: [...new Set(other.flatMap(({ scores }) => Object.keys(scores)))].join(', '),
      hint: 'Evaluate both with the same --metrics.',
    })
  return result

  function differenceOf(
    score: ScoreName,
    test: string | null,
    sides: readonly (readonly Float32Array[])[],
  ): Difference {
    const [ours, theirs] = [0, 1].map((side) => sides.map((both) => both[side]))
    const average = (values: readonly Float32Array[]) =>
      values.reduce((sum, some) => sum + some.reduce((a, b) => a + b, 0) / some.length, 0) / values.length
    const { mean, low, high, distinguishable, rows } = compareWith([pairedDifferences(ours, theirs)], { seed })
    const isLower = SCORE_FACTS[score].better === 'lower'
    const better = !distinguishable || mean === 0 ? null : mean < 0 === isLower ? 'own' : 'other'
    return { score, test, rows, own: average(ours), other: average(theirs), mean, low, high, distinguishable, better }
  }
}

const unlike = (message: string, found?: string, expected?: string) =>
  new WinnowError('input', {
    code: 'unlike-rows',
    message,
    path: '--against',
    found: found?.slice(0, 80),
    expected: expected?.slice(0, 80),
    hint: 'Both must be evaluated on the same files, by the same names, with the same --test-rows.',
  })
