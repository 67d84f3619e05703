/** Generated loops over the dimensions of a point. */

import { type Code, i32, type Local, loopWhile } from './assembler.ts'

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
