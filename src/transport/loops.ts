/** Generated loops over rows of a tile and over the columns of a row. */

import {
  type Code,
  type FunctionBuilder,
  f64,
  f64x2,
  I32,
  i32,
  type Local,
  loopWhile,
  V128,
  v128,
  when,
} from '../webassembly/assembler.ts'

export const advance = (local: Local, by: number): Code => local.set(i32.add(local.get, i32.const(by)))
export const at = (base: number, offset: Code): Code => i32.add(i32.const(base), offset)
export const zero = v128.i32x4(0, 0, 0, 0)

/** Bytes of a row after which float32 sums are folded into float64. */
const SEGMENT = 4096

/** Calls `body(row)` for rows [first, first + count), with `row4` = 4 * row. Both parameters are used up. */
export function overRows(first: Local, count: Local, row4: Local, ...body: Code[]): Code {
  return [
    ...row4.set(i32.shl(first.get, i32.const(2))),
    ...loopWhile(count.get, ...body, advance(row4, 4), advance(count, -1)),
  ]
}

/**
 * `body(extra)` for every 16 bytes of `bytes` (a constant multiple of 32, or a local of such), twice a round: `offset` runs from 0,
 * `extra` is 0 and then 16.
 */
export function overColumns(offset: Local, bytes: number | Local, body: (extra: number) => Code): Code {
  const end = typeof bytes === 'number' ? i32.const(bytes) : bytes.get
  return [...offset.set(i32.const(0)), ...loopWhile(i32.ltU(offset.get, end), body(0), body(16), advance(offset, 32))]
}

/** The same over a constant length, with `fold` after every segment and at the end. */
export function overSegments(offset: Local, bytes: number, body: (extra: number) => Code, fold: Code): Code {
  const round = [body(0), body(16), advance(offset, 32)]
  const whole = Math.floor(bytes / SEGMENT) * SEGMENT
  const full = i32.eqz(i32.and(offset.get, i32.const(SEGMENT - 1)))
  const segments = loopWhile(i32.ltU(offset.get, i32.const(whole)), ...round, when(full, [fold]))
  const remainder = [...loopWhile(i32.ltU(offset.get, i32.const(bytes)), ...round), ...fold]
  return [...offset.set(i32.const(0)), ...(whole === 0 ? [] : segments), ...(bytes === whole ? [] : remainder)]
}

/** A float64 sum of float32 vectors: one or two partial sums in float32, folded into two in float64. */
export interface WideSum {
  reset: Code
  /** Adds the vector that `next(partial)` computes from the partial sum. */
  add(extra: number, next: (partial: Code) => Code): Code
  fold: Code
  /** Stores the total at an address. */
  store(address: Code): Code
}

export function wideSum(build: FunctionBuilder, count = 2): WideSum {
  const partials = Array.from({ length: count }, () => build.local(V128))
  const wide = build.local(V128)
  const widen = (partial: Local): Code[] => [
    wide.set(f64x2.add(wide.get, f64x2.promoteLow(partial.get))),
    wide.set(f64x2.add(wide.get, f64x2.promoteLow(v128.shuffle32(partial.get, partial.get, 2, 3, 2, 3)))),
    partial.set(zero),
  ]
  return {
    reset: [...partials, wide].flatMap((local) => local.set(zero)),
    add: (extra, next) => {
      const partial = partials[(extra / 16) % count]
      return partial.set(next(partial.get))
    },
    fold: partials.flatMap((partial) => widen(partial).flat()),
    store: (address) => f64.store(address, f64.add(f64x2.lane0(wide.get), f64x2.lane1(wide.get))),
  }
}

export const locals = (build: FunctionBuilder, count: number, type: number = I32): Local[] =>
  Array.from({ length: count }, () => build.local(type))
