/** What kernels over vectors accept, checked before anything is computed. */

import { WinnowError } from '../errors.ts'
import type { Vectors } from './vectors.ts'

/** @throws {WinnowError} `vectors-shape`: there are not n * d values, n >= 1, d >= 1. `what`: a plural noun phrase. */
export function checkShape({ data, n, d }: Vectors, what: string): void {
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 1
  if (isCount(n) && isCount(d) && data.length === n * d) return
  throw new WinnowError('input', {
    code: 'vectors-shape',
    message: `${what} do not have the shape they claim`,
    found: `${data.length} values for [${n}, ${d}]`,
    expected: 'n * d values, n >= 1, d >= 1',
  })
}

/** @throws {WinnowError} `vectors-shape` */
export function checkSameDimensions(a: Vectors, b: Vectors, what: string): void {
  if (a.d === b.d) return
  throw new WinnowError('input', {
    code: 'vectors-shape',
    message: `${what} have different dimensions`,
    found: `${a.d} and ${b.d}`,
    expected: 'vectors of one embedding',
  })
}

/** @throws {WinnowError} `vectors-not-finite`, naming the first bad value. `firstRow` is added to its row. */
export function checkFinite(data: Float32Array, d: number, what: string, firstRow = 0): void {
  if (allFinite(data)) return
  const bad = data.findIndex((value) => !Number.isFinite(value))
  throw new WinnowError('input', {
    code: 'vectors-not-finite',
    message: `${what}: row ${firstRow + Math.floor(bad / d)} is not finite in dimension ${bad % d}`,
    found: String(data[bad]),
    expected: 'a finite number',
    hint: 'Set such rows aside first.',
  })
}

/** 0 * x is 0 for finite x and NaN for all else: four sums at once, several times faster than asking one by one. */
export function allFinite(data: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0]
  let i = 0
  for (; i + 3 < data.length; i += 4) {
    a += 0 * data[i]
    b += 0 * data[i + 1]
    c += 0 * data[i + 2]
    d += 0 * data[i + 3]
  }
  for (; i < data.length; i++) a += 0 * data[i]
  return a + b + c + d === 0
}
