/** Elementwise operators with NumPy broadcasting: arithmetic, exp, sqrt, sigmoid, silu. */

import { size, strides } from '../interpreter.ts'
import { broadcastShapes, formatShape, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, scalar, type Tensor } from '../tensor.ts'
import { sumTo } from './reduce.ts'

/** Evaluates f over two broadcast arrays. */
export function broadcastArrays(a: NdArray, b: NdArray, f: (x: number, y: number) => number): NdArray {
  const shape = broadcastShapes('broadcast', a.shape, b.shape) as number[]
  const steps = (array: NdArray) => {
    const own = strides(array.shape)
    return shape.map((_, i) => {
      const axis = i - shape.length + array.shape.length
      return axis < 0 || array.shape[axis] === 1 ? 0 : own[axis]
    })
  }
  const [stepsA, stepsB] = [steps(a), steps(b)]
  const data = new Float64Array(size(shape))
  const index = new Array<number>(shape.length).fill(0)
  let [offsetA, offsetB] = [0, 0]
  for (let i = 0; i < data.length; i++) {
    data[i] = f(a.data[offsetA], b.data[offsetB])
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]++
      offsetA += stepsA[axis]
      offsetB += stepsB[axis]
      if (index[axis] < shape[axis]) break
      offsetA -= stepsA[axis] * shape[axis]
      offsetB -= stepsB[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return { shape, data }
}

function binary(
  operator: string,
  onnx: string,
  a: Tensor,
  b: Tensor,
  f: (x: number, y: number) => number,
  rule: (upstream: Tensor) => [Tensor, Tensor],
): Tensor {
  if (a.dtype !== b.dtype)
    throw new Error(
      `${operator}: types ${a.dtype} ${formatShape(a.shape)} and ${b.dtype} ${formatShape(b.shape)} differ`,
    )
  return apply({
    operator,
    inputs: [a, b],
    types: [{ shape: broadcastShapes(operator, a.shape, b.shape), dtype: a.dtype }],
    interpret: ([x, y]) => [broadcastArrays(x, y, f)],
    gradient: ([upstream]) => {
      const [da, db] = rule(upstream as Tensor)
      return [sumTo(da, a.shape), sumTo(db, b.shape)]
    },
    lower: (lowering, inputs) => [lowering.node(onnx, inputs)],
  })[0]
}

/** a + b */
export const add = (a: Tensor, b: Tensor): Tensor =>
  binary(
    'add',
    'Add',
    a,
    b,
    (x, y) => x + y,
    (u) => [u, u],
  )
/** a - b */
export const subtract = (a: Tensor, b: Tensor): Tensor =>
  binary(
    'subtract',
    'Sub',
    a,
    b,
    (x, y) => x - y,
    (u) => [u, negate(u)],
  )
/** a * b */
export const multiply = (a: Tensor, b: Tensor): Tensor =>
  binary(
    'multiply',
    'Mul',
    a,
    b,
    (x, y) => x * y,
    (u) => [multiply(u, b), multiply(u, a)],
  )
/** a / b */
export const divide = (a: Tensor, b: Tensor): Tensor =>
  binary(
    'divide',
    'Div',
    a,
    b,
    (x, y) => x / y,
    (u) => {
      const da = divide(u, b)
      return [da, negate(divide(multiply(da, a), b))]
    },
  )
/** min(a, b); at a tie the whole gradient goes to a. */
export const minimum = (a: Tensor, b: Tensor): Tensor => {
  if (!sameShape(a.shape, b.shape))
    throw new Error(`minimum: shapes ${formatShape(a.shape)} and ${formatShape(b.shape)} differ`)
  return apply({
    operator: 'minimum',
    inputs: [a, b],
    types: [{ shape: a.shape, dtype: a.dtype }],
    interpret: ([x, y]) => [broadcastArrays(x, y, Math.min)],
    lower: (lowering, inputs) => [lowering.node('Min', inputs)],
  })[0]
}

/** a * factor, a number known when the graph is built. */
export const scale = (a: Tensor, factor: number): Tensor => multiply(a, scalar(factor))

function unary(
  operator: string,
  onnx: string,
  a: Tensor,
  f: (x: number) => number,
  rule: (upstream: Tensor, y: Tensor) => Tensor,
): Tensor {
  const [y] = apply({
    operator,
    inputs: [a],
    types: [{ shape: a.shape, dtype: a.dtype }],
    interpret: ([x]) => [{ shape: x.shape, data: x.data.map(f) }],
    gradient: ([upstream]) => [rule(upstream as Tensor, y)],
    lower: (lowering, inputs) => [lowering.node(onnx, inputs)],
  })
  return y
}

export const negate = (a: Tensor): Tensor =>
  unary(
    'negate',
    'Neg',
    a,
    (x) => -x,
    (u) => negate(u),
  )
export const exp = (a: Tensor): Tensor => unary('exp', 'Exp', a, Math.exp, (u, y) => multiply(u, y))
export const log = (a: Tensor): Tensor => unary('log', 'Log', a, Math.log, (u) => divide(u, a))
export const sqrt = (a: Tensor): Tensor => unary('sqrt', 'Sqrt', a, Math.sqrt, (u, y) => divide(scale(u, 0.5), y))
export const sigmoid = (a: Tensor): Tensor =>
  unary('sigmoid', 'Sigmoid', a, logistic, (u, y) => multiply(u, multiply(y, subtract(scalar(1), y))))

const logistic = (x: number) => 1 / (1 + Math.exp(-x))

/**
 * The gated unit of Llama's feed-forward layer: silu(gate) * up, silu(x) = x * sigmoid(x), where `x` [..., 2 f] holds gate and up
 * side by side (they come from one matrix product). Returns [..., f]. Source: Shazeer 2020, arXiv 2002.05202.
 *
 * Its gradient recomputes sigmoid and costs seven passes; d silu(g) = s (1 + g (1 - s)).
 */
export function swiglu(x: Tensor): Tensor {
  const width = x.shape.at(-1)
  if (typeof width !== 'number' || width % 2 !== 0)
    throw new Error(`swiglu: the last axis of ${formatShape(x.shape)} must be a fixed even number`)
  const half: Shape = [...x.shape.slice(0, -1), width / 2]
  return apply({
    operator: 'swiglu',
    inputs: [x],
    types: [{ shape: half, dtype: x.dtype }],
    interpret: ([value]) => [mapHalves(value, (gate, up) => [gate * logistic(gate) * up])],
    gradient: ([upstream]) => [swigluGradient(x, upstream as Tensor)],
    lower: (lowering, [name]) => {
      const [gate, up] = lowering.nodes('Split', [name], 2, { axis: -1, num_outputs: 2 })
      return [lowering.node('Mul', [lowering.silu(gate), up])]
    },
  })[0]
}

function swigluGradient(x: Tensor, upstream: Tensor): Tensor {
  return apply({
    operator: 'swigluGradient',
    inputs: [x, upstream],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value, du]) => {
      let i = 0
      return [
        mapHalves(value, (gate, up) => {
          const s = logistic(gate)
          const d = du.data[i++]
          return [d * up * s * (1 + gate * (1 - s)), d * gate * s]
        }),
      ]
    },
    lower: (lowering, [name, du]) => {
      const [gate, up] = lowering.nodes('Split', [name], 2, { axis: -1, num_outputs: 2 })
      const s = lowering.node('Sigmoid', [gate])
      const silu = lowering.node('Mul', [gate, s])
      // s (1 + g (1 - s)) = s + silu (1 - s) = s + silu - silu s
      const slope = lowering.node('Sub', [lowering.node('Add', [s, silu]), lowering.node('Mul', [silu, s])])
      const dGate = lowering.node('Mul', [lowering.node('Mul', [du, up]), slope])
      return [lowering.node('Concat', [dGate, lowering.node('Mul', [du, silu])], { axis: -1 })]
    },
  })[0]
}

/** Applies f to (gate, up) of every row [2 f] and lays its results side by side. */
function mapHalves(value: NdArray, f: (gate: number, up: number) => number[]): NdArray {
  const width = value.shape[value.shape.length - 1]
  const half = width / 2
  const rows = value.data.length / width
  let columns = 0
  const results: number[][] = []
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < half; j++) {
      const result = f(value.data[row * width + j], value.data[row * width + half + j])
      columns = result.length
      results.push(result)
    }
  }
  const data = new Float64Array(rows * half * columns)
  results.forEach((result, i) => {
    const row = Math.floor(i / half)
    for (let c = 0; c < columns; c++) data[row * half * columns + c * half + (i % half)] = result[c]
  })
  return { shape: [...value.shape.slice(0, -1), half * columns], data }
}
