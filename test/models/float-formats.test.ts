import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeInto, encodeFloats, type FloatFormat, type SavedFormat } from '../../src/models/float-formats.ts'

const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits)
const bytesOf = (numbers: Uint16Array | Float64Array | Float32Array) =>
  new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)

function decoded(bytes: Uint8Array, format: FloatFormat, count: number): Float32Array {
  const data = new Float32Array(count)
  decodeInto(data, 0, bytes, format)
  return data
}

const encoded = (values: number[], format: SavedFormat) =>
  [...new Uint16Array(encodeFloats(Float32Array.from(values), format).buffer)].map((bits) => bits.toString(16))

/** The number that a bit pattern stands for, from the definition in IEEE 754. */
function value(bits: number, format: 'F16' | 'BF16'): number {
  const [exponentBits, fractionBits] = format === 'F16' ? [5, 10] : [8, 7]
  const sign = bits >= 0x8000 ? -1 : 1
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1)
  const fraction = bits & (2 ** fractionBits - 1)
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits)
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias)
}

describe.each(['F16', 'BF16'] as const)('%s', (format) => {
  it('decodes each of its 65,536 numbers to the one that IEEE 754 defines', () => {
    const found = decoded(bytesOf(ALL), format, 65536)
    for (let bits = 0; bits < 65536; bits++)
      if (!Object.is(found[bits], Math.fround(value(bits, format)))) {
        expect(found[bits], bits.toString(16)).toBe(value(bits, format))
      }
  })

  it('gives every number back bit for bit, signalling NaNs made quiet with their payload kept', () => {
    const back = new Uint16Array(encodeFloats(decoded(bytesOf(ALL), format, 65536), format).buffer)
    const quiet = format === 'F16' ? 0x200 : 0x40
    for (let bits = 0; bits < 65536; bits++) {
      const expected = Number.isNaN(value(bits, format)) ? bits | quiet : bits
      if (back[bits] !== expected) expect(back[bits].toString(16)).toBe(expected.toString(16))
    }
  })

  it('rounds to the nearest of its numbers, ties to the even one', () => {
    const top = format === 'F16' ? 0x7bff : 0x7f7f
    const step = value(top, format) - value(top - 1, format)
    const near = fc
      .tuple(fc.integer({ min: 0, max: top }), fc.constantFrom(0, 0.25, 0.5, 0.75, 0.4999, 0.5001), fc.boolean())
      .map(([bits, part, negative]) => {
        const low = value(bits, format)
        const high = bits === top ? low + step : value(bits + 1, format)
        const exact = Math.fround(low + part * (high - low))
        const even = bits % 2 === 0 ? bits : bits + 1
        const middle = (low + high) / 2
        const rounded = exact < middle ? bits : exact > middle ? bits + 1 : even
        return { exact: negative ? -exact : exact, expected: (negative ? 0x8000 : 0) + rounded }
      })
    fc.assert(
      fc.property(near, ({ exact, expected }) => {
        // Float32 cannot hold the middle between bfloat16's last number and infinity's place otherwise.
        if (!Number.isFinite(exact)) return
        expect(encoded([exact], format)).toEqual([expected.toString(16)])
      }),
      { numRuns: 2000 },
    )
  })
})

describe('hard cases', () => {
  it('of F16: the overflow threshold, the subnormal border, the smallest and half of it, zeros', () => {
    expect(encoded([65504, 65519.996, 65520, -65520, Infinity], 'F16')).toEqual([
      '7bff',
      '7bff',
      '7c00',
      'fc00',
      '7c00',
    ])
    expect(encoded([2 ** -14, 2 ** -14 - 2 ** -25, 2 ** -24, 2 ** -25, 1.0001 * 2 ** -25], 'F16')).toEqual([
      '400',
      '400',
      '1',
      '0',
      '1',
    ])
    expect(encoded([3 * 2 ** -25, 5 * 2 ** -25, -0, 1e-45, NaN], 'F16')).toEqual(['2', '2', '8000', '0', '7e00'])
    expect(encoded([1 + 2 ** -11, 1 + 3 * 2 ** -11, 2049, 2051], 'F16')).toEqual(['3c00', '3c02', '6800', '6802'])
  })

  it('of BF16: ties, the carry into the exponent, overflow to infinity, subnormals', () => {
    expect(encoded([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1.99999, 3.4e38, 3.3895e38], 'BF16')).toEqual([
      '3f80',
      '3f82',
      '4000',
      '7f80',
      '7f7f',
    ])
    expect(encoded([2 ** -133, 2 ** -134, 3 * 2 ** -134, -0, NaN, -Infinity], 'BF16')).toEqual([
      '1',
      '0',
      '2',
      '8000',
      '7fc0',
      'ff80',
    ])
  })

  it('reads F64 to the nearest float32, and bytes at any offset', () => {
    const doubles = Float64Array.of(0.1, 1e300, -1e-320, 16777217, NaN)
    expect([...decoded(bytesOf(doubles), 'F64', 5)]).toEqual([Math.fround(0.1), Infinity, -0, 16777216, NaN])
    const shifted = Buffer.concat([Buffer.alloc(1), bytesOf(doubles)]).subarray(1)
    expect(decoded(Uint8Array.from(shifted), 'F64', 5)).toEqual(decoded(shifted, 'F64', 5))
    const odd = Uint8Array.of(9, 0x00, 0x3c, 0x00, 0xc0).subarray(1)
    expect([...decoded(odd, 'F16', 2)]).toEqual([1, -2])
  })

  it('keeps the bits of an F32 signalling NaN', () => {
    const signalling = Uint8Array.of(1, 0, 0xa0, 0x7f)
    expect(encodeFloats(decoded(signalling, 'F32', 1), 'F32')).toEqual(signalling)
  })
})
