/** The largest product by way of 8 bits: that of all products, whatever the numbers and the rows beside it. */

import { describe, expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { argmaxProduct, largestNorm, type Screen, screenOf } from '../../src/engine/operators/argmax-product.ts'
import { compile } from '../../src/engine/session.ts'
import { input, type TensorMap } from '../../src/engine/tensor.ts'
import { randomStream } from '../../src/random/philox.ts'
import { cpu } from './devices.ts'

const ROWS = [1, 3, 8, 20]

function normal(count: number, name: string, ...at: (string | number)[]): Float32Array {
  const stream = randomStream(5, [name, ...at].join(' '))
  return Float32Array.from({ length: count }, () => stream.normal())
}

const graphOf = (matrix: Float32Array, d: number, eighths: boolean) => {
  const norm = largestNorm(matrix, d)
  const screening = eighths ? { norm, screen: () => screenOf(matrix, d) } : { norm }
  return argmaxProduct(input('h', ['rows', d]), input('w', [matrix.length / d, d]), screening)
}

/** Ids by way of 8 bits, which are those by way of float32 products. */
async function opened(matrix: Float32Array, d: number, threads = 2) {
  const frozen: TensorMap = new Map([['w', { shape: [matrix.length / d, d], data: matrix }]])
  const compiled = (eighths: boolean) => compile({ next: graphOf(matrix, d, eighths) }, { ...cpu, threads }, { frozen })
  const [screened, full] = [await compiled(true), await compiled(false)]
  const idsOf = async (executable: typeof full, h: Float32Array) => {
    const fed = new cpu.ort.Tensor('float32', h, [h.length / d, d])
    const { next } = await executable.run({ h: fed as Parameters<typeof executable.run>[0][string] })
    return [...(next.data as Int32Array)]
  }
  return {
    async ids(h: Float32Array): Promise<number[]> {
      const found = await idsOf(screened, h)
      expect(await idsOf(full, h)).toEqual(found)
      return found
    },
    async [Symbol.asyncDispose]() {
      await screened.release()
      await full.release()
    },
  }
}

const dot = (h: Float32Array, row: number, matrix: Float32Array, v: number, d: number) => {
  let sum = 0
  for (let i = 0; i < d; i++) sum += h[row * d + i] * matrix[v * d + i]
  return sum
}

const size = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0))

/** Every id is of a product within float32's rounding of the largest. */
function expectLargest(ids: readonly number[], h: Float32Array, matrix: Float32Array, d: number): void {
  const n = matrix.length / d
  ids.forEach((id, row) => {
    const products = Array.from({ length: n }, (_, v) => dot(h, row, matrix, v, d))
    const most = Math.max(...products)
    const rounding = 2 * d * 2 ** -24 * size(h.slice(row * d, (row + 1) * d)) * size(matrix.slice(id * d, (id + 1) * d))
    expect(most - products[id]).toBeLessThanOrEqual(2 * rounding)
  })
}

const n = 700
const matrices: [string, number, (d: number) => Float32Array][] = [
  ['normal', 48, (d) => normal(n * d, 'normal')],
  ['of an odd width', 37, (d) => normal(n * d, 'odd')],
  [
    'a few columns a hundred times the others',
    64,
    (d) => normal(n * d, 'columns').map((x, i) => (i % d < 2 ? 100 * x : x)),
  ],
  [
    'rows of very different sizes',
    32,
    (d) => normal(n * d, 'sizes').map((x, i) => x * 10 ** ((Math.floor(i / d) % 9) - 4)),
  ],
  ['cubed, with heavy tails', 48, (d) => normal(n * d, 'tails').map((x) => x ** 3)],
  ['two values only, all at the ends of 8 bits', 256, (d) => normal(n * d, 'ends').map(Math.sign)],
  ['tiny', 16, (d) => normal(n * d, 'tiny').map((x) => x * 1e-20)],
  ['large', 16, (d) => normal(n * d, 'large').map((x) => x * 1e15)],
  ['with a first row of zeros', 16, (d) => normal(n * d, 'zeros').map((x, i) => (i < d ? 0 : x))],
]
const hiddens: [string, (h: Float32Array) => Float32Array][] = [
  ['normal', (h) => h],
  ['with outliers', (h) => h.map((x, i) => (i % 16 === 3 ? 300 * x : x))],
  ['all alike', (h) => h.map(() => 1.5)],
  ['whose squares overflow', (h) => h.map((x) => x * 1e20)],
  ['whose squares vanish', (h) => h.map((x) => x * 1e-12)],
]

describe('the largest product with a matrix', () => {
  it.each(matrices)('%s: the float64 argmax, to the rounding of float32', async (name, d, make) => {
    const matrix = make(d)
    await using found = await opened(matrix, d)
    for (const rows of ROWS)
      for (const [, change] of hiddens) {
        const h = change(normal(rows * d, name, rows))
        expectLargest(await found.ids(h), h, matrix, d)
      }
  })

  it('is what the oracle says', async () => {
    const [d, rows] = [24, 6]
    const [matrix, h] = [normal(n * d, 'oracle'), normal(rows * d, 'oracle', 'h')]
    const array = (data: Float32Array, shape: number[]) => ({ shape, data: Float64Array.from(data) })
    const { next } = interpret({ next: graphOf(matrix, d, true) }, { h: array(h, [rows, d]), w: array(matrix, [n, d]) })
    await using found = await opened(matrix, d)
    expect(await found.ids(h)).toEqual([...next.data])
  })

  it('is the lowest id of equal ones, and 0 where all are', async () => {
    const d = 32
    const matrix = normal(n * d, 'equal')
    for (const copy of [90, 333, 699]) matrix.copyWithin(copy * d, 41 * d, 42 * d)
    await using found = await opened(matrix, d)
    for (const rows of ROWS) {
      const same = Float32Array.from({ length: rows * d }, (_, i) => 3 * matrix[41 * d + (i % d)])
      expect(await found.ids(same)).toEqual(Array(rows).fill(41))
      expect(await found.ids(new Float32Array(rows * d))).toEqual(Array(rows).fill(0))
    }
  })

  it('does not depend on the rows beside it, nor on threads, where products are equal but for rounding', async () => {
    const d = 96
    // Rows that are one row with its entries in other orders: their products with a constant differ in the last bits alone.
    const [base, stream] = [normal(d, 'orders'), randomStream(5, 'shuffles')]
    const matrix = new Float32Array(n * d)
    for (let v = 0; v < n; v++) {
      const row = [...base]
      for (let i = d - 1; i > 0; i--) {
        const j = stream.below(i + 1)
        ;[row[i], row[j]] = [row[j], row[i]]
      }
      matrix.set(row, v * d)
    }
    await using found = await opened(matrix, d)
    await using single = await opened(matrix, d, 1)
    const mine = new Float32Array(d).fill(0.7)
    const [alone] = await found.ids(mine)
    for (const rows of ROWS) {
      const h = normal(rows * d, 'beside', rows)
      h.set(mine, (rows - 1) * d)
      expect((await found.ids(h)).at(-1)).toBe(alone)
      expect((await single.ids(h)).at(-1)).toBe(alone)
    }
  })

  it('ends with some id where the numbers are none', async () => {
    const d = 16
    await using found = await opened(normal(n * d, 'none'), d)
    for (const rows of [2, 12])
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
        for (const id of await found.ids(new Float32Array(rows * d).fill(value))) expect(id).toBeLessThan(n)
  })
})

describe('the bound of a screen', () => {
  const product = ({ quantised, scale }: Screen, h: Float32Array, v: number) => {
    let sum = 0
    for (let i = 0; i < h.length; i++) sum += h[i] * quantised[i * scale.length + v] * scale[v]
    return sum
  }

  it.each(matrices)('%s: holds for every row, and is below a tenth of its size', (name, d, make) => {
    const matrix = make(d)
    const screen = screenOf(matrix, d)
    const h = normal(d, name, 'bound')
    const sizes = Array.from({ length: n }, (_, v) => size(matrix.slice(v * d, (v + 1) * d)))
    const norm = largestNorm(matrix, d)
    expect(norm / Math.max(...sizes)).toBeCloseTo(1, 6)
    for (let v = 0; v < n; v++) {
      const off = Math.abs(product(screen, h, v) - dot(h, 0, matrix, v, d) / norm)
      expect(off).toBeLessThanOrEqual(size(h) * screen.bound[v])
      expect(screen.bound[v]).toBeLessThan(0.1 * (sizes[v] / norm) + 1e-29)
    }
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused of a matrix with %s', (value) => {
    const matrix = normal(n * 4, 'damaged')
    matrix[100] = value
    for (const read of [largestNorm, screenOf])
      expect(() => read(matrix, 4)).toThrow(
        expect.objectContaining({ fault: expect.objectContaining({ code: 'not-finite' }) }),
      )
  })
})
