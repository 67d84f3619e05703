/** Elementwise operators with NumPy broadcasting: arithmetic, exp, sqrt, sigmoid, silu. */

import { size, strides } from '../interpreter.ts'
import { broadcastShapes, formatShape, sameShape } from '../shape.ts'
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
 * The gated unit of Llama's feed-forward layer: silu(gate) * up, silu(x) = x * sigmoid(x), elementwise. Source: Shazeer 2020,
 * arXiv 2002.05202. Its gradient recomputes the sigmoid s: d silu(g) = s (1 + g (1 - s)).
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  if (!sameShape(gate.shape, up.shape)) {
    throw new Error(`swiglu: shapes ${formatShape(gate.shape)} and ${formatShape(up.shape)} differ`)
  }
  return apply({
    operator: 'swiglu',
    inputs: [gate, up],
    types: [{ shape: gate.shape, dtype: gate.dtype }],
    interpret: ([g, u]) => [broadcastArrays(g, u, (x, y) => x * logistic(x) * y)],
    gradient: ([upstream]) => swigluGradient(gate, up, upstream as Tensor),
    lower: (lowering, [g, u]) => [lowering.node('Mul', [lowering.silu(g), u])],
  })[0]
}

function swigluGradient(gate: Tensor, up: Tensor, upstream: Tensor): Tensor[] {
  const type = { shape: gate.shape, dtype: gate.dtype }
  return apply({
    operator: 'swigluGradient',
    inputs: [gate, up, upstream],
    types: [type, type],
    interpret: ([g, u, d]) => [
      {
        shape: g.shape,
        data: g.data.map((x, i) => {
          const s = logistic(x)
          return d.data[i] * u.data[i] * s * (1 + x * (1 - s))
        }),
      },
      broadcastArrays(g, d, (x, y) => x * logistic(x) * y),
    ],
    lower: (lowering, [g, u, d]) => {
      const s = lowering.node('Sigmoid', [g])
      const silu = lowering.node('Mul', [g, s])
      // s (1 + g (1 - s)) = s + silu (1 - s) = s + silu - silu s
      const slope = lowering.node('Sub', [lowering.node('Add', [s, silu]), lowering.node('Mul', [silu, s])])
      return [lowering.node('Mul', [lowering.node('Mul', [d, u]), slope]), lowering.node('Mul', [d, silu])]
    },
  })
}
