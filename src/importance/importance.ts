/**
 * Importance weights over hashed n-grams, as DSIR computes them (Xie et al., "Data Selection for Language Models via
 * Importance Resampling", arXiv 2302.03169, section 3; buckets as in the authors' package `data-selection`).
 *
 * A text in lower case is cut into tokens `\w+|[^\w\s]+` (Python's meaning, see words.ts); its features are the counts of
 * the buckets of its tokens and of its pairs of neighbouring tokens joined by a space.
 */

import { WinnowError } from '../errors.ts'
import { type BucketHash, type Buckets, fastBuckets, sha256Buckets } from './buckets.ts'
import { MOST_BUCKETS } from './hasher.ts'

/** The authors' number of buckets. */
export const BUCKETS = 10_000

/** What keeps a bucket that was never met finite (the authors'). */
const SMOOTHING = 1e-8

export interface BucketOptions {
  /** Buckets, 1 to 2^21. Default 10,000. */
  buckets?: number
  /**
   * `sha256` (default): sha256(utf8) modulo the number of buckets, the authors' buckets to the bit; a lone surrogate, at
   * which the authors' code fails, is hashed as U+FFFD. `fast`: 32-bit hashes, not theirs, about five times as fast.
   */
  hash?: BucketHash
}

export interface BucketCounter {
  /** Adds the n-grams of a text. O(length). */
  add(text: string): void
  /** [buckets] how often each was met; the array itself, exact up to 2^53. */
  readonly counts: Float64Array
  /** Texts added. */
  readonly texts: number
}

function bucketsOf(hash: BucketHash, buckets: number): Buckets {
  if (!Number.isInteger(buckets) || buckets < 1 || buckets > MOST_BUCKETS)
    throw new WinnowError('usage', {
      code: 'bad-buckets',
      message: 'number of buckets is out of range',
      found: String(buckets),
      expected: `a whole number from 1 to ${MOST_BUCKETS}`,
      hint: `Leave it out for ${BUCKETS}.`,
    })
  return hash === 'fast' ? fastBuckets(buckets) : sha256Buckets(buckets)
}

/**
 * Counts the buckets of texts. The sum over texts: two counters' arrays may be added. Memory: the counts and, with
 * `sha256`, caches of bounded size (see `sha256Buckets`).
 */
export function bucketCounter({ buckets = BUCKETS, hash = 'sha256' }: BucketOptions = {}): BucketCounter {
  const each = bucketsOf(hash, buckets)
  const counts = new Float64Array(buckets)
  let texts = 0
  const take = (batch: Uint32Array, count: number) => {
    for (let i = 0; i < count; i++) counts[batch[i]]++
  }
  return {
    add(text) {
      each(text, take)
      texts++
    },
    counts,
    get texts() {
      return texts
    },
  }
}

/**
 * log(p + 1e-8) - log(q + 1e-8) for each bucket, p and q the target's and the pool's counts divided by their sums
 * (arXiv 2302.03169, section 3.1; smoothing as in the authors' code). Counts are finite and not negative.
 *
 * Throws `no-ngrams` where one side has no n-gram at all, `bad-counts` where the lengths differ or a count is no count.
 */
export function logRatio(target: Float64Array, pool: Float64Array): Float64Array {
  if (target.length !== pool.length)
    throw new WinnowError('usage', {
      code: 'bad-counts',
      message: 'counts of target and pool have different numbers of buckets',
      found: `${target.length} and ${pool.length}`,
      expected: 'as many',
      hint: 'Count both with the same `buckets`.',
    })
  const p = total(target, 'target')
  const q = total(pool, 'pool')
  return target.map((count, bucket) => Math.log(count / p + SMOOTHING) - Math.log(pool[bucket] / q + SMOOTHING))
}

function total(counts: Float64Array, side: string): number {
  let sum = 0
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const count = counts[bucket]
    if (!(count >= 0 && count < Infinity))
      throw new WinnowError('usage', {
        code: 'bad-counts',
        message: `counts of the ${side} have a value that is no count`,
        path: `bucket ${bucket}`,
        found: String(count),
        expected: 'a finite number, 0 or more',
        hint: 'Make them with bucketCounter.',
      })
    sum += count
  }
  if (sum === 0)
    throw new WinnowError('input', {
      code: 'no-ngrams',
      message: `${side} texts have no word to compare by`,
      found: 'no n-gram',
      expected: 'at least one text that is not blank',
      hint: 'See which field is read as the text.',
    })
  return sum
}

/**
 * A text's log importance weight: counts . ratio, summed in float64 over its n-grams in text order (the same text, the
 * same bits). `ratio` comes from `logRatio` over counts made with the same `hash`; its length is the number of buckets.
 * A text without n-grams weighs 0. O(length).
 */
export function importanceWeigher(
  ratio: Float64Array,
  { hash = 'sha256' }: Pick<BucketOptions, 'hash'> = {},
): (text: string) => number {
  const each = bucketsOf(hash, ratio.length)
  let sum = 0
  const take = (batch: Uint32Array, count: number) => {
    for (let i = 0; i < count; i++) sum += ratio[batch[i]]
  }
  return (text) => {
    sum = 0
    each(text, take)
    return sum
  }
}
