import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readNpy, signalFromNpy, signalToNpy, writeNpy } from '../../src/signals/npy.ts'
import { signal } from '../../src/signals/signal.ts'

// Written by NumPy: bench/peers/npy_fixtures.py.
const fixture = (name: string) =>
  new Uint8Array(readFileSync(join(import.meta.dirname, '../fixtures/signals', `${name}.npy`)))

describe('a .npy file of NumPy', () => {
  test.each([
    ['f2', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['f4', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['f8', Float64Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['i1', Int32Array, [0, -1, 3, 7, 100, 2]],
    ['i2', Int32Array, [0, -1, 3, 7, 100, 2]],
    ['i4', Int32Array, [0, -1, 3, 7, 100, 2]],
    ['i8', Float64Array, [0, -1, 3, 7, 100, 2]],
    ['u1', Uint8Array, [0, 1, 3, 7, 100, 2]],
    ['u2', Uint32Array, [0, 1, 3, 7, 100, 2]],
    ['u4', Uint32Array, [0, 1, 3, 7, 100, 2]],
    ['u8', Float64Array, [0, 1, 3, 7, 100, 2]],
    ['b1', Uint8Array, [1, 1, 1, 1, 1, 1]],
    ['big-endian', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['fortran', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['version-2', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
    ['version-3', Float32Array, [0.5, -1.25, 3, 7, 100, 2]],
  ])('of type %s is read into a %o', (name, type, values) => {
    const { shape, data } = readNpy(fixture(name))
    expect(data).toBeInstanceOf(type)
    expect(shape).toEqual([2, 3])
    expect([...data]).toEqual(values)
  })

  test('may have one axis, none, or no rows', () => {
    expect(readNpy(fixture('vector'))).toEqual({ shape: [5], data: Uint32Array.of(0, 1, 2, 3, 4) })
    expect(readNpy(fixture('scalar'))).toEqual({ shape: [], data: Float64Array.of(2.5) })
    expect(readNpy(fixture('empty'))).toEqual({ shape: [0, 3], data: new Float32Array(0) })
  })

  test('of half precision keeps subnormals, infinities, NaN and the sign of zero', () => {
    const { data } = readNpy(fixture('half-extremes'))
    expect([...data]).toEqual([2 ** -24, 65504, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -0])
  })

  test('is read at any place in a buffer', () => {
    const bytes = fixture('f8')
    for (let shift = 0; shift < 9; shift++) {
      const moved = new Uint8Array(bytes.length + shift)
      moved.set(bytes, shift)
      expect([...readNpy(moved.subarray(shift)).data]).toEqual([0.5, -1.25, 3, 7, 100, 2])
    }
  })

  test.each([
    ['objects', 'holds Python objects'],
    ['structured', 'type that is not read'],
    ['complex', 'type that is not read'],
    ['beyond-53-bits', 'integer that is not read'],
  ])('with %s is refused: it %s', (name, message) => {
    expect(() => readNpy(fixture(name), `${name}.npy`)).toThrow(message)
  })

  test('that is cut anywhere, or goes on, is refused', () => {
    const bytes = fixture('f4')
    for (let length = 0; length < bytes.length; length++)
      expect(() => readNpy(bytes.subarray(0, length))).toThrow(/no \.npy file|ends inside|is cut off/)
    expect(() => readNpy(Uint8Array.of(...bytes, 0))).toThrow('goes on after its data')
  })
})

describe('a written .npy file', () => {
  test('is to the byte what NumPy writes, data aligned to 64', () => {
    for (const name of ['f4', 'f8', 'i4', 'u4', 'u1', 'vector', 'empty']) {
      const bytes = fixture(name)
      expect(Buffer.from(writeNpy(readNpy(bytes))).equals(bytes), name).toBe(true)
    }
  })

  test('does not take data of another shape', () => {
    expect(() => writeNpy({ shape: [2, 2], data: new Float32Array(5) })).toThrow(/does not hold 5/)
  })

  test('brings a signal back', () => {
    const original = signal('m', Float32Array.of(1, 2, 3, 4, 5, Number.NaN), { columns: 2 })
    const back = signalFromNpy('m', signalToNpy(original), { rows: 3, file: 'm.npy' })
    expect(back).toEqual({ ...original, provenance: { imported: 'm.npy' } })
    expect(() => signalFromNpy('m', signalToNpy(original), { rows: 4 })).toThrow(/another pool.*found shape \(3, 2\)/)
  })
})
