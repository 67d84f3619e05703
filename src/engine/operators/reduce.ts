/** Sums over axes, and the sum that undoes a broadcast. */

import { size, strides } from '../interpreter.ts'
import type { Lowering } from '../onnx/lowering.ts'
import { axisOf, type Dim, dimValue, formatShape, product, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'
import { add, scale } from './elementwise.ts'
import { broadcastTo, reshape } from './layout.ts'

function sumArray(value: NdArray, axes: readonly number[], keepDims: boolean): NdArray {
  const kept = value.shape.map((dim, i) => (axes.includes(i) ? 1 : dim))
  const data = new Float64Array(size(kept))
  const from = strides(value.shape)
  const to = strides(kept)
  for (let i = 0; i < value.data.length; i++) {
    let target = 0
    for (let axis = 0; axis < kept.length; axis++) {
      if (kept[axis] !== 1) target += (Math.floor(i / from[axis]) % value.shape[axis]) * to[axis]
    }
    data[target] += value.data[i]
  }
  return { shape: keepDims ? kept : value.shape.filter((_, i) => !axes.includes(i)), data }
}

/** Sum over `axes` (all by default). Output drops the axes unless `keepDims`. */
export function sum(a: Tensor, options: { axes?: readonly number[]; keepDims?: boolean } = {}): Tensor {
  const axes = (options.axes ?? a.shape.map((_, i) => i)).map((axis) => axisOf('sum', a.shape, axis))
  const keepDims = options.keepDims ?? false
  const kept: Dim[] = a.shape.map((dim, i) => (axes.includes(i) ? 1 : dim))
  return apply({
    operator: 'sum',
    inputs: [a],
    types: [{ shape: keepDims ? kept : a.shape.filter((_, i) => !axes.includes(i)), dtype: a.dtype }],
    interpret: ([value]) => [sumArray(value, axes, keepDims)],
    gradient: ([upstream]) => [broadcastTo(reshape(upstream as Tensor, kept), a.shape)],
    lower: (lowering, [name]) => {
      // Rows added up: a product with ones is three times as fast as ReduceSum over the first axis.
      if (lowering.target === 'cpu' && a.shape.length === 2 && axes.length === 1 && axes[0] === 0) {
        const sums = columnSums(lowering, name, a.shape)
        return [keepDims ? lowering.node('Unsqueeze', [sums, lowering.int64([0])]) : sums]
      }
      return [lowering.node('ReduceSum', [name, lowering.int64(axes)], { keepdims: keepDims ? 1 : 0 })]
    },
  })[0]
}

/** Lowers the sum over the rows of x [n, d]: [d]. On cpu a product with ones, transposed so that threads do not change its bits. */
export function columnSums(lowering: Lowering, x: string, [n, d]: Shape): string {
  if (lowering.target !== 'cpu') return lowering.node('ReduceSum', [x, lowering.int64([0])], { keepdims: 0 })
  const ones = lowering.once(`ones ${n}`, () => lowering.node('Expand', [lowering.scalar(1), lowering.shape([n, 1])]))
  const sums = lowering.node('Gemm', [ones, x], { transA: 1 })
  return lowering.node('Reshape', [sums, lowering.shape([d])])
}

/** Mean over `axes` of fixed size. */
export function mean(a: Tensor, options: { axes: readonly number[]; keepDims?: boolean }): Tensor {
  const count = product(options.axes.map((axis) => a.shape[axisOf('mean', a.shape, axis)]))
  return scale(sum(a, options), 1 / dimValue(count, new Map()))
}

/** Sums `a` down to `shape`, from which it was broadcast: the gradient of a broadcast. */
export function sumTo(a: Tensor, shape: Shape): Tensor {
  if (sameShape(a.shape, shape)) return a
  const lead = a.shape.length - shape.length
  if (lead < 0) throw new Error(`sumTo: ${formatShape(a.shape)} has fewer axes than ${formatShape(shape)}`)
  const axes = a.shape.flatMap((dim, i) => (i < lead || (shape[i - lead] === 1 && dim !== 1) ? [i] : []))
  return reshape(sum(a, { axes, keepDims: true }), shape)
}

/** sum over all tensors of the sum of their squares: a scalar, for the global gradient norm. */
export function sumOfSquares(tensors: readonly Tensor[]): Tensor {
  const squares = tensors.map(
    (tensor) =>
      apply({
        operator: 'sumOfSquares',
        inputs: [tensor],
        types: [{ shape: [], dtype: tensor.dtype }],
        interpret: ([value]) => [
          { shape: [], data: Float64Array.of(value.data.reduce((total, x) => total + x * x, 0)) },
        ],
        lower: (lowering, [name]) => [lowering.node('ReduceSumSquare', [name], { keepdims: 0 })],
      })[0],
  )
  return squares.reduce(add)
}
