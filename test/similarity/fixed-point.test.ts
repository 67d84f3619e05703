import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FIXED_ONE, fixedComponent, fixedLanes, packFixed } from '../../src/similarity/fixed-point.ts'
import { dot, referenceCosines } from '../../src/similarity/reference.ts'
import { clustered, vectorsOf } from './vectors.ts'

const packed = (vectors: { data: Float32Array; n: number; d: number }) => {
  const panels = new Int32Array(fixedLanes(vectors.n, vectors.d))
  packFixed(vectors, panels)
  return (i: number, j: number) => fixedComponent(panels, vectors.d, i, j)
}

it('keeps components at unit length as multiples of 2^-14, negative ones too', () => {
  const at = packed(
    vectorsOf([
      [3, -4, 0],
      [0, 0, 0],
      [0, 0, -1e-30],
    ]),
  )
  expect([at(0, 0), at(0, 1), at(0, 2)]).toEqual([Math.round(0.6 * 2 ** 14), Math.round(-0.8 * 2 ** 14), 0])
  expect([at(1, 0), at(1, 1), at(1, 2)]).toEqual([0, 0, 0])
  expect(at(2, 2)).toBe(-(2 ** 14))
})

it('leaves cosines within sqrt(d) 2^-14 of the truth, and mostly within 1e-4', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.nat(1000), (d, seed) => {
      const vectors = clustered(12, d, { seed })
      const cosines = referenceCosines(vectors)
      const errors = Array.from({ length: 144 }, (_, at) =>
        Math.abs(cosines[at] - dot(vectors, Math.floor(at / 12), vectors, at % 12)),
      ).sort((a, b) => a - b)
      expect(errors[143]).toBeLessThanOrEqual(Math.sqrt(d) * 2 ** -14)
      expect(errors[72]).toBeLessThan(1e-4)
    }),
    { numRuns: 25 },
  )
})

it('holds the largest product of two vectors in an int32', () => {
  const at = packed(vectorsOf([Array.from({ length: 16_384 }, () => 1)]))
  let square = 0
  for (let j = 0; j < 16_384; j++) square += at(0, j) ** 2
  expect(square).toBe(FIXED_ONE)
})
