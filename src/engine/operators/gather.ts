/** Rows by index: the embedding look-up, and the scatter that is its gradient; the first rows of a table. */

import { size } from '../interpreter.ts'
import type { Lowering } from '../onnx/lowering.ts'
import { type Dim, dimValue, formatShape, product } from '../shape.ts'
import { apply, type Tensor } from '../tensor.ts'

/** Rows of table [n, d] at `indices` [m] (int32): [m, d]. */
export function gatherRows(table: Tensor, indices: Tensor): Tensor {
  if (table.shape.length !== 2 || indices.shape.length !== 1 || indices.dtype !== 'int32') {
    throw new Error(
      `gatherRows: expected [n, d] and int32 [m], found ${formatShape(table.shape)} and ${indices.dtype} ${formatShape(indices.shape)}`,
    )
  }
  const [n, d] = table.shape
  return apply({
    operator: 'gatherRows',
    inputs: [table, indices],
    types: [{ shape: [indices.shape[0], d], dtype: table.dtype }],
    interpret: ([values, at]) => {
      const width = values.shape[1]
      const data = new Float64Array(at.data.length * width)
      at.data.forEach((row, i) => {
        data.set(values.data.subarray(row * width, (row + 1) * width), i * width)
      })
      return [{ shape: [at.data.length, width], data }]
    },
    gradient: ([upstream]) => [scatterRows(upstream as Tensor, indices, n), undefined],
    lower: (lowering, inputs) => [lowering.node('Gather', inputs, { axis: 0 })],
  })[0]
}

/** Zeros [n, d] with updates [m, d] added at rows `indices` [m]; repeated indices add up, in order. */
export function scatterRows(updates: Tensor, indices: Tensor, n: Dim): Tensor {
  const d = updates.shape[1]
  return apply({
    operator: 'scatterRows',
    inputs: [updates, indices],
    types: [{ shape: [n, d], dtype: updates.dtype }],
    interpret: ([values, at], dims) => {
      const width = values.shape[1]
      const shape = [dimValue(n, dims), width]
      const data = new Float64Array(size(shape))
      at.data.forEach((row, i) => {
        for (let j = 0; j < width; j++) data[row * width + j] += values.data[i * width + j]
      })
      return [{ shape, data }]
    },
    gradient: ([upstream]) => [gatherRows(upstream as Tensor, indices), undefined],
    addTo: (base) => (typeof n === 'number' ? addRows(base, updates, indices) : undefined),
    lower: (lowering, [values, at]) => {
      if (lowering.target === 'cpu' && typeof n === 'string' && typeof d === 'number')
        return [flatScatter(lowering, { values, at, n, d })]
      const zeros = lowering.node('Expand', [lowering.scalar(0), lowering.shape([n, d])])
      return [scatterAdd(lowering, zeros, values, at)]
    },
  })[0]
}

/** base [n, d] with updates [m, d] added at rows `indices` [m], in order. */
export function addRows(base: Tensor, updates: Tensor, indices: Tensor): Tensor {
  return apply({
    operator: 'addRows',
    inputs: [base, updates, indices],
    types: [{ shape: base.shape, dtype: base.dtype }],
    interpret: ([table, values, at]) => {
      const width = table.shape[1]
      const data = table.data.slice()
      at.data.forEach((row, i) => {
        for (let j = 0; j < width; j++) data[row * width + j] += values.data[i * width + j]
      })
      return [{ shape: table.shape, data }]
    },
    gradient: ([upstream]) => [upstream, gatherRows(upstream as Tensor, indices), undefined],
    lower: (lowering, [table, values, at]) => [scatterAdd(lowering, table, values, at)],
  })[0]
}

/** Lowers table [n, d] with values [m, d] added at rows `at` [m] (int32). */
export function scatterAdd(lowering: Lowering, table: string, values: string, at: string): string {
  const column = lowering.node('Unsqueeze', [lowering.node('Cast', [at], { to: 7 }), lowering.int64([1])])
  // On cpu ScatterND loses updates of repeated rows when it has two threads; ScatterElements has one and adds in order.
  if (lowering.target === 'gpu') return lowering.node('ScatterND', [table, column, values], { reduction: 'add' })
  const everywhere = lowering.node('Expand', [column, lowering.node('Shape', [values])])
  return lowering.node('ScatterElements', [table, everywhere, values], { axis: 0, reduction: 'add' })
}

/**
 * scatterRows on cpu, element by element of one axis: same bits, in half of the time. Not for tables of parameters: their gradient may leave the
 * graph, and the last reshape would copy it.
 */
function flatScatter(
  lowering: Lowering,
  { values, at, n, d }: { values: string; at: string; n: Dim; d: number },
): string {
  const columns = lowering.once(`columns ${d}`, () => lowering.constant(Int32Array.from(Array(d).keys()), [1, d]))
  const width = lowering.once(`width ${d}`, () => lowering.constant(Int32Array.of(d), []))
  const flat = lowering.int64([-1])
  const elements = lowering.once(`elements of rows ${at} of ${d}`, () => {
    const starts = lowering.node('Unsqueeze', [lowering.node('Mul', [at, width]), lowering.int64([1])])
    return lowering.node('Reshape', [lowering.node('Add', [starts, columns]), flat])
  })
  const zeros = lowering.node('Expand', [lowering.scalar(0), lowering.shape([product([n, d])])])
  const updates = lowering.node('Reshape', [values, flat])
  const summed = lowering.node('ScatterElements', [zeros, elements, updates], { axis: 0, reduction: 'add' })
  return lowering.node('Reshape', [summed, lowering.int64([-1, d])])
}

/** The first `count` rows of table [n, d]: [count, d]. A named count above n gives n rows. */
export function firstRows(table: Tensor, count: Dim): Tensor {
  const [n, d] = table.shape
  if (table.shape.length !== 2 || typeof n !== 'number' || (typeof count === 'number' && count > n)) {
    throw new Error(`firstRows: expected [at least ${count}, d], found ${formatShape(table.shape)}`)
  }
  return apply({
    operator: 'firstRows',
    inputs: [table],
    types: [{ shape: [count, d], dtype: table.dtype }],
    interpret: ([values], dims) => {
      const shape = [dimValue(count, dims), values.shape[1]]
      return [{ shape, data: values.data.slice(0, size(shape)) }]
    },
    gradient: ([upstream]) => [paddedRows(upstream as Tensor, n)],
    lower: (lowering, [name]) => [
      lowering.node('Slice', [name, lowering.int64([0]), lowering.dimension(count), lowering.int64([0])]),
    ],
  })[0]
}

/** x [m, d] followed by rows of zeros: [n, d]. */
function paddedRows(x: Tensor, n: number): Tensor {
  const [m, d] = x.shape
  return apply({
    operator: 'paddedRows',
    inputs: [x],
    types: [{ shape: [n, d], dtype: x.dtype }],
    interpret: ([values]) => {
      const data = new Float64Array(n * values.shape[1])
      data.set(values.data)
      return [{ shape: [n, values.shape[1]], data }]
    },
    gradient: ([upstream]) => [firstRows(upstream as Tensor, m)],
    lower: (lowering, [name]) => {
      const missing = lowering.node('Sub', [lowering.int64([n]), lowering.dimension(m)])
      const pads = lowering.node('Concat', [lowering.int64([0, 0]), missing, lowering.int64([0])], { axis: 0 })
      return [lowering.node('Pad', [name, pads])]
    },
  })[0]
}
