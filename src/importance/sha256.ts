/**
 * SHA-256 (FIPS 180-4) of short byte strings, reduced modulo a small number without making a digest: the core has no
 * `node:crypto`, and DSIR needs millions of hashes of some ten bytes, each one block.
 */

/** The first 64 primes, as 32 bits of the fractions of their cube roots; the initial state: square roots of the first 8. */
const K = new Int32Array(64)
const INITIAL = new Int32Array(8)

{
  // Exact in integers: floor(root(p) 2^32) by bisection, so that no constant is copied wrongly.
  const fraction = (prime: number, power: bigint) => {
    const scaled = BigInt(prime) << (32n * power)
    let low = 0n
    let high = 1n << 40n
    while (high - low > 1n) {
      const middle = (low + high) >> 1n
      if (middle ** power <= scaled) low = middle
      else high = middle
    }
    return Number(BigInt.asIntN(32, low))
  }
  let found = 0
  for (let candidate = 2; found < 64; candidate++) {
    let divisor = 2
    while (candidate % divisor !== 0) divisor++
    if (divisor < candidate) continue
    if (found < 8) INITIAL[found] = fraction(candidate, 2n)
    K[found++] = fraction(candidate, 3n)
  }
}

const state = new Int32Array(8)
const w = new Int32Array(64)

/** One block, whose sixteen words stand in `w`, into `state`. */
function compress(): void {
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]
    const y = w[i - 2]
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0
  }
  let [a, b, c, d] = [state[0], state[1], state[2], state[3]]
  let [e, f, g, h] = [state[4], state[5], state[6], state[7]]
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  state[0] = (state[0] + a) | 0
  state[1] = (state[1] + b) | 0
  state[2] = (state[2] + c) | 0
  state[3] = (state[3] + d) | 0
  state[4] = (state[4] + e) | 0
  state[5] = (state[5] + f) | 0
  state[6] = (state[6] + g) | 0
  state[7] = (state[7] + h) | 0
}

/** The largest `modulus`: a remainder below it, shifted by a word, stays an exact float64. */
export const LARGEST_MODULUS = 2 ** 21

/**
 * sha256(bytes[0, length)), read as a big-endian 256-bit integer, modulo `modulus` (1 to 2^21). O(length). Overwrites
 * `bytes` from `length` to the end of the last block: it must hold at least `paddedLength(length)` bytes.
 */
export function sha256Modulo(bytes: Uint8Array, length: number, modulus: number): number {
  const end = paddedLength(length)
  bytes[length] = 0x80
  bytes.fill(0, length + 1, end - 8)
  const bits = 8 * length
  for (let i = 1, rest = bits; i <= 8; i++, rest = Math.floor(rest / 256)) bytes[end - i] = rest % 256
  state.set(INITIAL)
  for (let at = 0; at < end; ) {
    for (let i = 0; i < 16; i++, at += 4)
      w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
    compress()
  }
  let rest = 0
  for (let i = 0; i < 8; i++) rest = (rest * 2 ** 32 + (state[i] >>> 0)) % modulus
  return rest
}

/** Bytes of the blocks that hold `length` bytes, the bit 1 and the length. */
export const paddedLength = (length: number): number => Math.ceil((length + 9) / 64) * 64
