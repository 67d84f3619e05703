/**
 * Counter-based randomness: Philox4x32-10 (Salmon et al., SC 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * A draw is a pure function of (seed, purpose, id, position), so results never depend on thread count or call order.
 */

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85

/** High 32 bits of the unsigned product a * b. No step leaves 32 bits: (2^16 - 1)^2 + 2^16 - 1 < 2^32. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) >>> 0
  const middle2 = (Math.imul(aLow, bHigh) + (middle & 0xffff)) >>> 0
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (middle2 >>> 16)) >>> 0
}

/** One Philox4x32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key. Writes to and returns `out`. */
export function philox(counter: ArrayLike<number>, key: ArrayLike<number>, out = new Uint32Array(4)): Uint32Array {
  let [c0, c1, c2, c3] = [counter[0] >>> 0, counter[1] >>> 0, counter[2] >>> 0, counter[3] >>> 0]
  let [k0, k1] = [key[0] >>> 0, key[1] >>> 0]
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0)
    const low0 = Math.imul(M0, c0) >>> 0
    const high1 = mulHigh(M1, c2)
    const low1 = Math.imul(M1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
  return out
}

/** FNV-1a over UTF-16 code units: names a purpose as 32 bits. */
function purposeKey(purpose: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193) >>> 0
  return hash
}

export interface RandomStream {
  /** Uniform integer in [0, 2^32). */
  uint32(): number
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number
  /** Uniform integer in [0, bound), without modulo bias. */
  below(bound: number): number
  /** Standard normal (Box-Muller; one draw per call, the second half is not kept, so that positions stay simple). */
  normal(): number
}

function startOf(seed: number, purpose: string, id: number): { key: number[]; counter: Uint32Array } {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed ${seed} is not an integer in [0, 2^53)`)
  const counter = new Uint32Array([0, Math.floor(seed / 2 ** 32), id >>> 0, Math.floor(id / 2 ** 32)])
  return { key: [seed >>> 0, purposeKey(purpose)], counter }
}

/**
 * The random stream of (seed, purpose, id): `purpose` separates uses (`kmeans`, `shuffle`, …), `id` separates rows,
 * epochs or restarts. Seeds are integers in [0, 2^53).
 */
export function randomStream(seed: number, purpose: string, id = 0): RandomStream {
  const { key, counter } = startOf(seed, purpose, id)
  const block = new Uint32Array(4)
  let position = 4
  const uint32 = () => {
    if (position === 4) {
      philox(counter, key, block)
      counter[0]++
      position = 0
    }
    return block[position++]
  }
  const uniform = () => ((uint32() >>> 5) * 0x4000000 + (uint32() >>> 6)) / 2 ** 53
  const below = (bound: number) => {
    if (!(bound >= 1 && bound <= 2 ** 32)) throw new RangeError(`bound ${bound} is not in [1, 2^32]`)
    const limit = 2 ** 32 - (2 ** 32 % bound)
    let draw = uint32()
    while (draw >= limit) draw = uint32()
    return draw % bound
  }
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()))
    return radius * Math.cos(2 * Math.PI * uniform())
  }
  return { uint32, uniform, below, normal }
}

/**
 * Fills `words` with the first of `randomStream(seed, purpose, id)`: many at once, several times as fast as one by one.
 * Returns `words`.
 */
export function randomWords(seed: number, purpose: string, id: number, words: Uint32Array): Uint32Array {
  const { key, counter } = startOf(seed, purpose, id)
  const [key0, key1] = key
  const [, start1, start2, start3] = counter
  for (let at = 0, block = 0; at < words.length; at += 4, block++) {
    let c0 = block | 0
    let c1 = start1 | 0
    let c2 = start2 | 0
    let c3 = start3 | 0
    let k0 = key0 | 0
    let k1 = key1 | 0
    for (let round = 0; round < 10; round++) {
      const next0 = mulHigh(M1, c2) ^ c1 ^ k0
      const next2 = mulHigh(M0, c0) ^ c3 ^ k1
      c1 = Math.imul(M1, c2)
      c3 = Math.imul(M0, c0)
      c0 = next0
      c2 = next2
      k0 = (k0 + W0) | 0
      k1 = (k1 + W1) | 0
    }
    words[at] = c0
    if (at + 1 < words.length) words[at + 1] = c1
    if (at + 2 < words.length) words[at + 2] = c2
    if (at + 3 < words.length) words[at + 3] = c3
  }
  return words
}

/** Fisher-Yates shuffle in place. */
export function shuffle<T extends Uint32Array | number[]>(items: T, stream: RandomStream): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = stream.below(i + 1)
    const item = items[i]
    items[i] = items[j]
    items[j] = item
  }
  return items
}

/** `count` of `items`, uniform without replacement, in drawn order. O(items). */
export function sample(items: Uint32Array, count: number, stream: RandomStream): Uint32Array {
  if (count > items.length) throw new RangeError(`cannot draw ${count} of ${items.length} without replacement`)
  const pool = items.slice()
  for (let i = 0; i < count; i++) {
    const j = i + stream.below(pool.length - i)
    const item = pool[i]
    pool[i] = pool[j]
    pool[j] = item
  }
  return pool.subarray(0, count)
}
