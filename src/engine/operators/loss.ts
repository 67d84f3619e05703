/**
 * Negative log-likelihood of each target token, and the model's confidence there, straight from hidden states, so that logits exist only at
 * label positions, in chunks.
 */

import type { Lowering } from '../onnx/lowering.ts'
import { dimValue, formatShape, product } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

export interface TokenScores {
  /** [m] */
  nll: Tensor
  /** [m], in (0, 1]. */
  confidence: Tensor
}

/**
 * For logits z_i = W h_i, of hidden states [m, d], output embedding W [v, d] and targets [m] (int32):
 *
 *     nll_i        = logsumexp(z_i) - z_i[target_i]
 *     confidence_i = max_k softmax(z_i)[k] = exp(max_k z_i[k] - logsumexp(z_i))
 *
 * With `chunks` c > 1 (m must then be a multiple of c), logits of m/c rows exist at a time. For scoring: it has no gradient rule, training's loss is
 * `weightedNll`.
 */
export function tokenScores(hidden: Tensor, weight: Tensor, targets: Tensor, chunks = 1): TokenScores {
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
    throw new Error(`tokenScores: expected [m, d], [v, d] and [m], found ${found}`)
  }
  const [nll, confidence] = apply({
    operator: 'tokenScores',
    inputs: [hidden, weight, targets],
    types: [
      { shape: [m], dtype: 'float32' },
      { shape: [m], dtype: 'float32' },
    ],
    interpret: ([h, w, t]) => {
      const { data } = logSoftmax(h, w)
      const rowOf = (i: number) => data.subarray(i * w.shape[0], (i + 1) * w.shape[0])
      return [
        { shape: t.shape, data: Float64Array.from(t.data, (target, i) => -rowOf(i)[target]) },
        {
          shape: t.shape,
          data: Float64Array.from(t.data, (_, i) =>
            Math.exp(rowOf(i).reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY)),
          ),
        },
      ]
    },
    lower: (lowering, [h, w, t]) => {
      const forward = (inner: Lowering, rows: string, wanted: string) => {
        const one = inner.int64([1])
        const logits = inner.matmul(rows, w, { rank: 2, transposeB: true })
        const logProbabilities = inner.node('LogSoftmax', [logits], { axis: -1 })
        const picked = inner.node('GatherElements', [logProbabilities, inner.node('Unsqueeze', [wanted, one])], {
          axis: 1,
        })
        const peak = inner.node('ReduceMax', [logProbabilities, one], { keepdims: 0 })
        return [inner.node('Neg', [inner.node('Squeeze', [picked, one])]), inner.node('Exp', [peak])]
      }
      if (chunks === 1) return forward(lowering, h, t)
      // Before the body, which would cast it for each chunk.
      lowering.factor(w)
      const scanned = scan(lowering, {
        chunks,
        state: [],
        items: [
          { name: h, type: 'float32', width: d as number },
          { name: t, type: 'int32' },
        ],
        results: 2,
        build: (inner, _, [rows, wanted]) => forward(inner, rows, wanted),
      })
      return scanned.map((name) => lowering.node('Reshape', [name, lowering.int64([-1])]))
    },
    flops: (dims) => 2 * dimValue(product([m, d, v]), dims),
  })
  return { nll, confidence }
}

/** The NLL of `tokenScores` alone, [m]. */
export function tokenNll(hidden: Tensor, weight: Tensor, targets: Tensor, chunks = 1): Tensor {
  return tokenScores(hidden, weight, targets, chunks).nll
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
