/** sha256(utf8) modulo the number of buckets, of n-grams that wait until four can be hashed at once. */

import { LANES, sha256Kernel } from './sha256.ts'
import { pointAt } from './words.ts'

/** The most buckets: sixteen products of 16 bits and a remainder then add up exactly in float64. */
export const MOST_BUCKETS = 2 ** 21

/** Bytes of the longest message of one block: 64 less the bit 1 and the length. */
const ONE_BLOCK = 55

export interface Hasher {
  /** Begins an n-gram with text[start, end), as UTF-8; a lone surrogate becomes U+FFFD. */
  begin(text: string, start: number, end: number): void
  /** Adds a space and text[start, end) to it. */
  extend(text: string, start: number, end: number): void
  /** Hashes it, sooner or later: `settle(position, bucket)` is called by the end of `finish`. */
  hash(position: number): void
  /** Hashes what waits. */
  finish(): void
}

/** `buckets`: 1 to 2^21. Memory: 64 KiB and some bytes more than the longest n-gram. */
export function hasher(buckets: number, settle: (position: number, bucket: number) => void): Hasher {
  const { blocks, states, begin, digest } = sha256Kernel()
  const positions = new Int32Array(LANES)
  /** Words written in a lane's block, besides the length. */
  const used = new Int32Array(LANES).fill(16)
  let waiting = 0
  let bytes = new Uint8Array(256)
  let length = 0

  // A digest is the sum of its sixteen halves of words times 2^(16 j): each factor enters modulo the number of buckets.
  const factors = new Float64Array(16)
  for (let j = 15, factor = 1 % buckets; j >= 0; j--, factor = (factor * 65_536) % buckets) factors[j] = factor
  const remainder = (lane: number): number => {
    let sum = 0
    for (let i = 0; i < 8; i++) {
      const word = states[LANES * i + lane]
      sum += (word >>> 16) * factors[2 * i] + (word & 0xffff) * factors[2 * i + 1]
    }
    return sum - Math.floor(sum / buckets) * buckets
  }

  const append = (text: string, start: number, end: number) => {
    if (length + 3 * (end - start) + 65 > bytes.length) {
      const larger = new Uint8Array(2 * (length + 3 * (end - start) + 65))
      larger.set(bytes.subarray(0, length))
      bytes = larger
    }
    for (let i = start; i < end; ) {
      let point = text.charCodeAt(i++)
      if (point < 0x80) {
        bytes[length++] = point
        continue
      }
      if (point >= 0xd800 && point <= 0xdfff) {
        point = pointAt(text, i - 1, end)
        if (point > 0xffff) i++
        else point = 0xfffd
      }
      if (point < 0x800) bytes[length++] = 0xc0 | (point >> 6)
      else {
        if (point < 0x10000) bytes[length++] = 0xe0 | (point >> 12)
        else {
          bytes[length++] = 0xf0 | (point >> 18)
          bytes[length++] = 0x80 | ((point >> 12) & 63)
        }
        bytes[length++] = 0x80 | ((point >> 6) & 63)
      }
      bytes[length++] = 0x80 | (point & 63)
    }
  }

  /** Writes words of `bytes` from `from`, `words` of them, into a lane. */
  const write = (lane: number, from: number, words: number) => {
    for (let i = 0, at = from; i < words; i++, at += 4)
      blocks[LANES * i + lane] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
  }

  const finish = () => {
    if (waiting === 0) return
    begin()
    digest()
    const count = waiting
    waiting = 0
    for (let lane = 0; lane < count; lane++) settle(positions[lane], remainder(lane))
  }

  /** A message of several blocks, in the first lane. */
  const hashLong = (position: number) => {
    finish()
    const bits = 8 * length
    const end = Math.ceil((length + 9) / 64) * 64
    bytes[length] = 0x80
    bytes.fill(0, length + 1, end)
    for (let i = 1, rest = bits; i <= 8; i++, rest = Math.floor(rest / 256)) bytes[end - i] = rest % 256
    begin()
    for (let at = 0; at < end; at += 64) {
      write(0, at, 16)
      digest()
    }
    used[0] = 16
    settle(position, remainder(0))
  }

  return {
    begin(text, start, end) {
      length = 0
      append(text, start, end)
    },
    extend(text, start, end) {
      bytes[length++] = 0x20
      append(text, start, end)
    },
    hash(position) {
      if (length > ONE_BLOCK) return hashLong(position)
      const lane = waiting++
      bytes[length] = 0x80
      bytes[length + 1] = bytes[length + 2] = bytes[length + 3] = 0
      const words = (length >> 2) + 1
      write(lane, 0, words)
      for (let i = words; i < used[lane]; i++) blocks[LANES * i + lane] = 0
      used[lane] = words
      blocks[LANES * 15 + lane] = 8 * length
      positions[lane] = position
      if (waiting === LANES) finish()
    },
    finish,
  }
}
