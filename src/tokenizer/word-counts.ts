/** Counts of the different pre-tokens of many texts, kept as bytes in typed arrays: the texts themselves are not held. */

import type { CountedWords } from './merge-learning.ts'
import type { NextPreToken } from './pre-tokens.ts'

export interface WordCounts {
  /** Counts the text's pre-tokens; returns its length in UTF-8 bytes. */
  add(text: string): number
  /** Different pre-tokens so far. */
  readonly size: number
  words(): CountedWords
}

/**
 * A counter of the pre-tokens that `next` cuts. Pre-tokens over 256 bytes (runs of one sign, pasted data) teach no merges
 * worth having and are not counted.
 */
export function wordCounts(next: NextPreToken): WordCounts {
  const longest = 256
  let slots = new Int32Array(1 << 14).fill(-1)
  let starts = new Uint32Array((slots.length >> 1) + 1)
  let counts = new Float64Array(slots.length >> 1)
  let hashes = new Uint32Array(slots.length >> 1)
  let keys = new Uint8Array(1 << 16)
  let size = 0
  let buffer = new Uint8Array(4096)
  const utf8 = new TextEncoder()

  const grow = () => {
    slots = new Int32Array(2 * slots.length).fill(-1)
    const entries = slots.length >> 1
    starts = copied(starts, new Uint32Array(entries + 1))
    counts = copied(counts, new Float64Array(entries))
    hashes = copied(hashes, new Uint32Array(entries))
    const mask = slots.length - 1
    for (let word = 0; word < size; word++) {
      let slot = hashes[word] & mask
      while (slots[slot] !== -1) slot = (slot + 1) & mask
      slots[slot] = word
    }
  }

  const same = (word: number, start: number, length: number) => {
    const key = starts[word]
    if (starts[word + 1] - key !== length) return false
    for (let i = 0; i < length; i++) if (keys[key + i] !== buffer[start + i]) return false
    return true
  }

  const count = (start: number, end: number) => {
    let hash = 0x811c9dc5
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ buffer[i], 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0
    hash = (hash ^ (hash >>> 13)) >>> 0
    const mask = slots.length - 1
    let slot = hash & mask
    for (; slots[slot] !== -1; slot = (slot + 1) & mask)
      if (hashes[slots[slot]] === hash && same(slots[slot], start, end - start)) {
        counts[slots[slot]]++
        return
      }
    const keyEnd = starts[size]
    if (keyEnd + end - start > keys.length) keys = copied(keys, new Uint8Array(2 * keys.length))
    keys.set(buffer.subarray(start, end), keyEnd)
    slots[slot] = size
    hashes[size] = hash
    counts[size] = 1
    starts[++size] = keyEnd + end - start
    if (size === counts.length) grow()
  }

  return {
    get size() {
      return size
    },
    add(text) {
      if (buffer.length < 3 * text.length) buffer = new Uint8Array(3 * text.length)
      const length = utf8.encodeInto(text, buffer).written
      for (let start = 0; start < length; ) {
        const end = next(buffer, start, length)
        if (end - start <= longest) count(start, end)
        start = end
      }
      return length
    },
    words: () => ({
      bytes: keys.slice(0, starts[size]),
      starts: starts.slice(0, size + 1),
      counts: counts.slice(0, size),
    }),
  }
}

function copied<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from as never)
  return to
}
