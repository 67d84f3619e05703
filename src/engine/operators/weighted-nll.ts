/** The training loss straight from hidden states, with its gradients computed on the way: logits of a chunk exist once and only once. */

import type { Lowering } from '../onnx/lowering.ts'
import { dimValue, formatShape, product } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'
import { scatterAdd } from './gather.ts'
import { logSoftmax, scan } from './loss.ts'

/**
 * sum_i u_i nll_i with nll_i = logsumexp(h_i W^T) - h_i . w_{target_i}, for hidden states [m, d], output embedding W [v, d],
 * targets [m] (int32) and label weights u [m]. Scalar.
 *
 * The weights are known before the loss is, so the same pass gives dlogits = u_i (softmax_i - onehot(target_i)), dH = dlogits W and
 * dW = dlogits^T H: three products with the vocabulary, where computing logits again in a backward pass would take four. With
 * `chunks` c > 1 (m must be a multiple of c) logits of m / c rows exist at a time, and dW is added up chunk by chunk.
 */
export function weightedNll(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor, chunks = 1): Tensor {
  const [m, d] = hidden.shape
  const [v, dWeight] = weight.shape
  if (
    hidden.shape.length !== 2 ||
    weight.shape.length !== 2 ||
    d !== dWeight ||
    [targets, weights].some(({ shape }) => shape.length !== 1 || shape[0] !== m)
  ) {
    const found = [hidden, weight, targets, weights].map(({ shape }) => formatShape(shape)).join(', ')
    throw new Error(`weightedNll: expected [m, d], [v, d], [m] and [m], found ${found}`)
  }
  const [loss, dH, dW] = apply({
    operator: 'weightedNll',
    inputs: [hidden, weight, targets, weights],
    types: [
      { shape: [], dtype: 'float32' },
      { shape: hidden.shape, dtype: 'float32' },
      { shape: weight.shape, dtype: 'float32' },
    ],
    interpret: ([h, w, t, u]) => lossAndGradients(h, w, t, u),
    gradient: ([upstream]) => {
      const scaled = (gradient: Tensor) =>
        isOne(upstream as Tensor) ? gradient : multiply(gradient, upstream as Tensor)
      return [scaled(dH), scaled(dW), undefined, undefined]
    },
    lower: (lowering, [h, w, t, u]) => {
      // The ones of onehot stand apart, as rows of [m, d] and not in a copy of [m, v]: float32 keeps the difference as well either way, half
      // precision would not.
      const sparse = lowering.target === 'cpu'
      const one = (inner: Lowering, rows: string, wanted: string, share: string) => {
        const at = inner.node('Unsqueeze', [wanted, inner.int64([1])])
        const column = inner.node('Unsqueeze', [share, inner.int64([1])])
        const logits = inner.matmul(rows, w, { rank: 2, transposeB: true })
        const p = inner.node('Softmax', [logits], { axis: -1 })
        const peak = (x: string) => inner.node('ReduceMax', [x, inner.int64([1])], { keepdims: 1 })
        // logsumexp = max logit - log(max p), which no small p makes inexact; a maximum is cheaper than the exponentials of a log-softmax.
        const picked = inner.node('GatherElements', [logits, at], { axis: 1 })
        const nll = inner.node('Sub', [inner.node('Sub', [peak(logits), picked]), inner.node('Log', [peak(p)])])
        // Scaling rows of [m, d] is cheaper than of [m, v].
        const scaled = inner.node('Mul', [rows, column])
        const terms = inner.node('Mul', [nll, column])
        if (sparse) {
          const dRows = inner.node('Sub', [
            inner.matmul(p, w, { rank: 2 }),
            inner.node('Gather', [w, wanted], { axis: 0 }),
          ])
          return { terms, dH: inner.node('Mul', [dRows, column]), D: p, scaled }
        }
        const minusOne = inner.node('Expand', [inner.scalar(-1), inner.node('Shape', [at])])
        const D = inner.node('ScatterElements', [p, at, minusOne], { axis: 1, reduction: 'add' })
        return { terms, dH: inner.node('Mul', [inner.matmul(D, w, { rank: 2 }), column]), D, scaled }
      }
      /** What the targets' ones take from the gradient of W. */
      const withTargets = (dW: string, scaled: string) =>
        sparse ? scatterAdd(lowering, dW, lowering.node('Neg', [scaled]), t) : dW
      const total = (terms: string) => lowering.node('ReduceSum', [terms], { keepdims: 0 })
      if (chunks === 1) {
        const { terms, dH, D, scaled } = one(lowering, h, t, u)
        return [total(terms), dH, withTargets(lowering.matmul(D, scaled, { rank: 2, transposeA: true }), scaled)]
      }
      // Before the body, which would cast it for each chunk.
      lowering.factor(w)
      const zeros = lowering.node('Expand', [lowering.scalar(0), lowering.shape(weight.shape)])
      const [dW, terms, dH] = scan(lowering, {
        chunks,
        state: [{ name: zeros, shape: weight.shape as number[] }],
        items: [
          { name: h, type: 'float32', width: d as number },
          { name: t, type: 'int32' },
          { name: u, type: 'float32' },
        ],
        results: 2,
        build: (inner, [sum], [rows, wanted, share]) => {
          const { terms, dH, D, scaled } = one(inner, rows, wanted, share)
          return [inner.addProduct(D, scaled, sum), terms, dH]
        },
      })
      const all = lowering.node('Mul', [h, lowering.node('Unsqueeze', [u, lowering.int64([1])])])
      return [total(terms), lowering.node('Reshape', [dH, lowering.int64([-1, d as number])]), withTargets(dW, all)]
    },
    flops: (dims) => 3 * 2 * dimValue(product([m, d, v]), dims),
  })
  return loss
}

/** Whether a tensor is the seed of differentiation. */
function isOne({ node, shape }: Tensor): boolean {
  return node.operator === 'constant' && shape.length === 0 && node.interpret([], new Map())[0].data[0] === 1
}

function lossAndGradients(h: NdArray, w: NdArray, t: NdArray, u: NdArray): NdArray[] {
  const logP = logSoftmax(h, w).data
  const [rows, width] = h.shape
  const vocabulary = w.shape[0]
  const dh = new Float64Array(h.data.length)
  const dw = new Float64Array(w.data.length)
  let loss = 0
  for (let i = 0; i < rows; i++) {
    loss -= u.data[i] * logP[i * vocabulary + t.data[i]]
    for (let word = 0; word < vocabulary; word++) {
      const g = u.data[i] * (Math.exp(logP[i * vocabulary + word]) - (t.data[i] === word ? 1 : 0))
      for (let j = 0; j < width; j++) {
        dh[i * width + j] += g * w.data[word * width + j]
        dw[word * width + j] += g * h.data[i * width + j]
      }
    }
  }
  return [
    { shape: [], data: Float64Array.of(loss) },
    { shape: h.shape, data: dh },
    { shape: w.shape, data: dw },
  ]
}
