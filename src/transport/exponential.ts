/**
 * exp and log of four float32 at once, as WebAssembly SIMD.
 *
 * exp(x) = 2^k exp(r), x = k ln 2 + r, |r| <= ln 2 / 2; log(x) = k ln 2 + log(1 + t), sqrt(1/2) <= 1 + t < sqrt(2). The polynomials
 * are minimax fits of the relative error (Lawson's algorithm, 3e-9 and 3e-8 before rounding); with float32's own rounding
 * exp is within 2e-7 and log within 3e-7 of the truth, relatively.
 */

import { type Code, f32, f32x4, i32, i32x4, type Local, v128 } from '../webassembly/assembler.ts'
import { multiplyAdd } from '../webassembly/relaxed.ts'

const splat = (value: number): Code => f32x4.splat(f32.const(value))
const splatBits = (bits: number): Code => i32x4.splat(i32.const(bits))

/** Adding it rounds to a whole number, which then is in the low bits. */
const ROUNDER = 1.5 * 2 ** 23
/** ln 2 in two parts: products of the first with exponents are exact. */
const LN2_HIGH = 355 / 512
const LN2_LOW = Math.LN2 - LN2_HIGH
/** Below, the exponential counts as 0: against the row's largest, 1, it is 2e-22. */
export const LEAST_EXPONENT = -50

const EXP = [0.5, 0.1666651964187622, 0.041668400168418884, 0.00836885068565607, 0.0013814320554956794]
const LOG = [
  ...[0.3333390951156616, -0.2500133812427521, 0.19963063299655914, -0.1657758504152298],
  ...[0.14914767444133759, -0.14267487823963165, 0.08700437843799591],
]

export interface ExponentialLocals {
  /** v128: the argument, kept. */
  x: Local
  /** v128, overwritten. */
  whole: Local
  rest: Local
}

/** exp(x) for -50 <= x <= 60; 0 for x below. Leaves the value on the stack. */
export function exponential({ x, whole, rest }: ExponentialLocals, relaxed: boolean): Code {
  const madd = multiplyAdd(relaxed)
  const r = rest.get
  const series = EXP.slice(0, -1).reduceRight((sum, c) => madd(sum, r, splat(c)), splat(EXP[EXP.length - 1]))
  const power = madd(madd(series, r, splat(1)), r, splat(1))
  return [
    ...whole.set(madd(x.get, splat(Math.LOG2E), splat(ROUNDER))),
    ...rest.set(f32x4.sub(whole.get, splat(ROUNDER))),
    ...rest.set(madd(rest.get, splat(-LN2_LOW), madd(rest.get, splat(-LN2_HIGH), x.get))),
    ...v128.and(i32x4.add(power, i32x4.shl(whole.get, i32.const(23))), f32x4.ge(x.get, splat(LEAST_EXPONENT))),
  ]
}

/** log(x) of normal positive numbers; x is overwritten. Leaves the value on the stack. */
export function logarithm({ x, whole, rest }: ExponentialLocals, relaxed: boolean): Code {
  const madd = multiplyAdd(relaxed)
  const t = rest.get
  const series = LOG.slice(0, -1).reduceRight((sum, c) => madd(sum, t, splat(c)), splat(LOG[LOG.length - 1]))
  const power = madd(f32x4.mul(t, t), madd(series, t, splat(-0.5)), t)
  const rootHalf = new Int32Array(new Float32Array([Math.SQRT1_2]).buffer)[0]
  return [
    ...whole.set(i32x4.shrS(i32x4.sub(x.get, splatBits(rootHalf)), i32.const(23))),
    ...rest.set(f32x4.sub(i32x4.sub(x.get, i32x4.shl(whole.get, i32.const(23))), splat(1))),
    ...whole.set(f32x4.fromI32x4(whole.get)),
    ...f32x4.add(madd(whole.get, splat(LN2_LOW), power), f32x4.mul(whole.get, splat(LN2_HIGH))),
  ]
}
