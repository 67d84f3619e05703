/** The row of a matrix with the largest product, found without reading the matrix in float32: greedy decoding over a large vocabulary. */

import { WinnowError } from '../../errors.ts'
import type { Lowering } from '../onnx/lowering.ts'
import { formatShape } from '../shape.ts'
import { apply, type Tensor } from '../tensor.ts'
import { argmaxArray } from './argmax.ts'
import { matmulArrays } from './matmul.ts'

/** A matrix W [n, d] in 8 bits, divided by its largest row's norm, and how far off that is. */
export interface Screen {
  /** Q^T [d, n], row-major: W_v / norm = scale_v Q_v + residual. */
  quantised: Int8Array
  /** [n], max |W_v| / 127 / norm. */
  scale: Float32Array
  /** [n]: the product of any h with W_v / norm is off by at most |h| bound_v, in 2-norm, however it is summed. */
  bound: Float32Array
}

/** Steps of a hidden state: two digits of 7 bits, so that pairs of products with 8-bit weights do not saturate 16 bits on older processors. */
const STEPS = 8064
const DIGIT = 128
/** Unit roundoff of float32. */
const ROUNDOFF = 2 ** -24
/** Far from float32's smallest numbers. */
const LEAST = 1e-30

/** Rows up to which screening is seen to pay (docs/decisions/0023-greedy-screening.md). */
export const FEW_ROWS = 32

/**
 * Largest 2-norm of the rows of a matrix [n, d].
 *
 * @throws {WinnowError} `not-finite`.
 */
export function largestNorm(matrix: Float32Array, d: number): number {
  let most = 0
  for (let from = 0; from < matrix.length; from += d) {
    let squares = 0
    for (let i = from; i < from + d; i++) squares += matrix[i] ** 2
    most = Math.max(most, squares)
  }
  if (Number.isFinite(most)) return Math.sqrt(most)
  throw new WinnowError('failure', {
    code: 'not-finite',
    message: 'the output embedding has numbers that are not finite',
    found: String(matrix.find((value) => !Number.isFinite(value))),
    expected: 'finite numbers',
    hint: 'The weights are damaged, or training diverged before they were saved.',
  })
}

/** Quantises a matrix [n, d] by rows, round to nearest; `largest`: its `largestNorm`. O(n d); 1 byte an entry and 8 a row. */
export function screenOf(matrix: Float32Array, d: number, largest = largestNorm(matrix, d)): Screen {
  const n = matrix.length / d
  const norm = Math.max(largest, LEAST)
  const quantised = new Int8Array(n * d)
  const [scale, bound] = [new Float32Array(n), new Float32Array(n)]
  // Half a step of each entry of h against the whole row, and both products' rounding; twice that, for what is rounded on the way.
  const relative = Math.sqrt(d) / STEPS + 4 * d * ROUNDOFF
  // Blocks of rows, so that a column of Q^T is written in runs.
  const block = 64
  for (let from = 0; from < n; from += block) {
    const to = Math.min(n, from + block)
    for (let v = from; v < to; v++) {
      let most = 0
      for (let i = v * d; i < (v + 1) * d; i++) most = Math.max(most, Math.abs(matrix[i]))
      scale[v] = Math.max(most / 127 / norm, LEAST)
    }
    const [residual, squares] = [new Float64Array(to - from), new Float64Array(to - from)]
    for (let i = 0; i < d; i++)
      for (let v = from; v < to; v++) {
        const value = matrix[v * d + i] / norm
        const q = Math.round(value / scale[v])
        quantised[i * n + v] = q
        residual[v - from] += (value - q * scale[v]) ** 2
        squares[v - from] += value ** 2
      }
    for (let v = from; v < to; v++)
      bound[v] = 1.001 * (Math.sqrt(residual[v - from]) + relative * Math.sqrt(squares[v - from])) + LEAST
  }
  return { quantised, scale, bound }
}

export interface Screening {
  /** Of W: what rows are looked for in 8 bits by. Absent: by the float32 product, whose rounding `norm` bounds. */
  screen?: () => Screen
  /** `largestNorm` of W. */
  norm: number
}

/**
 * Int32 [rows]: for each row of h [rows, d] the row v of W [n, d] with the largest product h W_v^T, the lowest of equal ones. On cpu only. No gradient.
 *
 * In two steps. All products, in 8 bits or in float32, each with a bound on how far off it is; what may be the largest by these bounds is multiplied in
 * float32, each product by itself. So the result depends on neither the first step nor the rows beside it nor threads. Exact where products are normal
 * float32 numbers: bounds that say little make it slower, not wrong. Where h is no number, some row. Memory of a run: 8 d bytes for each pair of a row and
 * what may be its largest; of normal models these are few, of h = 0 all. `screen` is called when the graph is lowered.
 */
export function argmaxProduct(h: Tensor, matrix: Tensor, screening: Screening): Tensor {
  const [, d] = matrix.shape
  if (h.shape.length !== 2 || matrix.shape.length !== 2 || h.shape[1] !== d)
    throw new Error(`argmaxProduct: ${formatShape(h.shape)} and ${formatShape(matrix.shape)} do not multiply`)
  return apply({
    operator: 'argmaxProduct',
    inputs: [h, matrix],
    types: [{ shape: [h.shape[0]], dtype: 'int32' }],
    interpret: ([x, y]) => [argmaxArray(matmulArrays(x, y, { transposeA: false, transposeB: true, alpha: 1 }))],
    lower: (lowering, [x, y]) => {
      if (lowering.target !== 'cpu') throw new Error('argmaxProduct: it has a form for cpu only')
      return [lowerScreened(lowering, x, y, { ...screening, d: d as number })]
    },
  })[0]
}

const [INT32, UINT8] = [6, 2]

function lowerScreened(lowering: Lowering, h: string, matrix: string, screening: Screening & { d: number }): string {
  const { screen, norm, d } = screening
  const last = lowering.int64([1])
  const node = (operator: string, ...inputs: string[]) => lowering.node(operator, inputs)
  // Of h / max |h|: its square neither overflows nor vanishes. At least 1, also where h is nearly 0.
  const most = node('Max', lowering.node('ReduceMax', [node('Abs', h), last], { keepdims: 1 }), lowering.scalar(LEAST))
  const scaled = node('Div', h, most)
  const size = node('Max', lowering.node('ReduceL2', [scaled, last], { keepdims: 1 }), lowering.scalar(1))
  const may = screen
    ? screened(lowering, scaled, size, screen())
    : // Both sums of a product, and of what it is compared with.
      nearLargest(lowering, h, matrix, node('Mul', node('Mul', size, most), lowering.scalar(5 * d * ROUNDOFF * norm)))
  const found = candidates(lowering, may)
  const ofRow = lowering.node('Gather', [may, found], { axis: 1 })
  const pairs = lowering.node('Transpose', [node('NonZero', ofRow)], { perm: [1, 0] })
  const side = (column: number) => lowering.node('Gather', [pairs, lowering.int64([column])], { axis: 1 })
  const row = node('Reshape', side(0), lowering.int64([-1]))
  const id = lowering.node('Gather', [found, node('Reshape', side(1), lowering.int64([-1]))], { axis: 0 })
  // Each product on its own: the kernel for one row and one column, whatever stands beside it.
  const products = node(
    'MatMul',
    node('Unsqueeze', lowering.node('Gather', [h, row], { axis: 0 }), last),
    node('Unsqueeze', lowering.node('Gather', [matrix, id], { axis: 0 }), lowering.int64([2])),
  )
  const nothing = node('Expand', lowering.scalar(Number.NEGATIVE_INFINITY), node('Shape', ofRow))
  const table = node('ScatterND', nothing, pairs, node('Reshape', products, lowering.int64([-1])))
  const at = lowering.node('ArgMax', [table], { axis: 1, keepdims: 0, select_last_index: 0 })
  return lowering.node('Cast', [lowering.node('Gather', [found, at], { axis: 0 })], { to: INT32 })
}

/** Bool [rows, n]: whether the product may be the largest of its row, by 8-bit weights. All in steps of `scaled`, h / max |h|. */
function screened(lowering: Lowering, scaled: string, size: string, { quantised, scale, bound }: Screen): string {
  const node = (operator: string, ...inputs: string[]) => lowering.node(operator, inputs)
  const [n, d] = [scale.length, quantised.length / scale.length]
  const whole = node('Round', node('Mul', scaled, lowering.scalar(STEPS)))
  const half = lowering.scalar(DIGIT / 2)
  const high = node('Floor', node('Div', node('Add', whole, half), lowering.scalar(DIGIT)))
  const low = node('Sub', whole, node('Mul', high, lowering.scalar(DIGIT)))
  const digits = node('Add', lowering.node('Concat', [high, low], { axis: 0 }), half)
  const products = lowering.contributed('MatMulIntegerToFloat', [
    lowering.node('Cast', [digits], { to: UINT8 }),
    lowering.constant(quantised, [d, n]),
    lowering.scalar(1),
    lowering.constant(scale, [n]),
    lowering.constant(Uint8Array.of(DIGIT / 2), []),
  ])
  const [ofHigh, ofLow] = lowering.nodes('Split', [products], 2, { axis: 0, num_outputs: 2 })
  const about = node('Add', node('Mul', ofHigh, lowering.scalar(DIGIT)), ofLow)
  const off = node('Mul', node('Mul', size, lowering.scalar(STEPS)), lowering.constant(bound, [1, n]))
  const least = lowering.node('ReduceMax', [node('Sub', about, off), lowering.int64([1])], { keepdims: 1 })
  return node('GreaterOrEqual', node('Add', about, off), least)
}

/** The same by the float32 product: all that its rounding may hide behind the largest. */
function nearLargest(lowering: Lowering, h: string, matrix: string, off: string): string {
  const products = lowering.matmul(h, matrix, { rank: 2, transposeB: true })
  const most = lowering.node('ReduceMax', [products, lowering.int64([1])], { keepdims: 1 })
  return lowering.node('GreaterOrEqual', [products, lowering.node('Sub', [most, off])])
}

/** Columns, ascending, that hold for any row; 0 before them, so that there is one where products are no numbers. */
function candidates(lowering: Lowering, may: string): string {
  const any = lowering.node('ReduceMax', [lowering.node('Cast', [may], { to: UINT8 }), lowering.int64([0])], {
    keepdims: 0,
  })
  const found = lowering.node('Reshape', [lowering.node('NonZero', [any]), lowering.int64([-1])])
  return lowering.node('Concat', [lowering.int64([0]), found], { axis: 0 })
}
