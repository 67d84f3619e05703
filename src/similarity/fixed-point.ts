/**
 * Unit vectors in fixed point: each component a signed 16-bit multiple of 2^-14, so that a cosine is a sum of integer products. Two of them fit
 * one 32-bit lane and a vector instruction sums eight products, which is faster than float32; and integer sums have the same bits in any order,
 * on any machine.
 */

import { PANEL_COLUMNS, panelled } from './tiles.ts'
import type { Vectors } from './vectors.ts'

/** 1 as a component. */
const UNIT = 2 ** 14
/** 1 as a cosine: products of two components. */
export const FIXED_ONE = UNIT * UNIT

/** Pairs of components of a vector of d dimensions, an odd one filled up with 0. */
export const pairsOf = (d: number): number => Math.ceil(d / 2)

/** int32 lanes that n packed vectors take: whole panels. */
export const fixedLanes = (n: number, d: number): number => panelled(n) * pairsOf(d)

/**
 * Scales each vector to unit length in float64, rounds its components to multiples of 2^-14 and packs them into `panels`: groups of eight
 * vectors, each laid out [ceil(d / 2), 8] with a pair of components in a lane. A zero vector stays zero. Writes rows [0, n) from `first` on.
 *
 * The product of two such vectors over 2^28 is their cosine but for the rounding: an error of some 2.5e-5 (one deviation), and never more than
 * sqrt(d) 2^-14. O(n d).
 */
export function packFixed({ data, n, d }: Vectors, panels: Int32Array, first = 0): void {
  for (let i = 0; i < n; i++) {
    let square = 0
    for (let at = i * d; at < (i + 1) * d; at++) square += data[at] * data[at]
    const scale = square === 0 ? 0 : UNIT / Math.sqrt(square)
    let place = fixedPlace(first + i, d)
    for (let j = 0; j < d; j += 2) {
      const low = Math.round(scale * data[i * d + j])
      const high = j + 1 < d ? Math.round(scale * data[i * d + j + 1]) : 0
      panels[place] = (low & 0xffff) | (high << 16)
      place += PANEL_COLUMNS
    }
  }
}

/** Where the first pair of packed vector i stands; the next ones follow eight lanes apart. */
export const fixedPlace = (i: number, d: number): number =>
  Math.floor(i / PANEL_COLUMNS) * PANEL_COLUMNS * pairsOf(d) + (i % PANEL_COLUMNS)

/** Component j of packed vector i. */
export function fixedComponent(panels: Int32Array, d: number, i: number, j: number): number {
  const lane = panels[fixedPlace(i, d) + PANEL_COLUMNS * (j >> 1)]
  return j % 2 === 0 ? (lane << 16) >> 16 : lane >> 16
}
