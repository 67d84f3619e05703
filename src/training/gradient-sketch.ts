/** Gradients too long to keep many of, as short vectors with nearly the same inner products. */

import { randomStream } from '../random/philox.ts'

export interface GradientSketch {
  /** D */
  readonly dimensions: number
  /** Adds the gradient [P] into `out` [D]. */
  add(gradient: Float32Array, out: Float32Array): void
}

/**
 * A count sketch: parameter i goes, with sign s_i, into entry h_i of D = `dimensions`, a power of two; h_i and s_i are bits of the i-th number
 * of the philox stream `gradient sketch`, so that they depend on the seed and the parameter's place alone. Inner products come out
 * right in the mean, with variance at most (|x|^2 |y|^2 + <x, y>^2) / D: for unit vectors a standard error below sqrt(2 / D), 0.0028 for
 * D = 2^18. Pairs of one sketch share its errors, so a mean over pairs is no closer by their number alone.
 *
 * O(P) time a gradient, 4 P bytes. Source: Charikar, Chen and Farach-Colton 2002; as a hash kernel Weinberger et al. 2009.
 */
export function gradientSketch(parameters: number, dimensions: number, seed: number): GradientSketch {
  if (!(dimensions >= 1 && dimensions <= 2 ** 30 && Number.isInteger(Math.log2(dimensions))))
    throw new RangeError(`${dimensions} dimensions are no power of two`)
  const stream = randomStream(seed, 'gradient sketch')
  const places = new Uint32Array(parameters)
  for (let i = 0; i < parameters; i++) places[i] = stream.uint32()
  const mask = dimensions - 1
  return {
    dimensions,
    add(gradient, out) {
      for (let i = 0; i < parameters; i++) {
        const place = places[i]
        out[place & mask] += place >>> 31 === 0 ? gradient[i] : -gradient[i]
      }
    },
  }
}

/** Most entries of a sketch: beyond it errors are below what a sample of rows can tell. */
const MOST_DIMENSIONS = 2 ** 18

/**
 * How long the vectors of `rows` gradients of P = `parameters` numbers are that take at most `bytes`: P itself, kept whole, where they fit; else the
 * largest power of two that does, at most 2^18.
 */
export function sketchDimensions(rows: number, parameters: number, bytes: number): number {
  const most = bytes / (4 * Math.max(1, rows))
  if (parameters <= most) return parameters
  return Math.min(MOST_DIMENSIONS, 2 ** Math.floor(Math.log2(Math.max(1, most))))
}
