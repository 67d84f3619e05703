import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { parseSafetensorsHeader, readSafetensors, writeSafetensors } from '../../src/models/safetensors.ts'

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

/** A file with this header, an object or its JSON, and `body` bytes after it. */
const bytesOf = (header: object | string, body = 8) => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = Buffer.alloc(8 + json.length + body)
  bytes.writeBigUInt64LE(BigInt(json.length))
  json.copy(bytes, 8)
  return bytes
}
const f32 = (shape: unknown, ...data_offsets: number[]) => ({ dtype: 'F32', shape, data_offsets })

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

  it.each(['F32', 'F16', 'BF16'] as const)('saves and reads %s', (dtype) => {
    const data = Float32Array.of(1, -2.5, 0, 65280, -0)
    const bytes = writeSafetensors(new Map([['w', { shape: [5, 1], data }]]), {}, dtype)
    expect(parseSafetensorsHeader(bytes).tensors.get('w')?.dtype).toBe(dtype)
    expect(readSafetensors(bytes).tensors.get('w')).toEqual({ shape: [5, 1], data })
  })

  it('reads a header without the body, in the order of the bytes, whatever order its JSON has', () => {
    const header = { b: f32([1], 4, 8), __metadata__: { format: 'pt' }, none: f32([0, 3], 4, 4), a: f32([], 0, 4) }
    const head = bytesOf(header, 0)
    const found = parseSafetensorsHeader(head, { fileBytes: head.length + 8 })
    expect([...found.tensors.keys()]).toEqual(['a', 'none', 'b'])
    expect(found.tensors.get('b')).toEqual({ dtype: 'F32', shape: [1], start: 4, end: 8 })
    expect(found).toMatchObject({ metadata: { format: 'pt' }, dataStart: head.length })
  })

  it('lists types that it does not decode, and refuses them by name when their numbers are asked for', () => {
    const file = bytesOf({
      q: { dtype: 'I8', shape: [4], data_offsets: [0, 4] },
      four: { dtype: 'F4', shape: [4], data_offsets: [4, 6] },
      later: { dtype: 'F3_NEW', shape: [5], data_offsets: [6, 8] },
    })
    expect([...parseSafetensorsHeader(file).tensors.values()].map(({ dtype }) => dtype)).toEqual(['I8', 'F4', 'F3_NEW'])
    expect(() => readSafetensors(file, { file: 'm.safetensors' })).toThrow(
      /^m\.safetensors: tensor 'q' has type I8.*expected F32, F16, BF16, F64/,
    )
  })

  it('says of a file cut at any byte that it is torn, or that it is none', () => {
    const whole = writeSafetensors(new Map([['w', { shape: [3], data: Float32Array.of(1, 2, 3) }]]))
    for (let length = 0; length < whole.length; length++)
      expect(() => readSafetensors(whole.subarray(0, length))).toThrow(/too few|torn/)
    expect(() => readSafetensors(whole.subarray(0, -5))).toThrow(/5 bytes are missing at the end/)
  })

  it('never takes bytes that were changed in its header for anything but an error or another header', () => {
    const whole = writeSafetensors(new Map([['w', { shape: [3], data: Float32Array.of(1, 2, 3) }]]))
    fc.assert(
      fc.property(fc.nat(whole.length - 13), fc.nat(255), (at, byte) => {
        const changed = Uint8Array.from(whole)
        changed[at] = byte
        try {
          for (const { shape, data } of readSafetensors(changed).tensors.values())
            expect(shape.reduce((a, b) => a * b, 1)).toBe(data.length)
        } catch (error) {
          expect(error).toBeInstanceOf(WinnowError)
        }
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['too few bytes', Buffer.alloc(3), /too few/],
    ['a header longer than the file', Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 1]), /header says 255 bytes/],
    ['a header beyond 100 MB', Buffer.alloc(16, 0x7f), /expected at most 100000000/],
    ['a header that is no JSON', bytesOf('{x', 0), /not valid JSON/],
    ['a header that is not UTF-8', bytesOf(`{"\u00ff":1}`, 0).fill(0xff, 10, 11), /not valid JSON/],
    ['a header that is a list', bytesOf('[]', 0), /not a JSON object/],
    ['metadata that is not text', bytesOf({ __metadata__: { step: 3 } }, 0), /__metadata__/],
    ['an entry that is nothing', bytesOf({ w: null }), /'w' has no dtype/],
    ['a negative dimension', bytesOf({ w: f32([-2], 0, 8) }), /'w' has a bad shape \(found \[-2\]/],
    ['offsets backwards', bytesOf({ w: f32([2], 8, 0) }), /'w' has bad data_offsets/],
    ['a shape whose size overflows', bytesOf({ w: f32([2 ** 40, 2 ** 40], 0, 8) }), /'w' .* has 8 bytes/],
    ['bytes that do not fit the shape', bytesOf({ w: f32([3], 0, 8) }), /expected 12/],
    ['a torn file', bytesOf({ w: f32([4], 0, 16) }), /torn.*8 bytes are missing/],
    ['bytes after the last tensor', bytesOf({ w: f32([1], 0, 4) }), /4 bytes after the last tensor/],
    ['a gap', bytesOf({ v: f32([1], 0, 4), w: f32([1], 8, 12) }, 12), /4 bytes before tensor 'w'/],
    ['an overlap', bytesOf({ v: f32([2], 0, 8), w: f32([2], 4, 12) }, 12), /'w' begins at byte 4, inside 'v'/],
    [
      'a name given twice',
      bytesOf(String.raw`{"a":{"x\"}":"{"},"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`),
      /names 'a' twice/,
    ],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readSafetensors(bytes)).toThrow(message)
  })
})
