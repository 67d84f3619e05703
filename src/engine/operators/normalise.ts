/** Normalisation of rows: by the root mean square, as in Llama; by mean and variance, as in GPT. */

import { formatShape } from '../shape.ts'
import { apply, type Tensor } from '../tensor.ts'
import { columnSums } from './reduce.ts'

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

/**
 * LayerNorm: y = (x - m) r g + b, m = mean(x), r = 1 / sqrt(mean((x - m)^2) + epsilon), over rows of x [n, d] with gain g and bias b [d].
 * Source: Ba et al. 2016, arXiv 1607.06450. x, m and r are kept for the gradient.
 */
export function layerNorm(x: Tensor, gain: Tensor, bias: Tensor, epsilon: number): Tensor {
  const [n, d] = x.shape
  const fits = [gain, bias].every(({ shape }) => shape.length === 1 && shape[0] === d)
  if (x.shape.length !== 2 || !fits || typeof d !== 'number') {
    const found = [x, gain, bias].map(({ shape }) => formatShape(shape)).join(', ')
    throw new Error(`layerNorm: expected [n, d], [d] and [d], found ${found}`)
  }
  const column = { shape: [n, 1], dtype: x.dtype }
  const [y, mean, inverse] = apply({
    operator: 'layerNorm',
    inputs: [x, gain, bias],
    types: [{ shape: x.shape, dtype: x.dtype }, column, column],
    interpret: ([value, g, b]) => {
      const rows = value.shape[0]
      const [means, inverses] = [new Float64Array(rows), new Float64Array(rows)]
      const data = new Float64Array(value.data.length)
      for (let row = 0; row < rows; row++) {
        const from = value.data.subarray(row * d, (row + 1) * d)
        means[row] = from.reduce((a, v) => a + v, 0) / d
        inverses[row] = 1 / Math.sqrt(from.reduce((a, v) => a + (v - means[row]) ** 2, 0) / d + epsilon)
        for (let j = 0; j < d; j++) data[row * d + j] = (from[j] - means[row]) * inverses[row] * g.data[j] + b.data[j]
      }
      return [
        { shape: value.shape, data },
        { shape: [rows, 1], data: means },
        { shape: [rows, 1], data: inverses },
      ]
    },
    gradient: ([dy]) => layerNormGradient({ x, gain, mean, inverse, dy: dy as Tensor }),
    lower: (lowering, inputs) => {
      return lowering.nodes('LayerNormalization', inputs, 3, { axis: -1, epsilon: { float: epsilon }, stash_type: 1 })
    },
  })
  return y
}

interface LayerNormGradient {
  x: Tensor
  gain: Tensor
  mean: Tensor
  inverse: Tensor
  dy: Tensor
}

/**
 * With c = x - m, u = dy * c, a = (dy g) / d and s = r^3 (u g) / d (numbers a row): dx = dy * g * r - c * s - r a, dg = r^T u, db = 1^T dy.
 * Seven passes over [n, d] and four products with a vector.
 */
function layerNormGradient({ x, gain, mean, inverse, dy }: LayerNormGradient): Tensor[] {
  const [, d] = x.shape as [unknown, number]
  const vector = { shape: gain.shape, dtype: x.dtype }
  return apply({
    operator: 'layerNormGradient',
    inputs: [x, gain, mean, inverse, dy],
    types: [{ shape: x.shape, dtype: x.dtype }, vector, vector],
    interpret: ([value, g, m, r, up]) => {
      const dx = new Float64Array(value.data.length)
      const [dg, db] = [new Float64Array(d), new Float64Array(d)]
      for (let row = 0; row < value.shape[0]; row++) {
        const at = row * d
        let [direct, dot] = [0, 0]
        const normal = (j: number) => (value.data[at + j] - m.data[row]) * r.data[row]
        for (let j = 0; j < d; j++) {
          direct += (up.data[at + j] * g.data[j]) / d
          dot += (up.data[at + j] * g.data[j] * normal(j)) / d
          dg[j] += up.data[at + j] * normal(j)
          db[j] += up.data[at + j]
        }
        for (let j = 0; j < d; j++) dx[at + j] = r.data[row] * (up.data[at + j] * g.data[j] - direct - normal(j) * dot)
      }
      return [
        { shape: value.shape, data: dx },
        { shape: [d], data: dg },
        { shape: [d], data: db },
      ]
    },
    lower: (lowering, [value, g, m, r, up]) => {
      const column = lowering.node('Reshape', [g, lowering.int64([d, 1])])
      const meanDot = (rows: string) => lowering.node('Gemm', [rows, column], { alpha: { float: 1 / d } })
      const centred = lowering.node('Sub', [value, m])
      const u = lowering.node('Mul', [up, centred])
      const cube = lowering.node('Mul', [lowering.node('Mul', [r, r]), r])
      const s = lowering.node('Mul', [cube, meanDot(u)])
      const direct = lowering.node('Mul', [lowering.node('Mul', [up, g]), r])
      const offset = lowering.node('Mul', [r, meanDot(up)])
      const dx = lowering.node('Sub', [lowering.node('Sub', [direct, lowering.node('Mul', [centred, s])]), offset])
      const dg = lowering.node('Reshape', [lowering.node('Gemm', [r, u], { transA: 1 }), lowering.int64([d])])
      return [dx, dg, columnSums(lowering, up, x.shape)]
    },
  })
}
