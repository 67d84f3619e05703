/** Tokens and their buckets: open addressing over typed arrays, so that a look-up makes no string and the size is bounded. */

import { mix } from './words.ts'

/** No token: of one too long to be kept. */
export const NONE = -1
/** Buckets of a token that is new, and of one that waits to be hashed. */
export const UNKNOWN = 0xffffffff
export const WAITING = 0xfffffffe

/** UTF-16 units of the longest token kept: longer ones are rare and would crowd out others. */
const LONGEST = 48

export interface TokenCache {
  /** The id of text[start, end), of this hash: a new one, whose bucket is UNKNOWN, if it is not here; NONE if it is too long. */
  idOf(text: string, start: number, end: number, hash: number): number
  /** By id. */
  readonly buckets: Uint32Array
  /** Whether no new token fits; `clear` forgets all. */
  full(): boolean
  clear(): void
}

/** A cache of at most `capacity` tokens, a power of two: 21 bytes and the characters for each. */
export function tokenCache(capacity: number): TokenCache {
  const slots = new Int32Array(2 * capacity).fill(NONE)
  const hashes = new Int32Array(capacity)
  const starts = new Uint32Array(capacity)
  const lengths = new Uint8Array(capacity)
  const buckets = new Uint32Array(capacity)
  let units = new Uint16Array(1 << 12)
  let unitsEnd = 0
  let size = 0
  const mask = slots.length - 1
  return {
    buckets,
    full: () => size === capacity,
    clear() {
      slots.fill(NONE)
      size = 0
      unitsEnd = 0
    },
    idOf(text, start, end, hash) {
      const length = end - start
      if (length > LONGEST) return NONE
      let slot = mix(hash) & mask
      for (; slots[slot] !== NONE; slot = (slot + 1) & mask) {
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
      buckets[size] = UNKNOWN
      for (let i = start; i < end; i++) units[unitsEnd++] = text.charCodeAt(i)
      return size++
    },
  }
}
