/** Matrix products, with either side transposed in place: no copy of a transposed matrix is ever made on cpu. */

import { size } from '../interpreter.ts'
import { type Dim, dimValue, formatShape, product, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'
import { broadcastArrays } from './elementwise.ts'
import { sumTo } from './reduce.ts'

export interface MatmulOptions {
  /** Use the transpose of the last two axes of a. */
  transposeA?: boolean
  transposeB?: boolean
  /** Factor on the product. Default 1. */
  alpha?: number
  /** [n], added to every row of a product of two matrices: in the product's own pass where the device has it. */
  bias?: Tensor
}

/**
 * alpha * A B + bias over the last two axes: [..., m, k] x [..., k, n] → [..., m, n]; leading axes must be equal.
 * Gradients: dA = alpha dY B^T, dB = alpha A^T dY (transposed as the operands were), dbias = 1^T dY.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, alpha = 1, bias } = options
  const [m, inner] = lastTwo(a.shape, transposeA)
  const [innerB, n] = lastTwo(b.shape, transposeB)
  const batch = a.shape.slice(0, -2)
  if (inner !== innerB || a.shape.length !== b.shape.length || batch.some((dim, i) => dim !== b.shape[i])) {
    const [left, right] = [transposeA ? ' transposed' : '', transposeB ? ' transposed' : '']
    throw new Error(`matmul: ${formatShape(a.shape)}${left} and ${formatShape(b.shape)}${right} do not multiply`)
  }
  const shape: Shape = [...batch, m, n]
  if (bias !== undefined && (batch.length > 0 || !sameShape(bias.shape, [n]))) {
    throw new Error(
      `matmul: a bias of ${formatShape(bias.shape)} does not fit rows of a product of ${formatShape(shape)}`,
    )
  }
  return apply({
    operator: 'matmul',
    inputs: bias === undefined ? [a, b] : [a, b, bias],
    types: [{ shape, dtype: 'float32' }],
    interpret: ([x, y, c]) => {
      const product = matmulArrays(x, y, { transposeA, transposeB, alpha })
      return [c === undefined ? product : broadcastArrays(product, c, (value, offset) => value + offset)]
    },
    gradient: ([upstream]) => {
      const dy = upstream as Tensor
      // Y = A B: dA = dY B^T, dB = A^T dY; a transposed operand swaps and transposes its side.
      const da = transposeA
        ? matmul(b, dy, { transposeA: transposeB, transposeB: true, alpha })
        : matmul(dy, b, { transposeB: !transposeB, alpha })
      const db = transposeB
        ? matmul(dy, a, { transposeA: true, transposeB: transposeA, alpha })
        : matmul(a, dy, { transposeA: !transposeA, alpha })
      return bias === undefined ? [da, db] : [da, db, sumTo(dy, bias.shape)]
    },
    lower: (lowering, [x, y, c]) => [
      lowering.matmul(x, y, { rank: shape.length, transposeA, transposeB, alpha, bias: c }),
    ],
    flops: (dims) => 2 * dimValue(product([...batch, m, n, inner]), dims),
  })[0]
}

function lastTwo(shape: Shape, transposed: boolean): [Dim, Dim] {
  if (shape.length < 2) throw new Error(`matmul: ${formatShape(shape)} is not a matrix`)
  const [rows, columns] = shape.slice(-2)
  return transposed ? [columns, rows] : [rows, columns]
}

export function matmulArrays(a: NdArray, b: NdArray, options: Required<Omit<MatmulOptions, 'bias'>>): NdArray {
  const [m, inner] = lastTwo(a.shape, options.transposeA) as number[]
  const [, n] = lastTwo(b.shape, options.transposeB) as number[]
  const batch = a.shape.slice(0, -2)
  const data = new Float64Array(size(batch) * m * n)
  const [rowA, colA] = options.transposeA ? [1, m] : [inner, 1]
  const [rowB, colB] = options.transposeB ? [1, inner] : [n, 1]
  for (let block = 0; block < size(batch); block++) {
    const [baseA, baseB] = [block * m * inner, block * inner * n]
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let total = 0
        for (let p = 0; p < inner; p++)
          total += a.data[baseA + i * rowA + p * colA] * b.data[baseB + p * rowB + j * colB]
        data[(block * m + i) * n + j] = options.alpha * total
      }
    }
  }
  return { shape: [...batch, m, n], data }
}
