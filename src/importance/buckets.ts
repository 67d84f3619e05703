/** N-grams of a text as buckets: the tokens and the pairs of neighbours, hashed, with caches so that few are hashed twice. */

import { paddedLength, sha256Modulo } from './sha256.ts'
import { kindOf, latinKinds, SPACE } from './words.ts'

export type BucketHash = 'sha256' | 'fast'

/**
 * Calls `take(buckets, count)` with the buckets of a text's n-grams in `buckets[0, count)`, in text order, a pair right
 * after its second token; long texts in several calls. The array is used again after each call.
 */
export type Buckets = (text: string, take: (buckets: Uint32Array, count: number) => void) => void

/** N-grams handed over at a time. */
const BATCH = 4096

/** UTF-16 units of the longest token kept: longer ones are rare and would crowd out others. */
const LONGEST = 48

/** What `sha256Buckets` remembers; both are powers of two. */
export interface CacheSizes {
  /** Tokens, at most 2^18 (default). When they are as many, all is forgotten. */
  tokens: number
  /** Pairs. Default 2^20. Each has one place by its hash, and a newer one takes it over. */
  pairs: number
}

/** 32 bits into 32 bits, one to one, all bits depending on all (the finaliser of MurmurHash3). */
function mix(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

const pairHash = (first: number, second: number) => mix(Math.imul(first, 0x9e3779b1) + second)

/**
 * Calls `token(start, end, hash)` for each token of `text`, which must be in lower case: a maximal run of word
 * characters, or of neither word nor space. `hash` is FNV-1a over its UTF-16 units.
 */
function tokens(text: string, token: (start: number, end: number, hash: number) => void): void {
  const { length } = text
  let current = SPACE
  let start = 0
  let hash = 0
  for (let i = 0; i < length; ) {
    const at = i
    const unit = text.charCodeAt(i++)
    let kind: number
    let low = -1
    if (unit < 256) kind = latinKinds[unit]
    else if (unit < 0xd800 || unit > 0xdfff) kind = kindOf(unit)
    else {
      const point = text.codePointAt(at)!
      kind = kindOf(point)
      if (point > 0xffff) low = text.charCodeAt(i++)
    }
    if (kind !== current) {
      if (current !== SPACE) token(start, at, hash)
      current = kind
      start = at
      hash = 0x811c9dc5
    }
    hash = Math.imul(hash ^ unit, 0x01000193)
    if (low >= 0) hash = Math.imul(hash ^ low, 0x01000193)
  }
  if (current !== SPACE) token(start, length, hash)
}

/** Collects buckets and hands them over. */
function batches() {
  const batch = new Uint32Array(BATCH)
  let count = 0
  let receive: (buckets: Uint32Array, count: number) => void = () => {}
  const flush = () => {
    if (count > 0) receive(batch, count)
    count = 0
  }
  return {
    begin(take: typeof receive) {
      receive = take
      count = 0
    },
    push(bucket: number) {
      if (count === BATCH) flush()
      batch[count++] = bucket
    },
    flush,
  }
}

/** Buckets by a hash of 32 bits, nothing cached: floor(hash n / 2^32). */
export function fastBuckets(n: number): Buckets {
  const { begin, push, flush } = batches()
  const scale = n / 2 ** 32
  return (text, take) => {
    begin(take)
    let previous = -1
    tokens(text.toLowerCase(), (_start, _end, hash) => {
      const mixed = mix(hash)
      push(Math.floor(mixed * scale))
      if (previous >= 0) push(Math.floor(pairHash(previous, mixed) * scale))
      previous = mixed
    })
    flush()
  }
}

/**
 * The authors' buckets: sha256 of the UTF-8 bytes modulo n. Memory: at most about 27 MiB when full (tokens 11 MiB and
 * their characters 24 MiB at worst, 4 MiB for English; pairs 8 MiB), and the bytes of the longest pair met.
 */
export function sha256Buckets(n: number, sizes: CacheSizes = { tokens: 1 << 18, pairs: 1 << 20 }): Buckets {
  const { begin, push, flush } = batches()
  const slots = new Int32Array(2 * sizes.tokens).fill(-1)
  const hashes = new Int32Array(sizes.tokens)
  const starts = new Uint32Array(sizes.tokens)
  const lengths = new Uint8Array(sizes.tokens)
  const buckets = new Uint32Array(sizes.tokens)
  let units = new Uint16Array(1 << 16)
  let unitsEnd = 0
  let size = 0
  // Two words a pair: one id plus 1 (19 bits, 0 marks an empty place), the other id (18) and the bucket (21).
  const pairs = new Uint32Array(2 * sizes.pairs)
  let bytes = new Uint8Array(256)

  const append = (text: string, start: number, end: number, at: number): number => {
    const most = paddedLength(at + 3 * (end - start) + 1)
    if (bytes.length < most) {
      const larger = new Uint8Array(2 * most)
      larger.set(bytes.subarray(0, at))
      bytes = larger
    }
    for (let i = start; i < end; ) {
      let point = text.charCodeAt(i++)
      if (point < 0x80) {
        bytes[at++] = point
        continue
      }
      if (point >= 0xd800 && point <= 0xdfff) {
        point = text.codePointAt(i - 1)!
        if (point > 0xffff) i++
        else point = 0xfffd
      }
      if (point < 0x800) bytes[at++] = 0xc0 | (point >> 6)
      else {
        if (point < 0x10000) bytes[at++] = 0xe0 | (point >> 12)
        else {
          bytes[at++] = 0xf0 | (point >> 18)
          bytes[at++] = 0x80 | ((point >> 12) & 63)
        }
        bytes[at++] = 0x80 | ((point >> 6) & 63)
      }
      bytes[at++] = 0x80 | (point & 63)
    }
    return at
  }

  /** The bucket of the n-gram in `bytes`. */
  const bucketOf = (length: number) => sha256Modulo(bytes, length, n)

  const forget = () => {
    slots.fill(-1)
    pairs.fill(0)
    size = 0
    unitsEnd = 0
  }

  /** The token's id, or -1 for one too long to keep. A new one is hashed and kept. */
  const idOf = (text: string, start: number, end: number, hash: number): number => {
    const length = end - start
    if (length > LONGEST) return -1
    const mask = slots.length - 1
    let slot = mix(hash) & mask
    for (; slots[slot] !== -1; slot = (slot + 1) & mask) {
      const id = slots[slot]
      if (hashes[id] !== hash || lengths[id] !== length) continue
      const from = starts[id]
      let same = 0
      while (same < length && units[from + same] === text.charCodeAt(start + same)) same++
      if (same === length) return id
    }
    if (unitsEnd + length > units.length) {
      const larger = new Uint16Array(2 * units.length)
      larger.set(units)
      units = larger
    }
    slots[slot] = size
    hashes[size] = hash
    starts[size] = unitsEnd
    lengths[size] = length
    buckets[size] = bucketOf(append(text, start, end, 0))
    for (let i = start; i < end; i++) units[unitsEnd++] = text.charCodeAt(i)
    return size++
  }

  return (text, take) => {
    begin(take)
    const lower = text.toLowerCase()
    let [previous, previousStart, previousEnd] = [-1, -1, -1]

    const hashPair = (start: number, end: number) => {
      const middle = append(lower, previousStart, previousEnd, 0)
      bytes[middle] = 0x20
      return bucketOf(append(lower, start, end, middle + 1))
    }

    tokens(lower, (start, end, hash) => {
      if (size === sizes.tokens) {
        forget()
        previous = -1
      }
      const id = idOf(lower, start, end, hash)
      push(id < 0 ? bucketOf(append(lower, start, end, 0)) : buckets[id])
      if (previousStart >= 0) {
        if (previous < 0 || id < 0) push(hashPair(start, end))
        else {
          const place = 2 * (pairHash(previous, id) & (sizes.pairs - 1))
          const low = ((previous + 1) | ((id & 0x1fff) << 19)) >>> 0
          const high = id >>> 13
          const kept = pairs[place + 1]
          if (pairs[place] === low && kept >>> 21 === high) push(kept & 0x1fffff)
          else {
            const bucket = hashPair(start, end)
            pairs[place] = low
            pairs[place + 1] = ((high << 21) | bucket) >>> 0
            push(bucket)
          }
        }
      }
      previous = id
      previousStart = start
      previousEnd = end
    })
    flush()
  }
}
