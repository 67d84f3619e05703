/**
 * The floor a language model has to beat: a bigram model with interpolated modified Kneser-Ney smoothing (Chen and
 * Goodman 1999, "An empirical study of smoothing techniques for language modeling"), over the tokens that carry loss.
 * Their contexts are the tokens before them, of the prompt too. As in training, the first token of a row has nothing
 * before it and is not predicted.
 */

import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { bigramCounter } from './bigram-counts.ts'

export interface BigramOptions {
  /** Rows to fit. Default: all. */
  rows?: Uint32Array
  /** Rows are cut to this many tokens, in fitting and in scoring. Default: not cut. */
  maxLength?: number
  /** Called now and then with the rows fitted so far. */
  onProgress?: (rows: number) => void
}

export interface Bigram {
  /** p(token | context), both below the vocabulary size. */
  probability(context: number, token: number): number
  /** Mean NLL in nats over the trained tokens of rows (default: all rows); NaN where there are none. */
  nll(rows: TokenRows, indices?: Uint32Array): { meanNll: number; tokens: number }
  /** Trained tokens it was fitted on. */
  readonly tokens: number
  /** Distinct bigrams among them: memory is 8 bytes for each, and 32 bytes for each id of the vocabulary. */
  readonly bigrams: number
}

/** Discounts for counts of one, two, and three or more. */
type Discounts = readonly [number, number, number]

/**
 * With c the bigram counts over trained tokens, N1+(. w) the number of contexts that w follows, D the discounts and V
 * the vocabulary size,
 *
 *     p(w | v) = (max(c(v w) - D(c(v w)), 0) + lambda(v) p(w)) / c(v)
 *     p(w)     = (max(N1+(. w) - D'(N1+(. w)), 0) + lambda' / V) / N1+(. .)
 *
 * where the lambdas are the discounts that were taken, so that each sums to 1 over the vocabulary. A context that was
 * never seen has p(w). Nothing has probability 0.
 *
 * One pass over the tokens, O(tokens) expected; deterministic.
 *
 * @throws {RangeError} for a token id outside the vocabulary.
 */
export function fitBigram(rows: TokenRows, vocabularySize: number, options: BigramOptions = {}): Bigram {
  const { maxLength = Number.POSITIVE_INFINITY } = options
  const counter = bigramCounter(vocabularySize)
  let done = 0
  for (const row of options.rows ?? rowRange(rows.count)) {
    eachTarget(rows.read(row), maxLength, counter.add)
    if (++done % 1024 === 0) options.onProgress?.(done)
  }
  const { offsets, tokens, counts, total } = counter.finish()

  const bigramDiscounts = modifiedDiscounts(counts)
  const contextTotal = new Float64Array(vocabularySize)
  const contextTaken = new Float64Array(vocabularySize)
  const continuations = new Uint32Array(vocabularySize)
  for (let context = 0; context < vocabularySize; context++)
    for (let at = offsets[context]; at < offsets[context + 1]; at++) {
      contextTotal[context] += counts[at]
      contextTaken[context] += discountOf(counts[at], bigramDiscounts)
      continuations[tokens[at]]++
    }

  const unigramDiscounts = modifiedDiscounts(continuations)
  let unigramTaken = 0
  for (const count of continuations) unigramTaken += discountOf(count, unigramDiscounts)
  const unigram = new Float64Array(vocabularySize)
  for (let token = 0; token < vocabularySize; token++) {
    const count = continuations[token]
    const kept = count - discountOf(count, unigramDiscounts)
    unigram[token] = counts.length === 0 ? 1 / vocabularySize : (kept + unigramTaken / vocabularySize) / counts.length
  }

  const countOf = (context: number, token: number): number => {
    let low = offsets[context]
    let high = offsets[context + 1]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (tokens[middle] < token) low = middle + 1
      else high = middle
    }
    return low < offsets[context + 1] && tokens[low] === token ? counts[low] : 0
  }
  const probability = (context: number, token: number): number => {
    if (!(context >= 0 && context < vocabularySize && token >= 0 && token < vocabularySize))
      throw new RangeError(`bigram (${context}, ${token}) is outside a vocabulary of ${vocabularySize}`)
    if (contextTotal[context] === 0) return unigram[token]
    const count = countOf(context, token)
    const kept = count - discountOf(count, bigramDiscounts)
    return (kept + contextTaken[context] * unigram[token]) / contextTotal[context]
  }

  return {
    probability,
    nll: (scored, indices) => {
      let nll = 0
      let scoredTokens = 0
      for (const row of indices ?? rowRange(scored.count))
        eachTarget(scored.read(row), maxLength, (context, token) => {
          nll -= Math.log(probability(context, token))
          scoredTokens++
        })
      return { meanNll: scoredTokens === 0 ? Number.NaN : nll / scoredTokens, tokens: scoredTokens }
    },
    tokens: total,
    bigrams: counts.length,
  }
}

/**
 * Mean NLL of rows (default: all) under bigrams that have not seen them: the rows are dealt to `folds` (default 5), and
 * each fold is scored by a model of the others. Fitted and scored on the same rows a bigram of a small pool remembers
 * them (0.5 nats a token lower on 1,500 rows of grade-school mathematics), and so does a proxy in its own way.
 */
export function heldOutBigramNll(
  rows: TokenRows,
  vocabularySize: number,
  options: BigramOptions & { folds?: number } = {},
): { meanNll: number; tokens: number } {
  const { folds = 5, maxLength } = options
  const all = options.rows ?? Uint32Array.from(rowRange(rows.count))
  let nll = 0
  let tokens = 0
  for (let fold = 0; fold < folds; fold++) {
    const others = all.filter((_, index) => index % folds !== fold)
    const bigram = fitBigram(rows, vocabularySize, { rows: others, maxLength })
    const scored = bigram.nll(
      rows,
      all.filter((_, index) => index % folds === fold),
    )
    if (scored.tokens > 0) nll += scored.meanNll * scored.tokens
    tokens += scored.tokens
  }
  return { meanNll: tokens === 0 ? Number.NaN : nll / tokens, tokens }
}

/** Calls with (context, token) for every trained token that has a token before it. */
function eachTarget(row: Uint32Array, maxLength: number, visit: (context: number, token: number) => void): void {
  const length = Math.min(row.length, maxLength)
  for (let j = 1; j < length; j++) if (row[j] & TRAINED_BIT) visit(row[j - 1] & TOKEN_MASK, row[j] & TOKEN_MASK)
}

function* rowRange(count: number): Generator<number> {
  for (let row = 0; row < count; row++) yield row
}

/**
 * Chen and Goodman's estimate from n_i, the number of counts equal to i: Y = n1 / (n1 + 2 n2), D_i = i - (i + 1) Y
 * n_(i+1) / n_i. Where data is too small for one of them (outside (0, i)) it is Y, and Y is 0.75 where that is not
 * inside (0, 1).
 */
function modifiedDiscounts(counts: Uint32Array): Discounts {
  const n = [0, 0, 0, 0, 0]
  for (const count of counts) if (count > 0 && count < 5) n[count]++
  const ratio = n[1] / (n[1] + 2 * n[2])
  const y = ratio > 0 && ratio < 1 ? ratio : 0.75
  const estimate = (i: number) => {
    const discount = i - ((i + 1) * y * n[i + 1]) / n[i]
    return discount > 0 && discount < i ? discount : y
  }
  return [estimate(1), estimate(2), estimate(3)]
}

function discountOf(count: number, discounts: Discounts): number {
  return count === 0 ? 0 : discounts[Math.min(count, 3) - 1]
}
