/** What k-means accepts, checked before anything is computed. */

import { WinnowError } from '../errors.ts'
import { allFinite } from '../similarity/validation.ts'
import type { KMeansOptions, Points } from './kmeans.ts'

export interface Problem {
  n: number
  d: number
  k: number
  restarts: number
  iterations: number
  tolerance: number
}

function fault(code: string, message: string, found: string, expected: string, hint?: string): WinnowError {
  return new WinnowError('input', { code, message, found, expected, hint })
}

/** The sizes and options with their defaults, or a WinnowError. O(n d): every value is looked at. */
export function validated({ data, n, d }: Points, options: KMeansOptions): Problem {
  const { k, initial, tolerance = 0 } = options
  const isCount = (value: number, least: number) => Number.isSafeInteger(value) && value >= least
  if (!isCount(n, 1) || !isCount(d, 1) || data.length !== n * d)
    throw fault(
      'points-shape',
      'points do not have the shape they claim',
      `${data.length} values for [${n}, ${d}]`,
      'n * d values, n >= 1, d >= 1',
    )
  const bad = allFinite(data) ? -1 : data.findIndex((value) => !Number.isFinite(value))
  if (bad >= 0)
    throw fault(
      'non-finite-point',
      `point ${Math.floor(bad / d)} is not finite in dimension ${bad % d}`,
      String(data[bad]),
      'a finite number',
      'Set such points aside before clustering.',
    )
  if (!isCount(k, 1) || k > n)
    throw fault('clusters', 'the number of clusters does not fit the points', `k = ${k}`, `an integer in [1, ${n}]`)
  if (initial !== undefined) {
    if (initial.length !== k * d)
      throw fault(
        'initial-centroids',
        'initial centroids have another shape',
        `${initial.length} values`,
        `[${k}, ${d}]`,
      )
    const wrong = initial.findIndex((value) => !Number.isFinite(Math.fround(value)))
    if (wrong >= 0)
      throw fault(
        'initial-centroids',
        `initial centroid ${Math.floor(wrong / d)} is not finite in dimension ${wrong % d}`,
        String(initial[wrong]),
        'a number that is finite in float32',
      )
  }
  const { restarts = initial === undefined ? 3 : 1, iterations = 20 } = options
  if (!isCount(restarts, 1) || (initial !== undefined && restarts > 1))
    throw fault(
      'kmeans-option',
      'restarts',
      String(restarts),
      initial === undefined ? 'an integer >= 1' : '1 with initial',
    )
  if (!isCount(iterations, 0)) throw fault('kmeans-option', 'iterations', String(iterations), 'an integer >= 0')
  if (!(tolerance >= 0)) throw fault('kmeans-option', 'tolerance', String(tolerance), 'a number >= 0')
  return { n, d, k, restarts, iterations, tolerance }
}
