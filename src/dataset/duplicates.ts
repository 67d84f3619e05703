/** Exact duplicates among records, by a 64-bit hash of their turns: 8 bytes a record (at half load, 16), no texts kept. */

import type { Turn } from './record.ts'

export interface DuplicateSet {
  /** Adds a record; whether an equal one (same roles, texts and loss mask) was added before. */
  add(turns: readonly Turn[]): boolean
}

/**
 * An empty set. Open addressing over pairs of 32-bit words, doubled at half load. Two different records among N are
 * taken as equal with probability about N² / 2^65: 3e-8 for a million. O(characters) a record.
 */
export function duplicateSet(): DuplicateSet {
  let slots = 1 << 12
  let table = new Uint32Array(2 * slots)
  let count = 0

  /** Places a hash; whether it was there. */
  const place = (low: number, high: number): boolean => {
    let slot = low & (slots - 1)
    for (;;) {
      const a = table[2 * slot]
      const b = table[2 * slot + 1]
      if (a === 0 && b === 0) break
      if (a === low && b === high) return true
      slot = (slot + 1) & (slots - 1)
    }
    table[2 * slot] = low
    table[2 * slot + 1] = high
    return false
  }

  const grow = () => {
    const old = table
    slots *= 2
    table = new Uint32Array(2 * slots)
    for (let i = 0; i < old.length; i += 2) if (old[i] !== 0 || old[i + 1] !== 0) place(old[i], old[i + 1])
  }

  return {
    add(turns) {
      const [low, high] = hashTurns(turns)
      const seen = place(low, high)
      if (!seen && 2 * ++count > slots) grow()
      return seen
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
