/**
 * The number formats of weights as bytes: binary32, binary16 and binary64 of IEEE 754 and bfloat16 (the upper half of a binary32), all
 * little-endian. Everything is float32 in memory. Typed arrays have the machine's byte order, which is little-endian on every
 * platform that ONNX Runtime is built for.
 */

/** A number format that weights can be decoded from. */
export type FloatFormat = 'F32' | 'F16' | 'BF16' | 'F64'

/** A number format that weights can be saved in. */
export type SavedFormat = 'F32' | 'F16' | 'BF16'

export const FLOAT_BYTES: Readonly<Record<FloatFormat, number>> = { F32: 4, F16: 2, BF16: 2, F64: 8 }

export const isFloatFormat = (dtype: string): dtype is FloatFormat => Object.hasOwn(FLOAT_BYTES, dtype)

/** Float32 bits of each of the 65,536 binary16 numbers, made when first needed. */
let halves: Uint32Array | undefined

function halfTable(): Uint32Array {
  if (halves !== undefined) return halves
  const table = new Uint32Array(65536)
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16
    const exponent = (half >>> 10) & 31
    const fraction = half & 0x3ff
    if (exponent === 31) table[half] = sign | 0x7f800000 | (fraction << 13)
    else if (exponent > 0) table[half] = sign | ((exponent + 112) << 23) | (fraction << 13)
    else if (fraction === 0) table[half] = sign
    else {
      // Subnormal, fraction * 2^-24: a normal float32 whose leading one is the fraction's highest set bit.
      const leading = 31 - Math.clz32(fraction)
      table[half] = sign | ((leading + 103) << 23) | ((fraction << (23 - leading)) & 0x7fffff)
    }
  }
  halves = table
  return table
}

/** The bits of a float32 as binary16, rounded to nearest, ties to even; from 65520 on infinity; a NaN stays one, quiet, its upper payload kept. */
function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff)
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  // Up to 2^-25, half of the smallest subnormal: zero (the tie goes to even).
  if (magnitude <= 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  return sign | ((mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift)
}

/** The bits of a float32 as bfloat16, rounded to nearest, ties to even; a NaN stays one, quiet, its upper payload kept. */
function bfloatOf(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** A view of bytes as wider integers or floats; copied first where they do not start at a multiple of the width. */
function aligned(bytes: Uint8Array, width: number): Uint8Array {
  return bytes.byteOffset % width === 0 ? bytes : Uint8Array.from(bytes)
}

/**
 * Writes the numbers in `bytes` to `target` from `offset` on. F32, F16 and BF16 are exact, NaN payloads included; F64 is rounded to
 * nearest. O(n).
 */
export function decodeInto(target: Float32Array, offset: number, bytes: Uint8Array, format: FloatFormat): void {
  const count = bytes.length / FLOAT_BYTES[format]
  if (format === 'F32') {
    // Bytes, not numbers: a signalling NaN would be made quiet on its way through a number.
    new Uint8Array(target.buffer, target.byteOffset + 4 * offset, 4 * count).set(bytes)
    return
  }
  if (format === 'F64') {
    const { buffer, byteOffset } = aligned(bytes, 8)
    target.set(new Float64Array(buffer, byteOffset, count), offset)
    return
  }
  const { buffer, byteOffset } = aligned(bytes, 2)
  const from = new Uint16Array(buffer, byteOffset, count)
  const to = new Uint32Array(target.buffer, target.byteOffset + 4 * offset, count)
  if (format === 'BF16') for (let i = 0; i < count; i++) to[i] = from[i] << 16
  else {
    const table = halfTable()
    for (let i = 0; i < count; i++) to[i] = table[from[i]]
  }
}

/** The numbers as bytes of a format, rounded to nearest, ties to even. F32 is a view of the same memory, the others are new. O(n). */
export function encodeFloats(data: Float32Array, format: SavedFormat): Uint8Array {
  if (format === 'F32') return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const from = new Uint32Array(data.buffer, data.byteOffset, data.length)
  const to = new Uint16Array(data.length)
  const round = format === 'F16' ? halfOf : bfloatOf
  for (let i = 0; i < from.length; i++) to[i] = round(from[i])
  return new Uint8Array(to.buffer)
}
