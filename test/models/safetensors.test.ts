import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'

const tensors = fc
  .dictionary(
    fc.string({ minLength: 1 }).filter((name) => name !== '__metadata__' && name !== '__proto__'),
    fc.array(fc.float({ noNaN: true }), { maxLength: 12 }),
    { maxKeys: 5 },
  )
  .map(
    (entries) =>
      new Map(
        Object.entries(entries).map(([name, data]) => [name, { shape: [data.length], data: Float32Array.from(data) }]),
      ),
  )

const bytesOf = (header: object, body = 8) => {
  const json = Buffer.from(JSON.stringify(header))
  const bytes = Buffer.alloc(8 + json.length + body)
  bytes.writeBigUInt64LE(BigInt(json.length))
  json.copy(bytes, 8)
  return bytes
}

describe('safetensors', () => {
  it('gives back what was written, from a slice of a larger buffer too', () => {
    fc.assert(
      fc.property(tensors, fc.nat(7), (given, offset) => {
        const written = writeSafetensors(given, { step: '3' })
        expect(written).toEqual(writeSafetensors(given, { step: '3' }))
        const surrounded = Buffer.concat([Buffer.alloc(offset), written])
        const { tensors: found, metadata } = readSafetensors(surrounded.subarray(offset))
        expect(found).toEqual(given)
        expect(metadata).toEqual({ step: '3' })
      }),
    )
  })

  it('starts tensors at a multiple of eight bytes', () => {
    const bytes = writeSafetensors(new Map([['weight', { shape: [2], data: Float32Array.of(1, 2) }]]))
    expect((8 + Number(new DataView(bytes.buffer).getBigUint64(0, true))) % 8).toBe(0)
  })

  it.each([
    ['too few bytes', Buffer.alloc(3), /too few/],
    ['a header longer than the file', Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 1]), /header says 255 bytes/],
    [
      'a header that is no JSON',
      Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{x')]),
      /not valid JSON/,
    ],
    ['another number type', bytesOf({ w: { dtype: 'F16', shape: [4], data_offsets: [0, 8] } }), /'w' has type F16/],
    [
      'bytes that do not fit the shape',
      bytesOf({ w: { dtype: 'F32', shape: [3], data_offsets: [0, 8] } }),
      /expected 12/,
    ],
    ['a torn file', bytesOf({ w: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }), /torn/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readSafetensors(bytes)).toThrow(message)
  })
})
