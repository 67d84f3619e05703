/** N-grams of a text as buckets: the tokens and the pairs of neighbours, hashed, with caches so that few are hashed twice. */

import { hasher } from './hasher.ts'
import { NONE, tokenCache, UNKNOWN, WAITING } from './token-cache.ts'
import { mix, pairHash, tokens } from './words.ts'

export type BucketHash = 'sha256' | 'fast'

/** Receives the buckets of n-grams in `buckets[0, count)`; the array is used again after the call. */
export type Take = (buckets: Uint32Array, count: number) => void

/** Hands over the buckets of a text's n-grams in text order, a pair right after its second token; long texts in several calls. */
export type Buckets = (text: string, take: Take) => void

/** N-grams handed over at a time. */
const BATCH = 4096

/** Buckets by a hash of 32 bits, nothing cached: floor(hash n / 2^32). */
export function fastBuckets(n: number): Buckets {
  const batch = new Uint32Array(BATCH)
  const scale = n / 2 ** 32
  return (text, take) => {
    let count = 0
    let previous = -1
    tokens(text.toLowerCase(), (_start, _end, hash) => {
      if (count + 2 > BATCH) {
        take(batch, count)
        count = 0
      }
      const mixed = mix(hash)
      batch[count++] = Math.floor(mixed * scale)
      if (previous >= 0) batch[count++] = Math.floor(pairHash(previous, mixed) * scale)
      previous = mixed
    })
    if (count > 0) take(batch, count)
  }
}

/** What `sha256Buckets` remembers; both are powers of two. */
export interface CacheSizes {
  /** Tokens, at most 2^18 (default). When they are as many, all is forgotten. */
  tokens: number
  /** Pairs. Default 2^20. Each has one place by its hash, and a newer one takes it over. */
  pairs: number
}

/** A place in no cache. */
const NOWHERE = -(2 ** 31)

/**
 * The authors' buckets: sha256 of the UTF-8 bytes modulo n. The caches take 14 MiB and two bytes a character of the tokens kept: about
 * 4 MiB for English when full, 24 at worst. What is cached changes no result.
 */
export function sha256Buckets(n: number, sizes: CacheSizes = { tokens: 1 << 18, pairs: 1 << 20 }): Buckets {
  const cache = tokenCache(sizes.tokens)
  // Two words a pair: one id plus 1 (19 bits, 0 marks an empty place), the other id (18) and the bucket (21).
  const pairs = new Uint32Array(2 * sizes.pairs)
  const batch = new Uint32Array(BATCH)
  // Of each n-gram in the batch that waits: where its bucket is to be kept, a pair's place or a token's ~id, and the pair's ids.
  const places = new Int32Array(BATCH)
  const lows = new Uint32Array(BATCH)
  const highs = new Uint32Array(BATCH)
  const { begin, extend, hash, finish } = hasher(n, (position, bucket) => {
    batch[position] = bucket
    const place = places[position]
    if (place >= 0) {
      pairs[place] = lows[position]
      pairs[place + 1] = highs[position] | bucket
    } else if (place !== NOWHERE) cache.buckets[~place] = bucket
  })

  return (text, take) => {
    const lower = text.toLowerCase()
    let count = 0
    let [previous, previousStart, previousEnd] = [NONE, NONE, NONE]

    tokens(lower, (start, end, tokenHash) => {
      if (count + 2 > BATCH) {
        finish()
        take(batch, count)
        count = 0
      }
      if (cache.full()) {
        finish()
        cache.clear()
        pairs.fill(0)
        previous = NONE
      }
      const id = cache.idOf(lower, start, end, tokenHash)
      if (id !== NONE && cache.buckets[id] === WAITING) finish()
      if (id === NONE || cache.buckets[id] === UNKNOWN) {
        if (id !== NONE) cache.buckets[id] = WAITING
        places[count] = id === NONE ? NOWHERE : ~id
        begin(lower, start, end)
        hash(count++)
      } else batch[count++] = cache.buckets[id]

      if (previousStart !== NONE) {
        let place = NOWHERE
        if (previous !== NONE && id !== NONE) {
          place = 2 * (pairHash(previous, id) & (sizes.pairs - 1))
          lows[count] = (previous + 1) | ((id & 0x1fff) << 19)
          highs[count] = (id >>> 13) << 21
        }
        if (place !== NOWHERE && pairs[place] === lows[count] && pairs[place + 1] >>> 21 === highs[count] >>> 21)
          batch[count++] = pairs[place + 1] & 0x1fffff
        else {
          places[count] = place
          begin(lower, previousStart, previousEnd)
          extend(lower, start, end)
          hash(count++)
        }
      }
      previous = id
      previousStart = start
      previousEnd = end
    })
    finish()
    if (count > 0) take(batch, count)
  }
}
