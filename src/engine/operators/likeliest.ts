/** The row of a matrix with the largest product, found without computing all products to the last bit: greedy decoding over a large vocabulary. */

import type { Lowering } from '../onnx/lowering.ts'
import { formatShape } from '../shape.ts'
import { apply, type Tensor } from '../tensor.ts'
import { argmaxArray } from './argmax.ts'
import { matmulArrays } from './matmul.ts'

/** A matrix W [n, d] in 8 bits, and how far off that is. */
export interface Screen {
  /** Q^T [d, n], row-major: W_v = scale_v Q_v + residual. */
  quantised: Int8Array
  /** [n], max |W_v| / 127. */
  scale: Float32Array
  /** [n]: the product of any h with W_v is off by at most |h| bound_v, in 2-norm, however it is summed. */
  bound: Float32Array
  /** Largest 2-norm of a row. */
  norm: number
}

/** Steps of a hidden state: two digits of 7 bits, so that pairs of products with 8-bit weights do not saturate 16 bits on older processors. */
const STEPS = 8064
const DIGIT = 128
/** Rows up to which the matrix is read in 8 bits; with more the passes over [rows, n] cost more than the reading. */
const FEW_ROWS = 8
/** Unit roundoff of float32. */
const ROUNDOFF = 2 ** -24
const LEAST = 1e-30

/** Quantises a matrix [n, d] by rows: round to nearest. O(n d); 1 byte an entry and 8 a row. */
export function screenOf(matrix: Float32Array, d: number): Screen {
  const n = matrix.length / d
  const quantised = new Int8Array(n * d)
  const [scale, bound] = [new Float32Array(n), new Float32Array(n)]
  // Half a step of each entry of h against the whole row, and both products' rounding; twice that, for what is rounded on the way.
  const relative = Math.sqrt(d) / STEPS + 4 * d * ROUNDOFF
  let norm = 0
  // Blocks of rows, so that a column of Q^T is written in runs.
  const block = 64
  for (let from = 0; from < n; from += block) {
    const to = Math.min(n, from + block)
    for (let v = from; v < to; v++) {
      let most = 0
      for (let i = v * d; i < (v + 1) * d; i++) most = Math.max(most, Math.abs(matrix[i]))
      scale[v] = Math.max(most, LEAST) / 127
    }
    const [residual, squares] = [new Float64Array(to - from), new Float64Array(to - from)]
    for (let i = 0; i < d; i++)
      for (let v = from; v < to; v++) {
        const value = matrix[v * d + i]
        const q = Math.round(value / scale[v])
        quantised[i * n + v] = q
        residual[v - from] += (value - q * scale[v]) ** 2
        squares[v - from] += value ** 2
      }
    for (let v = from; v < to; v++) {
      const size = Math.sqrt(squares[v - from])
      bound[v] = 1.001 * (Math.sqrt(residual[v - from]) + relative * size)
      norm = Math.max(norm, size)
    }
  }
  return { quantised, scale, bound, norm }
}

/**
 * Int32 [rows]: for each row of h [rows, d] the row v of W [n, d] with the largest product h W_v^T, the lowest of equal ones. No gradient.
 *
 * On cpu in two steps. All products in 8 bits, off by at most |h| bound_v; what may be the largest by these bounds is multiplied in float32, each product
 * by itself: the result does not depend on the rows beside it, nor on threads. Exact for any input: bounds that say little make
 * it slower, not wrong. With more than 8 rows, the first step is the float32 product. Measured in docs/benchmarks/generation.md.
 */
export function likeliest(h: Tensor, matrix: Tensor, screen: Screen): Tensor {
  const [n, d] = matrix.shape
  if (h.shape.length !== 2 || matrix.shape.length !== 2 || h.shape[1] !== d || screen.scale.length !== n)
    throw new Error(`likeliest: ${formatShape(h.shape)} and ${formatShape(matrix.shape)} do not multiply`)
  return apply({
    operator: 'likeliest',
    inputs: [h, matrix],
    types: [{ shape: [h.shape[0]], dtype: 'int32' }],
    interpret: ([x, y]) => [argmaxArray(matmulArrays(x, y, { transposeA: false, transposeB: true, alpha: 1 }))],
    lower: (lowering, [x, y]) => [
      lowering.target === 'cpu' ? lowerScreened(lowering, x, y, screen) : lowerPlain(lowering, x, y),
    ],
  })[0]
}

const [INT32, UINT8] = [6, 2]

function lowerPlain(lowering: Lowering, h: string, matrix: string): string {
  const products = lowering.matmul(h, matrix, { rank: 2, transposeB: true })
  const found = lowering.node('ArgMax', [products], { axis: 1, keepdims: 0, select_last_index: 0 })
  return lowering.node('Cast', [found], { to: INT32 })
}

function lowerScreened(lowering: Lowering, h: string, matrix: string, screen: Screen): string {
  const norm = lowering.node('ReduceL2', [h, lowering.int64([1])], { keepdims: 1 })
  const rows = lowering.node('Shape', [h], { start: 0, end: 1 })
  const few = lowering.node('LessOrEqual', [rows, lowering.int64([FEW_ROWS])])
  const condition = lowering.node('Reshape', [few, lowering.constant(new BigInt64Array(0), [0])])
  const [n, d] = [screen.scale.length, screen.quantised.length / screen.scale.length]
  const weights = {
    quantised: lowering.constant(screen.quantised, [d, n]),
    scale: lowering.constant(screen.scale, [n]),
    bound: lowering.constant(screen.bound, [1, n]),
  }
  // Both sums of a product, and of what it is compared with.
  const rounding = 5 * d * ROUNDOFF * screen.norm
  const branch = (build: (inner: Lowering) => string) => ({
    graph: lowering.subgraph([], (inner) => [{ name: candidates(inner, build(inner)), type: 'int64' as const }]),
  })
  const found = lowering.node('If', [condition], {
    then_branch: branch((inner) => screened(inner, h, norm, weights)),
    else_branch: branch((inner) => nearLargest(inner, { h, norm, matrix, rounding })),
  })
  // Each product on its own: the kernel for one row and one column, whatever stands beside it.
  const some = lowering.node('Gather', [matrix, found], { axis: 0 })
  const [left, right] = [
    lowering.node('Unsqueeze', [h, lowering.int64([1, 2])]),
    lowering.node('Unsqueeze', [some, lowering.int64([0, 3])]),
  ]
  const products = lowering.node('Squeeze', [lowering.node('MatMul', [left, right]), lowering.int64([2, 3])])
  const at = lowering.node('ArgMax', [products], { axis: 1, keepdims: 0, select_last_index: 0 })
  return lowering.node('Cast', [lowering.node('Gather', [found, at], { axis: 0 })], { to: INT32 })
}

/** Bool [rows, n]: whether the product may be the largest of its row, by 8-bit weights. All in units of the step of h. */
function screened(
  lowering: Lowering,
  h: string,
  norm: string,
  weights: Record<'quantised' | 'scale' | 'bound', string>,
): string {
  const node = (operator: string, ...inputs: string[]) => lowering.node(operator, inputs)
  const last = lowering.int64([1])
  const most = lowering.node('ReduceMax', [node('Abs', h), last], { keepdims: 1 })
  const step = node('Div', node('Max', most, lowering.scalar(LEAST)), lowering.scalar(STEPS))
  const whole = node('Round', node('Div', h, step))
  const half = lowering.scalar(DIGIT / 2)
  const high = node('Floor', node('Div', node('Add', whole, half), lowering.scalar(DIGIT)))
  const low = node('Sub', whole, node('Mul', high, lowering.scalar(DIGIT)))
  const digits = node('Add', lowering.node('Concat', [high, low], { axis: 0 }), half)
  const products = lowering.contributed('MatMulIntegerToFloat', [
    lowering.node('Cast', [digits], { to: UINT8 }),
    weights.quantised,
    lowering.scalar(1),
    weights.scale,
    lowering.constant(Uint8Array.of(DIGIT / 2), []),
  ])
  const [ofHigh, ofLow] = lowering.nodes('Split', [products], 2, { axis: 0, num_outputs: 2 })
  const about = node('Add', node('Mul', ofHigh, lowering.scalar(DIGIT)), ofLow)
  const off = node('Mul', node('Div', norm, step), weights.bound)
  const least = lowering.node('ReduceMax', [node('Sub', about, off), last], { keepdims: 1 })
  return node('GreaterOrEqual', node('Add', about, off), least)
}

/** The same by the float32 product: all that its rounding may hide behind the largest, `rounding` for a row of norm 1. */
function nearLargest(
  lowering: Lowering,
  { h, norm, matrix, rounding }: { h: string; norm: string; matrix: string; rounding: number },
): string {
  const products = lowering.matmul(h, matrix, { rank: 2, transposeB: true })
  const most = lowering.node('ReduceMax', [products, lowering.int64([1])], { keepdims: 1 })
  const least = lowering.node('Sub', [most, lowering.node('Mul', [norm, lowering.scalar(rounding)])])
  return lowering.node('GreaterOrEqual', [products, least])
}

/** Columns, ascending, that hold for any row; 0 before them, so that there is one where products are no numbers. */
function candidates(lowering: Lowering, may: string): string {
  const any = lowering.node('ReduceMax', [lowering.node('Cast', [may], { to: INT32 }), lowering.int64([0])], {
    keepdims: 0,
  })
  const found = lowering.node('Reshape', [lowering.node('NonZero', [any]), lowering.int64([-1])])
  return lowering.node('Concat', [lowering.int64([0]), found], { axis: 0 })
}
