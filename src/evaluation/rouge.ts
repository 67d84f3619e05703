/**
 * ROUGE (Lin 2004, "ROUGE: a package for automatic evaluation of summaries") as the Python package rouge-score computes it, which follows
 * ROUGE-1.5.5. Tokens are runs of [a-z0-9] of the lower-case text: every other letter is white space to it, so it says little of texts in other
 * scripts.
 */

import { porterStem } from './porter.ts'

export interface Rouge {
  precision: number
  recall: number
  /** 2 P R / (P + R), 0 where both are. */
  fmeasure: number
}

export interface RougeOptions {
  /** Stem words of more than three letters (Porter's stemmer as in NLTK). Default false. */
  stemmer?: boolean
}

/** Overlap of single words, clipped. Pure; O(tokens). */
export const rouge1 = (hypothesis: string, reference: string, options?: RougeOptions): Rouge =>
  rougeN(hypothesis, reference, 1, options)

/** Overlap of pairs of words, clipped. Pure; O(tokens). */
export const rouge2 = (hypothesis: string, reference: string, options?: RougeOptions): Rouge =>
  rougeN(hypothesis, reference, 2, options)

function rougeN(hypothesis: string, reference: string, n: number, options?: RougeOptions): Rouge {
  const own = grams(tokens(hypothesis, options), n)
  const right = grams(tokens(reference, options), n)
  let matches = 0
  for (const [gram, count] of right.counts) matches += Math.min(count, own.counts.get(gram) ?? 0)
  return rougeOf(matches, own.total, right.total)
}

/**
 * Longest common subsequence of words over the lengths of hypothesis and reference: P = LCS / |hypothesis|, R = LCS / |reference|. Line breaks are white
 * space.
 *
 * Pure; O(|hypothesis| |reference|) time, O(|reference|) memory.
 */
export function rougeL(hypothesis: string, reference: string, options?: RougeOptions): Rouge {
  const [own, right] = [tokens(hypothesis, options), tokens(reference, options)]
  let above = new Uint32Array(right.length + 1)
  let row = new Uint32Array(right.length + 1)
  for (const token of own) {
    for (let j = 0; j < right.length; j++)
      row[j + 1] = token === right[j] ? above[j] + 1 : Math.max(above[j + 1], row[j])
    ;[above, row] = [row, above]
  }
  return rougeOf(above[right.length], own.length, right.length)
}

/**
 * ROUGE-L of summaries, sentence by sentence (one a line): for each sentence of the reference the union of its longest common subsequences with all
 * sentences of the hypothesis, each word counted no more often than both have it.
 *
 * Pure; O(|hypothesis| |reference|).
 */
export function rougeLsum(hypothesis: string, reference: string, options?: RougeOptions): Rouge {
  const sentences = (text: string) =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => tokens(line, options))
  const [own, right] = [sentences(hypothesis), sentences(reference)]
  const left = [own, right].map((side) => grams(side.flat(), 1).counts)
  let matches = 0
  for (const sentence of right) {
    const union = new Set<number>()
    for (const other of own) for (const place of subsequence(sentence, other)) union.add(place)
    for (const place of [...union].sort((a, b) => a - b)) {
      const token = sentence[place]
      if (!left.every((counts) => (counts.get(token) ?? 0) > 0)) continue
      matches++
      for (const counts of left) counts.set(token, (counts.get(token) as number) - 1)
    }
  }
  const count = (side: string[][]) => side.reduce((sum, sentence) => sum + sentence.length, 0)
  return rougeOf(matches, count(own), count(right))
}

/** Places in `sentence` of the longest common subsequence, of several the one that rouge-score reads out. */
function subsequence(sentence: readonly string[], other: readonly string[]): number[] {
  const width = other.length + 1
  const table = new Uint32Array((sentence.length + 1) * width)
  for (let i = 1; i <= sentence.length; i++)
    for (let j = 1; j <= other.length; j++)
      table[i * width + j] =
        sentence[i - 1] === other[j - 1]
          ? table[(i - 1) * width + j - 1] + 1
          : Math.max(table[(i - 1) * width + j], table[i * width + j - 1])
  const places: number[] = []
  let [i, j] = [sentence.length, other.length]
  while (i > 0 && j > 0) {
    if (sentence[i - 1] === other[j - 1]) {
      places.push(i - 1)
      i--
      j--
    } else if (table[i * width + j - 1] > table[(i - 1) * width + j]) j--
    else i--
  }
  return places
}

function rougeOf(matches: number, own: number, right: number): Rouge {
  const precision = matches / Math.max(own, 1)
  const recall = matches / Math.max(right, 1)
  const sum = precision + recall
  return { precision, recall, fmeasure: sum > 0 ? (2 * precision * recall) / sum : 0 }
}

function tokens(text: string, { stemmer = false }: RougeOptions = {}): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? []
  return stemmer ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : [...words]
}

function grams(words: readonly string[], n: number): { counts: Map<string, number>; total: number } {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(' ')
    counts.set(gram, (counts.get(gram) ?? 0) + 1)
  }
  return { counts, total: Math.max(0, words.length - n + 1) }
}
