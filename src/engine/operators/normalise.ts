/** Root-mean-square normalisation, as in Llama. */

import { formatShape } from '../shape.ts'
import { apply, type Tensor } from '../tensor.ts'

/**
 * RMSNorm: y = x * r * g, r = 1 / sqrt(mean(x^2) + epsilon), over rows of x [n, d] with gain g [d].
 * Source: Zhang and Sennrich 2019, arXiv 1910.07467.
 */
export function rmsNorm(x: Tensor, gain: Tensor, epsilon: number): Tensor {
  const [n, d] = x.shape
  if (x.shape.length !== 2 || gain.shape.length !== 1 || gain.shape[0] !== d || typeof d !== 'number') {
    throw new Error(`rmsNorm: expected [n, d] and [d], found ${formatShape(x.shape)} and ${formatShape(gain.shape)}`)
  }
  const [y, inverse] = apply({
    operator: 'rmsNorm',
    inputs: [x, gain],
    types: [
      { shape: x.shape, dtype: x.dtype },
      { shape: [n, 1], dtype: x.dtype },
    ],
    interpret: ([value, g]) => {
      const rows = value.shape[0]
      const inverses = new Float64Array(rows)
      const data = new Float64Array(value.data.length)
      for (let row = 0; row < rows; row++) {
        let squares = 0
        for (let j = 0; j < d; j++) squares += value.data[row * d + j] ** 2
        inverses[row] = 1 / Math.sqrt(squares / d + epsilon)
        for (let j = 0; j < d; j++) data[row * d + j] = value.data[row * d + j] * inverses[row] * g.data[j]
      }
      return [
        { shape: value.shape, data },
        { shape: [rows, 1], data: inverses },
      ]
    },
    gradient: ([dy]) => rmsNormGradient(x, gain, inverse, dy as Tensor),
    lower: (lowering, [value, g]) => {
      if (lowering.target === 'cpu') {
        return lowering.nodes('SimplifiedLayerNormalization', [value, g], 2, {
          axis: -1,
          epsilon: { float: epsilon },
          stash_type: 1,
        })
      }
      const squares = lowering.node('ReduceMean', [lowering.node('Mul', [value, value]), lowering.int64([-1])], {
        keepdims: 1,
      })
      const r = lowering.node('Reciprocal', [
        lowering.node('Sqrt', [lowering.node('Add', [squares, lowering.scalar(epsilon)])]),
      ])
      return [lowering.node('Mul', [lowering.node('Mul', [value, r]), g]), r]
    },
  })
  return y
}

/**
 * With u = dy * x and s = r^3 (u g) / d (one number a row): dx = dy * g * r - x * s, dg = r^T u.
 * Five passes over [n, d] and two products with a vector.
 */
function rmsNormGradient(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor): Tensor[] {
  const [, d] = x.shape as [unknown, number]
  return apply({
    operator: 'rmsNormGradient',
    inputs: [x, gain, inverse, dy],
    types: [
      { shape: x.shape, dtype: x.dtype },
      { shape: gain.shape, dtype: x.dtype },
    ],
    interpret: ([value, g, r, up]) => {
      const dx = new Float64Array(value.data.length)
      const dg = new Float64Array(d)
      for (let row = 0; row < value.shape[0]; row++) {
        const at = row * d
        let dot = 0
        for (let j = 0; j < d; j++) {
          const u = up.data[at + j] * value.data[at + j]
          dot += u * g.data[j]
          dg[j] += r.data[row] * u
        }
        const s = (r.data[row] ** 3 * dot) / d
        for (let j = 0; j < d; j++) dx[at + j] = up.data[at + j] * g.data[j] * r.data[row] - value.data[at + j] * s
      }
      return [
        { shape: value.shape, data: dx },
        { shape: [d], data: dg },
      ]
    },
    lower: (lowering, [value, g, r, up]) => {
      const u = lowering.node('Mul', [up, value])
      const dot = lowering.node('Gemm', [u, lowering.node('Reshape', [g, lowering.int64([d, 1])])], {
        alpha: { float: 1 / d },
      })
      const cube = lowering.node('Mul', [lowering.node('Mul', [r, r]), r])
      const s = lowering.node('Mul', [cube, dot])
      const direct = lowering.node('Mul', [lowering.node('Mul', [up, g]), r])
      const dx = lowering.node('Sub', [direct, lowering.node('Mul', [value, s])])
      const dg = lowering.node('Gemm', [r, u], { transA: 1 })
      return [dx, lowering.node('Reshape', [dg, lowering.int64([d])])]
    },
  })
}
