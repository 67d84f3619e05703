/**
 * SHA-256 (FIPS 180-4) of four messages at a time, one in each 32-bit lane of WebAssembly SIMD: the core has no `node:crypto`, and
 * DSIR needs millions of hashes of some ten bytes. A block takes about 0.1 µs; in JavaScript, or through Node's `crypto`, it takes 1.
 */

import {
  assemble,
  type Code,
  functionBuilder,
  I32,
  i32,
  i32x4,
  type Local,
  loopWhile,
  V128,
  v128,
} from '../webassembly/assembler.ts'
import { WebAssembly } from '../webassembly/webassembly.ts'

/** Messages of a call. */
export const LANES = 4

/** Addresses: 64 schedule words of 4 lanes, 8 state words of 4 lanes, 64 round constants. */
const SCHEDULE = 0
const STATE = 1024
const CONSTANTS = STATE + 128
/** Rounds written out, so that the eight variables come back to their places without moves. */
const UNROLLED = 8

export interface Sha256Kernel {
  /** [16, 4] big-endian words of a padded block of each message, to be written: word i of message l at 4 i + l. */
  readonly blocks: Int32Array
  /** [8, 4] words of the states: the digests, once the last blocks are through. */
  readonly states: Int32Array
  /** Sets the states to those before a first block. */
  begin(): void
  /** Puts a block of each message through. */
  digest(): void
}

/** A kernel with memory of its own (64 KiB). */
export function sha256Kernel(): Sha256Kernel {
  const module = new WebAssembly.Module(
    assemble({
      pages: 1,
      shared: false,
      imports: [],
      functions: [{ name: 'digest', parameters: 0, code: digestFunction() }],
    }),
  )
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: false })
  const { exports } = new WebAssembly.Instance(module, { core: { memory } })
  const primes = firstPrimes(64)
  new Int32Array(memory.buffer, CONSTANTS, 64).set(primes.map((prime) => rootFraction(prime, 3n)))
  const initial = Int32Array.from({ length: 8 * LANES }, (_, i) => rootFraction(primes[Math.floor(i / LANES)], 2n))
  const states = new Int32Array(memory.buffer, STATE, 8 * LANES)
  return {
    blocks: new Int32Array(memory.buffer, SCHEDULE, 16 * LANES),
    states,
    begin: () => states.set(initial),
    digest: (exports as { digest(): void }).digest,
  }
}

function firstPrimes(count: number): number[] {
  const primes: number[] = []
  for (let candidate = 2; primes.length < count; candidate++)
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate)
  return primes
}

/** The first 32 bits of the fraction of the `power`-th root, in integers: the standard's constants, none copied. */
function rootFraction(prime: number, power: bigint): number {
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

const rotated = (x: Code, bits: number) => v128.or(i32x4.shrU(x, i32.const(bits)), i32x4.shl(x, i32.const(32 - bits)))
const shifted = (x: Code, bits: number) => i32x4.shrU(x, i32.const(bits))
const xor = (a: Code, b: Code, c: Code) => v128.xor(v128.xor(a, b), c)
const sum = (...terms: Code[]) => terms.reduce((a, b) => i32x4.add(a, b))

function digestFunction(): number[] {
  const build = functionBuilder(0)
  const at = build.local(I32)
  const [x, y] = [build.local(V128), build.local(V128)]
  const state = Array.from({ length: 8 }, () => build.local(V128))
  const word = (i: number) => v128.load(at.get, SCHEDULE + 16 * i)

  /** FIPS 180-4, 6.2.2: step 1, word t = at / 16 + 16. */
  const schedule = [
    x.set(word(1)),
    y.set(word(14)),
    v128.store(
      at.get,
      sum(
        word(0),
        xor(rotated(x.get, 7), rotated(x.get, 18), shifted(x.get, 3)),
        word(9),
        xor(rotated(y.get, 17), rotated(y.get, 19), shifted(y.get, 10)),
      ),
      SCHEDULE + 256,
    ),
    at.set(i32.add(at.get, i32.const(16))),
  ]

  /** Step 3, round t = at / 16 + i: h takes the new a, d the new e. */
  const round = ([a, b, c, d, e, f, g, h]: Local[], i: number): Code[] => [
    h.set(
      sum(
        h.get,
        xor(rotated(e.get, 6), rotated(e.get, 11), rotated(e.get, 25)),
        v128.bitselect(f.get, g.get, e.get),
        v128.load32Splat(i32.shrU(at.get, i32.const(2)), CONSTANTS + 4 * i),
        word(i),
      ),
    ),
    d.set(i32x4.add(d.get, h.get)),
    h.set(
      sum(
        h.get,
        xor(rotated(a.get, 2), rotated(a.get, 13), rotated(a.get, 22)),
        // The majority: where a and b agree it is theirs, else c's.
        v128.bitselect(c.get, b.get, v128.xor(a.get, b.get)),
      ),
    ),
  ]
  const rounds = Array.from({ length: UNROLLED }, (_, i) =>
    round(
      state.map((_, place) => state[(place + UNROLLED - i) % UNROLLED]),
      i,
    ),
  )

  return build.close([
    ...at.set(i32.const(0)),
    ...loopWhile(i32.ltU(at.get, i32.const(16 * 48)), ...schedule),
    ...state.flatMap((local, i) => local.set(v128.load(i32.const(STATE), 16 * i))),
    ...at.set(i32.const(0)),
    ...loopWhile(
      i32.ltU(at.get, i32.const(16 * 64)),
      ...rounds.flat(),
      at.set(i32.add(at.get, i32.const(16 * UNROLLED))),
    ),
    ...state.flatMap((local, i) =>
      v128.store(i32.const(STATE), i32x4.add(v128.load(i32.const(STATE), 16 * i), local.get), 16 * i),
    ),
    ...i32.const(0),
  ])
}
