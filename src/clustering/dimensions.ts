/** Generated loops over the dimensions of a point. */

import { type Code, f32, f32x4, i32, type Local, loopWhile, v128 } from '../webassembly/assembler.ts'

/** Dimensions written out one after another; beyond, a loop over chunks of them. */
export const UNROLLED = 32
const CHUNK = 8

export const step = (counter: Local, by: number): Code => counter.set(i32.add(counter.get, i32.const(by)))

/**
 * `count` rounds of `body`, written out while they are few; else a loop of chunks (counted by `left`) that moves both
 * pointers, which end behind the last round.
 */
export function overDimensions(
  count: number,
  [a, aStride]: [Local, number],
  [b, bStride]: [Local, number],
  left: Local,
  body: (aOffset: number, bOffset: number) => Code,
): Code[] {
  const rounds = (size: number) => Array.from({ length: size }, (_, j) => body(aStride * j, bStride * j))
  if (count <= UNROLLED) return rounds(count)
  const chunk = (size: number) => [...rounds(size), step(a, aStride * size), step(b, bStride * size)]
  return [
    left.set(i32.const(Math.floor(count / CHUNK))),
    loopWhile(left.get, ...chunk(CHUNK), step(left, -1)),
    ...(count % CHUNK === 0 ? [] : chunk(count % CHUNK)),
  ]
}

/** a * b + c, fused where `relaxed` allows and the machine can. */
export const multiplyAdd = (relaxed: boolean) => (a: Code, b: Code, c: Code) =>
  relaxed ? f32x4.relaxedMadd(a, b, c) : f32x4.add(c, f32x4.mul(a, b))

export interface SquareLocals {
  /** Addresses of the two points, which this may move. */
  x: Local
  c: Local
  /** i32. */
  left: Local
  /** v128. */
  sum: Local
  difference: Local
  /** f32. */
  rest: Local
  /** The result. */
  square: Local
}

/** `square` = |x - c|^2 in float32, four dimensions at a time. */
export function squareOf(d: number, locals: SquareLocals, relaxed: boolean): Code[] {
  const { x, c, left, sum, difference, rest, square } = locals
  const whole = Math.floor(d / 4)
  const tail = whole > UNROLLED ? 0 : 4 * whole
  return [
    sum.set(v128.i32x4(0, 0, 0, 0)),
    ...overDimensions(whole, [x, 16], [c, 16], left, (offset) => [
      ...difference.set(f32x4.sub(v128.load(x.get, offset), v128.load(c.get, offset))),
      ...sum.set(multiplyAdd(relaxed)(difference.get, difference.get, sum.get)),
    ]),
    sum.set(f32x4.add(sum.get, v128.shuffle32(sum.get, sum.get, 2, 3, 0, 1))),
    sum.set(f32x4.add(sum.get, v128.shuffle32(sum.get, sum.get, 1, 0, 3, 2))),
    square.set(f32x4.lane0(sum.get)),
    ...Array.from({ length: d % 4 }, (_, j) => 4 * (tail + j)).flatMap((offset) => [
      rest.set(f32.sub(f32.load(x.get, offset), f32.load(c.get, offset))),
      square.set(f32.add(square.get, f32.mul(rest.get, rest.get))),
    ]),
  ]
}
