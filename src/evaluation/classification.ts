/** Scores of a classifier, as scikit-learn computes them. */

import { WinnowError } from '../errors.ts'

export interface ClassScores {
  precision: number
  recall: number
  f1: number
  /** Rows that truly are of the class. */
  support: number
}

export interface Classification {
  accuracy: number
  /** F1 of all decisions taken together. Where each row has one label it is the accuracy, unless `labels` leaves some out. */
  microF1: number
  /** Mean of the classes' F1, each as heavy. */
  macroF1: number
  /** Matthews correlation coefficient, of any number of classes (Gorodkin 2004). 0 where one side has one class only. */
  matthews: number
  /** Classes found or true, in the order of their names. */
  perClass: Record<string, ClassScores>
}

/**
 * Scores of found labels against true ones, row by row. Precision, recall and F1 of a class are 0 where they would be 0/0. With C the matrix of confusion, s its
 * sum, c its trace, t_k how often k is true and p_k how often it is found,
 *
 *     matthews = (c s - sum_k t_k p_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))
 *
 * A label that is never true (an answer that is none of the classes, say) is a class of its own and pulls the macro F1 down, as in scikit-learn, unless
 * `labels` names those that count.
 *
 * Pure; O(rows).
 *
 * @throws {WinnowError} `unlike-lengths` where there are no rows, or not as many found as true.
 */
export function classify(
  found: readonly string[],
  truth: readonly string[],
  options: { labels?: readonly string[] } = {},
): Classification {
  const rows = truth.length
  if (rows === 0 || found.length !== rows)
    throw new WinnowError('usage', {
      code: 'unlike-lengths',
      message: 'labels cannot be compared row by row',
      found: `${found.length} found, ${rows} true`,
      expected: 'as many of both, at least one',
    })
  const [trueOf, foundOf, hitsOf] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number>()]
  const add = (map: Map<string, number>, label: string) => map.set(label, (map.get(label) ?? 0) + 1)
  for (let row = 0; row < rows; row++) {
    add(trueOf, truth[row])
    add(foundOf, found[row])
    if (found[row] === truth[row]) add(hitsOf, truth[row])
  }
  const seen = [...new Set([...truth, ...found])].sort((a, b) => (a < b ? -1 : 1))
  const labels = options.labels ?? seen
  const of = (map: Map<string, number>, label: string) => map.get(label) ?? 0
  const ratio = (top: number, bottom: number) => (bottom === 0 ? 0 : top / bottom)
  const perClass: Record<string, ClassScores> = Object.create(null)
  let macroF1 = 0
  let [hits, positives] = [0, 0]
  for (const label of labels) {
    const [right, all, support] = [of(hitsOf, label), of(foundOf, label), of(trueOf, label)]
    const f1 = ratio(2 * right, all + support)
    perClass[label] = { precision: ratio(right, all), recall: ratio(right, support), f1, support }
    macroF1 += f1 / labels.length
    hits += right
    positives += all + support
  }
  let [correct, both, foundSquares, trueSquares] = [0, 0, 0, 0]
  for (const label of seen) {
    correct += of(hitsOf, label)
    both += of(trueOf, label) * of(foundOf, label)
    foundSquares += of(foundOf, label) ** 2
    trueSquares += of(trueOf, label) ** 2
  }
  const spread = Math.sqrt(rows ** 2 - foundSquares) * Math.sqrt(rows ** 2 - trueSquares)
  return {
    accuracy: correct / rows,
    microF1: ratio(2 * hits, positives),
    macroF1,
    matthews: ratio(correct * rows - both, spread),
    perClass,
  }
}
