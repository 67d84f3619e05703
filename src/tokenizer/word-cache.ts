/**
 * Bounded cache from pre-tokens (byte strings) to their ids: open addressing over typed arrays, so that a look-up makes
 * no string and a full cache has a known size. When it is full it is emptied and starts again.
 */

export interface WordCache {
  /**
   * Appends the ids of `bytes[start..end)` to `out` at `position` and returns the new position, or returns -1 when the
   * word is not cached (`remember` may then be called for it).
   */
  recall(bytes: Uint8Array, start: number, end: number, out: Uint32Array, position: number): number
  /** Keeps `ids[from..to)` for `bytes[start..end)`, which must not be cached yet. Words over LONGEST_WORD are not kept. */
  remember(bytes: Uint8Array, start: number, end: number, ids: Uint32Array, from: number, to: number): void
  /** Words held. */
  readonly size: number
}

/** Bytes of the longest word kept: longer ones are rare and would crowd out the others. */
export const LONGEST_WORD = 64

/** A cache of at most `capacity` words. Default 2^18: about 14 MB when full of words of English length. */
export function wordCache(capacity = 1 << 18): WordCache {
  let slots = new Int32Array(1 << 13).fill(-1)
  let entries = slots.length >> 1
  let hashes = new Uint32Array(entries)
  let keyStarts = new Uint32Array(entries)
  let idStarts = new Uint32Array(entries)
  let keyLengths = new Uint8Array(entries)
  let idCounts = new Uint8Array(entries)
  let keys = new Uint8Array(entries * 8)
  let ids = new Uint32Array(entries * 2)
  let size = 0
  let keyEnd = 0
  let idEnd = 0

  // FNV-1a over the bytes, then a mix: the low bits choose the slot.
  const hashOf = (bytes: Uint8Array, start: number, end: number): number => {
    let hash = 0x811c9dc5
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    return (hash ^ (hash >>> 13)) >>> 0
  }

  const clear = () => {
    slots.fill(-1)
    size = 0
    keyEnd = 0
    idEnd = 0
  }

  const grow = () => {
    entries *= 2
    hashes = enlarged(hashes, entries)
    keyStarts = enlarged(keyStarts, entries)
    idStarts = enlarged(idStarts, entries)
    keyLengths = enlarged(keyLengths, entries)
    idCounts = enlarged(idCounts, entries)
    slots = new Int32Array(2 * entries).fill(-1)
    const mask = slots.length - 1
    for (let entry = 0; entry < size; entry++) {
      let slot = hashes[entry] & mask
      while (slots[slot] !== -1) slot = (slot + 1) & mask
      slots[slot] = entry
    }
  }

  return {
    get size() {
      return size
    },
    recall(bytes, start, end, out, position) {
      const length = end - start
      if (length > LONGEST_WORD) return -1
      const hash = hashOf(bytes, start, end)
      const mask = slots.length - 1
      for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
        const entry = slots[slot]
        if (entry === -1) return -1
        if (hashes[entry] !== hash || keyLengths[entry] !== length) continue
        const key = keyStarts[entry]
        let same = 0
        while (same < length && keys[key + same] === bytes[start + same]) same++
        if (same < length) continue
        const from = idStarts[entry]
        const count = idCounts[entry]
        for (let i = 0; i < count; i++) out[position + i] = ids[from + i]
        return position + count
      }
    },
    remember(bytes, start, end, wordIds, from, to) {
      const length = end - start
      if (length > LONGEST_WORD) return
      if (size === capacity) clear()
      else if (size === entries) grow()
      while (keyEnd + length > keys.length) keys = enlarged(keys, 2 * keys.length)
      while (idEnd + to - from > ids.length) ids = enlarged(ids, 2 * ids.length)
      const hash = hashOf(bytes, start, end)
      hashes[size] = hash
      keyStarts[size] = keyEnd
      keyLengths[size] = length
      idStarts[size] = idEnd
      idCounts[size] = to - from
      for (let i = start; i < end; i++) keys[keyEnd++] = bytes[i]
      for (let i = from; i < to; i++) ids[idEnd++] = wordIds[i]
      const mask = slots.length - 1
      let slot = hash & mask
      while (slots[slot] !== -1) slot = (slot + 1) & mask
      slots[slot] = size++
    },
  }
}

function enlarged<T extends Uint8Array | Uint32Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length)
  larger.set(array)
  return larger
}
