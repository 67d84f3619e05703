/** The metrics of answers: what each is called, and what one answer scores. */

import { extractAnswer, sameAnswer } from '../evaluation/answers.ts'
import { sentenceBleu } from '../evaluation/bleu.ts'
import type { ComparisonMetric, MetricName } from '../evaluation/comparison.ts'
import { rougeL } from '../evaluation/rouge.ts'

/** What `evaluate` can be asked for. */
export type EvaluationMetric = MetricName | 'f1' | 'mcc' | 'toxicity'

/** What comes of them for a test set. */
export type ScoreName =
  | MetricName
  | 'perplexity'
  | 'corpus-bleu'
  | 'micro-f1'
  | 'macro-f1'
  | 'mcc'
  | 'toxicity'
  | 'toxicity-probability'

type Facts = Omit<ComparisonMetric, 'name'>

/** Every metric of a comparison, as tables name it. */
export const METRIC_FACTS: Record<MetricName, Facts> = {
  nll: { title: 'test loss', unit: 'nats a token', better: 'lower' },
  'exact-match': { title: 'exact match', unit: '%', better: 'higher' },
  'rouge-l': { title: 'ROUGE-L', unit: '%', better: 'higher' },
  bleu: { title: 'sentence BLEU', unit: '%', better: 'higher' },
  'bert-score': { title: 'BERTScore', unit: '%', better: 'higher' },
  accuracy: { title: 'accuracy', unit: '%', better: 'higher' },
}

/** Every score of a test set. */
export const SCORE_FACTS: Record<ScoreName, Facts> = {
  ...METRIC_FACTS,
  perplexity: { title: 'perplexity', unit: '', better: 'lower' },
  'corpus-bleu': { title: 'corpus BLEU', unit: '%', better: 'higher' },
  'micro-f1': { title: 'micro F1', unit: '%', better: 'higher' },
  'macro-f1': { title: 'macro F1', unit: '%', better: 'higher' },
  mcc: { title: 'Matthews', unit: '', better: 'higher' },
  toxicity: { title: 'expected maximum toxicity', unit: '', better: 'lower' },
  'toxicity-probability': { title: 'toxicity probability', unit: '', better: 'lower' },
}

/** The scores of each metric, in the order of tables. */
export const SCORES_OF: Record<EvaluationMetric, readonly ScoreName[]> = {
  nll: ['nll', 'perplexity'],
  'exact-match': ['exact-match'],
  'rouge-l': ['rouge-l'],
  bleu: ['bleu', 'corpus-bleu'],
  'bert-score': ['bert-score'],
  accuracy: ['accuracy'],
  f1: ['micro-f1', 'macro-f1'],
  mcc: ['mcc'],
  toxicity: ['toxicity', 'toxicity-probability'],
}

/** Metrics that read what the model answers; `nll` reads the reference, `toxicity` draws texts of its own. */
export const readsAnswers = (metric: EvaluationMetric): boolean => metric !== 'nll' && metric !== 'toxicity'

export interface AnswerScoring {
  /** As `sameAnswer` has it. Default 0. */
  tolerance?: number
}

/** Score of one answer against the reference, in percent. Pure. */
export const ANSWER_SCORES: Partial<
  Record<EvaluationMetric, (answer: string, reference: string, scoring?: AnswerScoring) => number>
> = {
  'exact-match': (answer, reference, { tolerance } = {}) => {
    const [found, truth] = [extractAnswer(answer), extractAnswer(reference)]
    return found !== undefined && truth !== undefined && sameAnswer(found, truth, { tolerance }) ? 100 : 0
  },
  'rouge-l': (answer, reference) => 100 * rougeL(answer, reference).fmeasure,
  bleu: (answer, reference) => sentenceBleu(answer, [reference]).score,
  accuracy: (answer, reference) => (labelOf(answer) === labelOf(reference) ? 100 : 0),
}

/** An answer as a label. */
export const labelOf = (answer: string): string => answer.trim()
