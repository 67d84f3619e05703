/** What the rows of a test set score, and the set as a whole. Pure. */

import { extractAnswer } from '../evaluation/answers.ts'
import { corpusBleu } from '../evaluation/bleu.ts'
import { type ClassScores, classify } from '../evaluation/classification.ts'
import { expectedMaximumToxicity, TOXICITY_PROTOCOL } from '../evaluation/toxicity.ts'
import { ANSWER_SCORES, type EvaluationMetric, labelOf, type ScoreName } from './metrics.ts'

/** One number a row, null where it has none; and of the set. */
export interface Scores {
  rows: Partial<Record<ScoreName, (number | null)[]>>
  set: Partial<Record<ScoreName, number | null>>
}

export interface AnsweredRow {
  answer: string
  reference: string
}

export interface LabelScores {
  scores: Scores['set']
  /** Of the labels that are true of a row. */
  perLabel: Record<string, ClassScores>
  /** Answers that are none of these. */
  none: number
}

/** Means over rows of what each answer scores, and BLEU of all answers as one corpus. */
export function scoreAnswers(
  rows: readonly AnsweredRow[],
  metrics: readonly EvaluationMetric[],
  { tolerance = 0 }: { tolerance?: number } = {},
): Scores {
  const scores: Scores = { rows: {}, set: {} }
  for (const metric of metrics) {
    const score = ANSWER_SCORES[metric]
    if (score === undefined) continue
    const own = rows.map(({ answer, reference }) => score(answer, reference, { tolerance }))
    scores.rows[metric as ScoreName] = own
    scores.set[metric as ScoreName] = meanOf(own)
  }
  if (metrics.includes('bleu'))
    scores.set['corpus-bleu'] =
      rows.length === 0
        ? null
        : corpusBleu(
            rows.map(({ answer }) => answer),
            rows.map(({ reference }) => [reference]),
          ).score
  return scores
}

/** How many rows have a truth, and how many an answer, that `extractAnswer` finds. */
export function extracted(rows: readonly AnsweredRow[]): { truths: number; answers: number } {
  const found = (text: string) => Number(extractAnswer(text) !== undefined)
  return rows.reduce(
    (sum, { answer, reference }) => ({ truths: sum.truths + found(reference), answers: sum.answers + found(answer) }),
    { truths: 0, answers: 0 },
  )
}

/**
 * Answers as labels, white space about them aside. The classes are the labels that are true of some row; an answer that is none of them is wrong, for
 * Matthews one further class whatever it says.
 */
export function scoreLabels(rows: readonly AnsweredRow[]): LabelScores {
  const truth = rows.map(({ reference }) => labelOf(reference))
  const labels = [...new Set(truth)].sort((a, b) => (a < b ? -1 : 1))
  // No trimmed text begins with a space.
  const other = ' '
  const found = rows.map(({ answer }) => (labels.includes(labelOf(answer)) ? labelOf(answer) : other))
  const { accuracy, microF1, macroF1, matthews, perClass } = classify(found, truth, { labels })
  return {
    scores: { accuracy: 100 * accuracy, 'micro-f1': 100 * microF1, 'macro-f1': 100 * macroF1, mcc: matthews },
    perLabel: perClass,
    none: found.filter((label) => label === other).length,
  }
}

/** The worst of each prompt's texts, and what that comes to. */
export function scoreToxic(scores: readonly (readonly number[])[]): Scores {
  const { threshold } = TOXICITY_PROTOCOL
  const worst = scores.map((own) => Math.max(...own))
  const { expectedMaximum, probability } = expectedMaximumToxicity(scores, threshold)
  return {
    rows: { toxicity: worst, 'toxicity-probability': worst.map((score) => Number(score >= threshold)) },
    set: { toxicity: expectedMaximum, 'toxicity-probability': probability },
  }
}

/** Of the values that are there; null of none. */
export function meanOf(values: readonly (number | null)[]): number | null {
  const there = values.filter((value) => value !== null)
  return there.length === 0 ? null : there.reduce((sum, value) => sum + value, 0) / there.length
}

export interface Average {
  /** A group, or `all`. */
  name: string
  tests: string[]
  scores: Scores['set']
}

/** Plain means over the test sets of each group, and over all where there are several: each set counts once, whatever its rows. */
export function averages(sets: readonly { name: string; group?: string; scores: Scores['set'] }[]): Average[] {
  const groups = [...new Set(sets.flatMap(({ group }) => group ?? []))]
  const of = (name: string, some: typeof sets): Average => {
    const names = Object.keys(some[0].scores) as ScoreName[]
    const scores: Scores['set'] = {}
    // A mean of perplexities is no perplexity.
    for (const score of names)
      if (score !== 'perplexity')
        scores[score] = some.some((set) => set.scores[score] == null)
          ? null
          : meanOf(some.map((set) => set.scores[score] as number))
    return { name, tests: some.map((set) => set.name), scores }
  }
  return [
    ...groups.map((group) =>
      of(
        group,
        sets.filter((set) => set.group === group),
      ),
    ),
    ...(sets.length > 1 ? [of('all', sets)] : []),
  ]
}
