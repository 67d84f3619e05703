/** Negative log-likelihood of target tokens straight from hidden states, so that logits exist only at label positions, in chunks. */

import type { Lowering } from '../onnx/lowering.ts'
import { dimValue, formatShape, product } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

/**
 * nll_i = logsumexp(h_i W^T) - h_i . w_{target_i}, for hidden states [m, d], output embedding W [v, d] and targets [m] (int32).
 * With `chunks` c > 1 (m must then be a multiple of c), logits of m/c rows exist at a time, in the gradient too, which computes them
 * again: memory m v / c instead of m v, for one more product. Returns [m].
 */
export function tokenNll(hidden: Tensor, weight: Tensor, targets: Tensor, chunks = 1): Tensor {
  const [m, d] = hidden.shape
  const [v, dWeight] = weight.shape
  if (
    hidden.shape.length !== 2 ||
    weight.shape.length !== 2 ||
    d !== dWeight ||
    targets.shape.length !== 1 ||
    targets.shape[0] !== m
  ) {
    const found = [hidden, weight, targets].map((tensor) => formatShape(tensor.shape)).join(', ')
    throw new Error(`tokenNll: expected [m, d], [v, d] and [m], found ${found}`)
  }
  const kept = chunks === 1
  const outputs = apply({
    operator: 'tokenNll',
    inputs: [hidden, weight, targets],
    types: [{ shape: [m], dtype: 'float32' as const }, ...(kept ? [{ shape: [m, v], dtype: 'float32' as const }] : [])],
    interpret: ([h, w, t]) => {
      const logProbabilities = logSoftmax(h, w)
      const data = Float64Array.from(t.data, (target, i) => -logProbabilities.data[i * w.shape[0] + target])
      return [{ shape: t.shape, data }, ...(kept ? [logProbabilities] : [])]
    },
    gradient: ([upstream]) =>
      tokenNllGradient({ hidden, weight, targets, upstream: upstream as Tensor, logProbabilities: outputs[1], chunks }),
    lower: (lowering, [h, w, t]) => {
      const forward = (inner: Lowering, rows: string, wanted: string) => {
        const logits = inner.matmul(rows, w, { rank: 2, transposeB: true })
        const logProbabilities = inner.node('LogSoftmax', [logits], { axis: -1 })
        const picked = inner.node(
          'GatherElements',
          [logProbabilities, inner.node('Unsqueeze', [wanted, inner.int64([1])])],
          { axis: 1 },
        )
        return [inner.node('Neg', [inner.node('Squeeze', [picked, inner.int64([1])])]), logProbabilities]
      }
      if (kept) return forward(lowering, h, t)
      const scanned = scan(lowering, {
        chunks,
        state: [],
        items: [
          { name: h, type: 'float32', width: d as number },
          { name: t, type: 'int32' },
        ],
        results: 1,
        build: (inner, _, [rows, wanted]) => [forward(inner, rows, wanted)[0]],
      })
      return [lowering.node('Reshape', [scanned[0], lowering.int64([-1])])]
    },
    flops: (dims) => 2 * dimValue(product([m, d, v]), dims),
  })
  return outputs[0]
}

interface NllGradient {
  hidden: Tensor
  weight: Tensor
  targets: Tensor
  upstream: Tensor
  logProbabilities?: Tensor
  chunks: number
}

/** dlogits = u_i (softmax_i - onehot(target_i)); dH = dlogits W; dW = dlogits^T H. */
function tokenNllGradient({
  hidden,
  weight,
  targets,
  upstream,
  logProbabilities,
  chunks,
}: NllGradient): (Tensor | undefined)[] {
  const [m, d] = hidden.shape
  const [v] = weight.shape
  const gradients = apply({
    operator: 'tokenNllGradient',
    inputs: [hidden, weight, targets, upstream, ...(logProbabilities ? [logProbabilities] : [])],
    types: [
      { shape: hidden.shape, dtype: 'float32' },
      { shape: weight.shape, dtype: 'float32' },
    ],
    interpret: ([h, w, t, u]) => {
      const dLogits = logSoftmax(h, w)
      const [rows, width] = h.shape
      const vocabulary = w.shape[0]
      const dh = new Float64Array(h.data.length)
      const dw = new Float64Array(w.data.length)
      for (let i = 0; i < rows; i++) {
        for (let word = 0; word < vocabulary; word++) {
          const g = u.data[i] * (Math.exp(dLogits.data[i * vocabulary + word]) - (t.data[i] === word ? 1 : 0))
          for (let j = 0; j < width; j++) {
            dh[i * width + j] += g * w.data[word * width + j]
            dw[word * width + j] += g * h.data[i * width + j]
          }
        }
      }
      return [
        { shape: h.shape, data: dh },
        { shape: w.shape, data: dw },
      ]
    },
    lower: (lowering, [h, w, t, u, kept]) => {
      // With D = softmax - onehot and column u: dH = u * (D W), dW = D^T (u * H). Scaling rows of [m, d] is cheaper than of [m, v].
      const difference = (inner: Lowering, logP: string, wanted: string) => {
        const at = inner.node('Unsqueeze', [wanted, inner.int64([1])])
        const minusOne = inner.node('Expand', [inner.scalar(-1), inner.node('Shape', [at])])
        return inner.node('ScatterElements', [inner.node('Exp', [logP]), at, minusOne], { axis: 1, reduction: 'add' })
      }
      const column = (inner: Lowering, up: string) => inner.node('Unsqueeze', [up, inner.int64([1])])
      if (kept !== undefined) {
        const D = difference(lowering, kept, t)
        const up = column(lowering, u)
        const dH = lowering.node('Mul', [lowering.matmul(D, w, { rank: 2 }), up])
        return [dH, lowering.matmul(D, lowering.node('Mul', [h, up]), { rank: 2, transposeA: true })]
      }
      const zeros = lowering.node('Expand', [lowering.scalar(0), lowering.shape(weight.shape)])
      const [dW, dH] = scan(lowering, {
        chunks,
        state: [{ name: zeros, shape: weight.shape as number[] }],
        items: [
          { name: h, type: 'float32', width: d as number },
          { name: t, type: 'int32' },
          { name: u, type: 'float32' },
        ],
        results: 1,
        build: (inner, [total], [rows, wanted, upRow]) => {
          const logits = inner.matmul(rows, w, { rank: 2, transposeB: true })
          const D = difference(inner, inner.node('LogSoftmax', [logits], { axis: -1 }), wanted)
          const up = column(inner, upRow)
          const sum = inner.node('Gemm', [D, inner.node('Mul', [rows, up]), total], { transA: 1 })
          return [sum, inner.node('Mul', [inner.matmul(D, w, { rank: 2 }), up])]
        },
      })
      return [lowering.node('Reshape', [dH, lowering.int64([-1, d as number])]), dW]
    },
    flops: (dims) => (logProbabilities ? 2 : 3) * 2 * dimValue(product([m, d, v]), dims),
  })
  return [...gradients, undefined]
}

interface ScanOptions {
  chunks: number
  state: { name: string; shape: readonly number[] }[]
  /** Tensors [m, width] or [m], cut along m. */
  items: { name: string; type: 'float32' | 'int32'; width?: number }[]
  /** Stacked results of each chunk. */
  results: number
  build: (inner: Lowering, state: string[], items: string[]) => string[]
}

/** ONNX Scan over `chunks` equal cuts of its items. Returns the final state, then the results stacked by chunk. */
export function scan(lowering: Lowering, { chunks, state, items, results, build }: ScanOptions): string[] {
  const cut = items.map(({ name, width }) =>
    lowering.node('Reshape', [name, lowering.int64(width === undefined ? [chunks, -1] : [chunks, -1, width])]),
  )
  const inputs = [
    ...state.map(({ shape }) => ({ type: 'float32' as const, shape })),
    ...items.map(({ type, width }) => ({ type, shape: width === undefined ? ['chunk'] : ['chunk', width] })),
  ]
  const graph = lowering.subgraph(inputs, (inner, names) =>
    build(inner, names.slice(0, state.length), names.slice(state.length)).map((name, i) => ({
      name,
      type: 'float32' as const,
      shape: i < state.length ? state[i].shape : undefined,
    })),
  )
  return lowering.nodes('Scan', [...state.map(({ name }) => name), ...cut], state.length + results, {
    body: { graph },
    num_scan_inputs: items.length,
  })
}

/** Log-softmax of h W^T, [m, v]. */
export function logSoftmax(h: NdArray, w: NdArray): NdArray {
  const [m, d] = h.shape
  const v = w.shape[0]
  const data = new Float64Array(m * v)
  for (let i = 0; i < m; i++) {
    const row = data.subarray(i * v, (i + 1) * v)
    for (let word = 0; word < v; word++) {
      for (let j = 0; j < d; j++) row[word] += h.data[i * d + j] * w.data[word * d + j]
    }
    const peak = row.reduce((a, b) => Math.max(a, b))
    const logSum = peak + Math.log(row.reduce((total, x) => total + Math.exp(x - peak), 0))
    for (let word = 0; word < v; word++) row[word] -= logSum
  }
  return { shape: [m, v], data }
}
