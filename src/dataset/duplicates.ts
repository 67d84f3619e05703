/** Exact duplicates among records, by a 64-bit hash of their turns: 8 bytes a record (at half load, 16), no texts kept. */

import type { Turn } from './record.ts'

export interface DuplicateSet {
  /** Adds a record; whether an equal one (same roles, texts and loss mask) was added before. */
  add(turns: readonly Turn[]): boolean
}

export interface CopyIndex {
  /** Adds a text; the number of the first equal one (its own where there was none), counting from 0 in the order of adding. */
  add(text: string): number
}

/**
 * An empty set. Two different records among N are taken as equal with probability about N² / 2^65: 3e-8 for a million.
 * O(characters) a record.
 */
export function duplicateSet(): DuplicateSet {
  const table = hashTable(2)
  return { add: (turns) => table.place(...hashTurns(turns), 0) !== undefined }
}

/** As `duplicateSet`, of bare texts, and telling which one came first: 12 bytes a text (at half load, 24). */
export function copyIndex(): CopyIndex {
  const table = hashTable(3)
  let count = 0
  return {
    add(text) {
      const own = count++
      return table.place(...hashTurns([{ role: 'text', content: text, trained: false }]), own) ?? own
    },
  }
}

/** Open addressing over pairs of 32-bit words, never (0, 0), and with `words` 3 a number beside each; doubled at half load. */
function hashTable(words: 2 | 3) {
  let slots = 1 << 12
  let table = new Uint32Array(words * slots)
  let count = 0

  /** Places a hash, or gives the number (0 without one) that it was placed with before. */
  const find = (low: number, high: number, number: number): number | undefined => {
    let at = words * (low & (slots - 1))
    while (table[at] !== 0 || table[at + 1] !== 0) {
      if (table[at] === low && table[at + 1] === high) return words === 3 ? table[at + 2] : 0
      at += words
      if (at === table.length) at = 0
    }
    table[at] = low
    table[at + 1] = high
    if (words === 3) table[at + 2] = number
    return undefined
  }

  const grow = () => {
    const old = table
    slots *= 2
    table = new Uint32Array(words * slots)
    for (let i = 0; i < old.length; i += words)
      if (old[i] !== 0 || old[i + 1] !== 0) find(old[i], old[i + 1], words === 3 ? old[i + 2] : 0)
  }

  return {
    place(low: number, high: number, number: number): number | undefined {
      const earlier = find(low, high, number)
      if (earlier === undefined && 2 * ++count > slots) grow()
      return earlier
    },
  }
}

/**
 * Two 32-bit lanes over UTF-16 code units, four units a step, both lanes seeing all of them, with MurmurHash3's constants
 * and finaliser; never (0, 0).
 */
function hashTurns(turns: readonly Turn[]): [low: number, high: number] {
  let a = 0x9747b28c
  let b = 0x3c6ef372
  for (const { role, content, trained } of turns) {
    const length = content.length
    a = mix(a ^ length ^ (trained ? 0x40000000 : 0))
    b = mix(b ^ role.charCodeAt(0) ^ (role.charCodeAt(1) << 16))
    const whole = length & ~3
    for (let i = 0; i < whole; i += 4) {
      const first = content.charCodeAt(i) | (content.charCodeAt(i + 1) << 16)
      const second = content.charCodeAt(i + 2) | (content.charCodeAt(i + 3) << 16)
      a = Math.imul(a ^ first, 0xcc9e2d51)
      a = (a ^ (a >>> 15)) + second
      b = Math.imul(b ^ second, 0x1b873593)
      b = (b ^ (b >>> 13)) + first
    }
    for (let i = whole; i < length; i++) {
      const unit = content.charCodeAt(i)
      a = mix(a ^ unit)
      b = mix(b + unit)
    }
  }
  const low = mix(a) >>> 0
  const high = mix(b ^ Math.imul(a, 5)) >>> 0
  return low === 0 && high === 0 ? [0, 1] : [low, high]
}

function mix(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
