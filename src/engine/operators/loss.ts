/** Negative log-likelihood of each target token straight from hidden states, so that logits exist only at label positions, in chunks. */

import type { Lowering } from '../onnx/lowering.ts'
import { dimValue, formatShape, product } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

/**
 * nll_i = logsumexp(h_i W^T) - h_i . w_{target_i}, for hidden states [m, d], output embedding W [v, d] and targets [m] (int32). Returns [m].
 * With `chunks` c > 1 (m must then be a multiple of c), logits of m/c rows exist at a time. For scoring: it has no gradient rule, training's loss is
 * `weightedNll`.
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
  return apply({
    operator: 'tokenNll',
    inputs: [hidden, weight, targets],
    types: [{ shape: [m], dtype: 'float32' }],
    interpret: ([h, w, t]) => {
      const logProbabilities = logSoftmax(h, w)
      const data = Float64Array.from(t.data, (target, i) => -logProbabilities.data[i * w.shape[0] + target])
      return [{ shape: t.shape, data }]
    },
    lower: (lowering, [h, w, t]) => {
      const forward = (inner: Lowering, rows: string, wanted: string) => {
        const logits = inner.matmul(rows, w, { rank: 2, transposeB: true })
        const logProbabilities = inner.node('LogSoftmax', [logits], { axis: -1 })
        const picked = inner.node(
          'GatherElements',
          [logProbabilities, inner.node('Unsqueeze', [wanted, inner.int64([1])])],
          { axis: 1 },
        )
        return inner.node('Neg', [inner.node('Squeeze', [picked, inner.int64([1])])])
      }
      if (chunks === 1) return [forward(lowering, h, t)]
      // Before the body, which would cast it for each chunk.
      lowering.factor(w)
      const scanned = scan(lowering, {
        chunks,
        state: [],
        items: [
          { name: h, type: 'float32', width: d as number },
          { name: t, type: 'int32' },
        ],
        results: 1,
        build: (inner, _, [rows, wanted]) => [forward(inner, rows, wanted)],
      })
      return [lowering.node('Reshape', [scanned[0], lowering.int64([-1])])]
    },
    flops: (dims) => 2 * dimValue(product([m, d, v]), dims),
  })[0]
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
