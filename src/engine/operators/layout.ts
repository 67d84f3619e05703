/** Operators that move elements without computing: reshape, transpose, slice, broadcast. */

import { size, strides } from '../interpreter.ts'
import { axisOf, type Dim, formatShape, product, type Shape, sameShape, shapeValue } from '../shape.ts'
import { apply, type NdArray, scalar, type Tensor } from '../tensor.ts'
import { broadcastArrays } from './elementwise.ts'
import { sumTo } from './reduce.ts'

/** The same elements in row-major order under another shape. Named dimensions must multiply to the same product. */
export function reshape(a: Tensor, shape: Shape): Tensor {
  if (sameShape(a.shape, shape)) return a
  if (product(a.shape) !== product(shape))
    throw new Error(`reshape: ${formatShape(a.shape)} does not hold the elements of ${formatShape(shape)}`)
  return apply({
    operator: 'reshape',
    inputs: [a],
    types: [{ shape, dtype: a.dtype }],
    interpret: ([value], dims) => [{ shape: shapeValue(shape, dims), data: value.data }],
    gradient: ([upstream]) => [reshape(upstream as Tensor, a.shape)],
    lower: (lowering, [name]) => [lowering.node('Reshape', [name, lowering.reshapeTarget(shape)])],
  })[0]
}

function transposeArray(value: NdArray, order: readonly number[]): NdArray {
  const shape = order.map((axis) => value.shape[axis])
  const from = strides(value.shape)
  const to = strides(shape)
  const data = new Float64Array(value.data.length)
  for (let i = 0; i < data.length; i++) {
    let source = 0
    for (let axis = 0; axis < shape.length; axis++)
      source += (Math.floor(i / to[axis]) % shape[axis]) * from[order[axis]]
    data[i] = value.data[source]
  }
  return { shape, data }
}

/** Axis i of the result is axis order[i] of the input. */
export function transpose(a: Tensor, order: readonly number[]): Tensor {
  if (order.length !== a.shape.length || new Set(order).size !== order.length) {
    throw new Error(`transpose: order ${formatShape(order)} does not permute the axes of ${formatShape(a.shape)}`)
  }
  return apply({
    operator: 'transpose',
    inputs: [a],
    types: [{ shape: order.map((axis) => a.shape[axis]), dtype: a.dtype }],
    interpret: ([value]) => [transposeArray(value, order)],
    gradient: ([upstream]) => [
      transpose(
        upstream as Tensor,
        order.map((_, axis) => order.indexOf(axis)),
      ),
    ],
    lower: (lowering, [name]) => [lowering.node('Transpose', [name], { perm: order })],
  })[0]
}

function sliceArray(value: NdArray, axis: number, start: number, end: number): NdArray {
  const shape = value.shape.map((dim, i) => (i === axis ? end - start : dim))
  const inner = size(value.shape.slice(axis + 1))
  const outer = size(value.shape.slice(0, axis))
  const data = new Float64Array(size(shape))
  for (let i = 0; i < outer; i++) {
    const from = (i * value.shape[axis] + start) * inner
    data.set(value.data.subarray(from, from + (end - start) * inner), i * (end - start) * inner)
  }
  return { shape, data }
}

/** Cuts `axis` (of fixed size) into consecutive parts of the given sizes. */
export function split(a: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  const position = axisOf('split', a.shape, axis)
  const total = sizes.reduce((x, y) => x + y, 0)
  if (a.shape[position] !== total)
    throw new Error(
      `split: sizes ${formatShape(sizes)} add up to ${total}, axis ${axis} of ${formatShape(a.shape)} does not`,
    )
  if (sizes.length === 1) return [a]
  const resized = (dim: Dim) => a.shape.map((old, i) => (i === position ? dim : old))
  const parts = apply({
    operator: 'split',
    inputs: [a],
    types: sizes.map((part) => ({ shape: resized(part), dtype: a.dtype })),
    interpret: ([value]) => {
      let start = 0
      return sizes.map((part) => {
        start += part
        return sliceArray(value, position, start - part, start)
      })
    },
    gradient: (upstream) => [
      concat(
        upstream.map((tensor, i) => tensor ?? broadcastTo(scalar(0), parts[i].shape)),
        position,
      ),
    ],
    lower: (lowering, [name]) =>
      lowering.nodes('Split', [name, lowering.int64(sizes)], sizes.length, { axis: position }),
  })
  return parts
}

/** Tensors of fixed size along `axis`, side by side. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors
  const position = axisOf('concat', first.shape, axis)
  const sizes = tensors.map(({ shape }) => {
    const dim = shape[position]
    const fits = shape.length === first.shape.length && shape.every((d, i) => i === position || d === first.shape[i])
    if (typeof dim !== 'number' || !fits)
      throw new Error(`concat: ${formatShape(shape)} and ${formatShape(first.shape)} do not fit along axis ${axis}`)
    return dim
  })
  const total = sizes.reduce((x, y) => x + y, 0)
  return apply({
    operator: 'concat',
    inputs: tensors,
    types: [{ shape: first.shape.map((dim, i) => (i === position ? total : dim)), dtype: first.dtype }],
    interpret: (values) => {
      const inner = size(values[0].shape.slice(position + 1))
      const outer = size(values[0].shape.slice(0, position))
      const data = new Float64Array(outer * total * inner)
      for (let i = 0, offset = 0; i < outer; i++) {
        for (const value of values) {
          const width = value.shape[position] * inner
          data.set(value.data.subarray(i * width, (i + 1) * width), offset)
          offset += width
        }
      }
      return [{ shape: values[0].shape.map((dim, i) => (i === position ? total : dim)), data }]
    },
    gradient: ([upstream]) => split(upstream as Tensor, sizes, position),
    lower: (lowering, inputs) => [lowering.node('Concat', inputs, { axis: position })],
  })[0]
}

/** `a` repeated along its axes of size 1 (and new leading axes) up to `shape`. */
export function broadcastTo(a: Tensor, shape: Shape): Tensor {
  if (sameShape(a.shape, shape)) return a
  const lead = shape.length - a.shape.length
  if (lead < 0 || !a.shape.every((dim, i) => dim === 1 || dim === shape[i + lead])) {
    throw new Error(`broadcastTo: ${formatShape(a.shape)} does not broadcast to ${formatShape(shape)}`)
  }
  return apply({
    operator: 'broadcastTo',
    inputs: [a],
    types: [{ shape, dtype: a.dtype }],
    interpret: ([value], dims) => {
      const target = shapeValue(shape, dims)
      return [broadcastArrays(value, { shape: target, data: new Float64Array(size(target)) }, (x) => x)]
    },
    gradient: ([upstream]) => [sumTo(upstream as Tensor, a.shape)],
    lower: (lowering, [name]) => [lowering.node('Expand', [name, lowering.shape(shape)])],
  })[0]
}
