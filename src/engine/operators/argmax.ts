/** The column of each row's largest value. */

import { formatShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

/** Int32 [n]: of each row of x [n, m] the column of its largest value, the first of equal ones. No gradient. */
export function argmax(x: Tensor): Tensor {
  if (x.shape.length !== 2) throw new Error(`argmax: expected [n, m], found ${formatShape(x.shape)}`)
  return apply({
    operator: 'argmax',
    inputs: [x],
    types: [{ shape: [x.shape[0]], dtype: 'int32' }],
    interpret: ([value]) => [argmaxArray(value)],
    lower: (lowering, [name]) => {
      const found = lowering.node('ArgMax', [name], { axis: 1, keepdims: 0, select_last_index: 0 })
      return [lowering.node('Cast', [found], { to: 6 })]
    },
  })[0]
}

/** Of each row of an array [n, m] the column of its largest value. */
export function argmaxArray({ shape: [rows, columns], data }: NdArray): NdArray {
  const best = (row: number) => {
    let at = row * columns
    for (let i = at + 1; i < (row + 1) * columns; i++) if (data[i] > data[at]) at = i
    return at - row * columns
  }
  return { shape: [rows], data: Float64Array.from({ length: rows }, (_, row) => best(row)) }
}
