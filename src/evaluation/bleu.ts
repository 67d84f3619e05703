/**
 * BLEU (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation") as sacreBLEU 2 computes it (Post 2018, "A call for
 * clarity in reporting BLEU scores"): signature `case:mixed|eff:no|tok:13a|smooth:exp`, 4-grams.
 */

import { WinnowError } from '../errors.ts'

export interface Bleu {
  /** 0 to 100. */
  score: number
  /** Of 1- to 4-grams, in per cent, smoothed. */
  precisions: number[]
  brevityPenalty: number
  /** n-grams of the hypotheses that a reference has, clipped at its count. */
  matches: number[]
  /** n-grams of the hypotheses. */
  totals: number[]
  hypothesisLength: number
  /** Of the reference nearest in length; the shorter one of two as near. */
  referenceLength: number
}

const ORDER = 4

/**
 * BLEU of a corpus; references[i] are those of hypotheses[i], and may differ in number. With p_n the clipped precision of n-grams over the whole corpus, c
 * and r the lengths in tokens,
 *
 *     BLEU = 100 exp(min(0, 1 - r/c)) exp(1/4 sum_n log p_n)
 *
 * where the k-th precision without a match counts as 1 / (2^k total) ("exp" smoothing, Chen and Cherry 2014, method 3), and a corpus without
 * any match has 0. Tokens are those of mteval-v13a (`tokenize13a`). Case matters.
 *
 * Pure; O(tokens).
 *
 * @throws {WinnowError} `unlike-lengths` where there are not as many lists of references as hypotheses, or an empty list.
 */
export function corpusBleu(hypotheses: readonly string[], references: readonly (readonly string[])[]): Bleu {
  if (hypotheses.length !== references.length || hypotheses.length === 0)
    throw unlike(`${hypotheses.length} hypotheses, references of ${references.length}`)
  const sum = emptyCounts()
  hypotheses.forEach((hypothesis, i) => {
    if (references[i].length === 0) throw unlike(`no reference of hypothesis ${i}`)
    addCounts(sum, hypothesis, references[i])
  })
  return bleuOf(sum, false)
}

/**
 * BLEU of one text, as sacreBLEU's `sentence_bleu`: as `corpusBleu`, but precisions of an order that the hypothesis is too short for are left out of the
 * mean ("effective order").
 */
export function sentenceBleu(hypothesis: string, references: readonly string[]): Bleu {
  if (references.length === 0) throw unlike('no reference')
  const counts = emptyCounts()
  addCounts(counts, hypothesis, references)
  return bleuOf(counts, true)
}

const unlike = (found: string) =>
  new WinnowError('usage', {
    code: 'unlike-lengths',
    message: 'BLEU has not references for each hypothesis',
    found,
    expected: 'at least one hypothesis, and at least one reference of each',
  })

type Counts = Pick<Bleu, 'matches' | 'totals' | 'hypothesisLength' | 'referenceLength'>

const emptyCounts = (): Counts => ({
  matches: Array(ORDER).fill(0),
  totals: Array(ORDER).fill(0),
  hypothesisLength: 0,
  referenceLength: 0,
})

function addCounts(sum: Counts, hypothesis: string, references: readonly string[]): void {
  const tokens = tokenize13a(hypothesis)
  const most = new Map<string, number>()
  let nearest = Number.POSITIVE_INFINITY
  for (const reference of references) {
    const own = tokenize13a(reference)
    const [miss, least] = [Math.abs(own.length - tokens.length), Math.abs(nearest - tokens.length)]
    if (miss < least || (miss === least && own.length < nearest)) nearest = own.length
    for (let n = 1; n <= ORDER; n++)
      for (const [gram, count] of grams(own, n)) if (count > (most.get(gram) ?? 0)) most.set(gram, count)
  }
  sum.hypothesisLength += tokens.length
  sum.referenceLength += nearest
  for (let n = 1; n <= ORDER; n++) {
    sum.totals[n - 1] += Math.max(0, tokens.length - n + 1)
    for (const [gram, count] of grams(tokens, n)) sum.matches[n - 1] += Math.min(count, most.get(gram) ?? 0)
  }
}

/** Counts of n-grams, their tokens joined by a space, which no token holds. */
function grams(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= tokens.length; i++) {
    const gram = tokens.slice(i, i + n).join(' ')
    counts.set(gram, (counts.get(gram) ?? 0) + 1)
  }
  return counts
}

/** sacreBLEU's logarithm of 0. */
const LOG_ZERO = -9_999_999_999

function bleuOf(counts: Counts, effective: boolean): Bleu {
  const { matches, totals, hypothesisLength: c, referenceLength: r } = counts
  const brevityPenalty = c >= r ? 1 : c === 0 ? 0 : Math.exp(1 - r / c)
  const precisions: number[] = Array(ORDER).fill(0)
  if (matches.every((count) => count === 0)) return { score: 0, precisions, brevityPenalty, ...counts }
  let halves = 1
  let order = ORDER
  for (let n = 1; n <= ORDER && totals[n - 1] > 0; n++) {
    if (effective) order = n
    if (matches[n - 1] === 0) halves *= 2
    precisions[n - 1] = (100 * (matches[n - 1] || 1 / halves)) / totals[n - 1]
  }
  let logs = 0
  for (let n = 0; n < order; n++) logs += precisions[n] === 0 ? LOG_ZERO : Math.log(precisions[n])
  return { score: brevityPenalty * Math.exp(logs / order), precisions, brevityPenalty, ...counts }
}

/** What Python's `str.split` splits at; JavaScript's `\s` has not the same. */
const SPACES = '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000'
const SPACE = new RegExp(`[${SPACES}]+`, 'u')

/**
 * Tokens of mteval-v13a: four entities unescaped, ASCII punctuation and symbols apart, full stops and commas apart unless between digits, a hyphen apart
 * after a digit.
 */
export function tokenize13a(text: string): string[] {
  let end = text.length
  while (end > 0 && SPACE.test(text[end - 1])) end--
  return ` ${text
    .slice(0, end)
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')} `
    .replace(/[{-~[-` -&(-+:-@/]/gu, ' $& ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ')
    .split(SPACE)
    .filter((token) => token !== '')
}
