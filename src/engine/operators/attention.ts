/** Rotary positions and causal attention. */

import { size } from '../interpreter.ts'
import type { Lowering } from '../onnx/lowering.ts'
import type { Attributes } from '../onnx/protobuf.ts'
import { type Dim, dimValue, formatShape, product, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'
import { causalMask } from './cached-attention.ts'

/** ONNX's number for 64-bit integers. */
const INT64 = 7

/** Angles of rotary positions: the pair j turns by p * frequencies[j] at position p. */
export interface RotaryOptions {
  /** Longest sequence the tables serve. */
  maxLength: number
  /** Angle of each pair per position, [rotated dimensions / 2]; models/rope.ts computes them. */
  frequencies: readonly number[]
  /** Factor on the turned dimensions (YaRN's and LongRoPE's attention factor). Default 1. */
  factor?: number
  /** Position of each token of each row, int32 [batch, length]. Default: 0, 1, … */
  positions?: Tensor
}

/**
 * Rotary position embedding of x [batch, heads, length, d], halves rotated as in Hugging Face's Llama: with r = 2 frequencies.length at most d, at
 * position p the pair (x_j, x_{j + r/2}) turns by the angle p * frequencies[j] and grows by `factor`; what follows the first r is left alone. Its
 * gradient turns back. Angles are rounded to float32, as transformers has them. Source: Su et al. 2021, arXiv 2104.09864.
 */
export function rotary(x: Tensor, options: RotaryOptions, inverse = false): Tensor {
  const { maxLength, frequencies, factor = 1, positions } = options
  const [, heads, , d] = x.shape
  const half = frequencies.length
  if (x.shape.length !== 4 || typeof d !== 'number' || 2 * half > d || half === 0) {
    throw new Error(`rotary: expected [batch, heads, length, at least ${2 * half}], found ${formatShape(x.shape)}`)
  }
  const angle = (position: number, j: number) => Math.fround(position * frequencies[j])
  const sign = inverse ? -1 : 1
  return apply({
    operator: 'rotary',
    inputs: positions === undefined ? [x] : [x, positions],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value, places]) => {
      const length = value.shape[2]
      const data = value.data.slice()
      for (let at = 0, row = 0; at < data.length; at += d, row++) {
        const batch = Math.floor(row / length / value.shape[1])
        const position = places === undefined ? row % length : places.data[batch * length + (row % length)]
        for (let j = 0; j < half; j++) {
          const turn = sign * angle(position, j)
          const [first, second] = [value.data[at + j], value.data[at + half + j]]
          data[at + j] = factor * (first * Math.cos(turn) - second * Math.sin(turn))
          data[at + half + j] = factor * (second * Math.cos(turn) + first * Math.sin(turn))
        }
      }
      return [{ shape: value.shape, data }]
    },
    gradient: ([upstream]) => [rotary(upstream as Tensor, options, !inverse)],
    lower: (lowering, [name, places]) => {
      const table = (f: (angle: number) => number) =>
        lowering.constant(
          Float32Array.from({ length: maxLength * half }, (_, i) => factor * f(angle(Math.floor(i / half), i % half))),
          [maxLength, half],
        )
      const key = `rotary ${maxLength} ${factor} ${frequencies.join()}`
      const cos = lowering.once(`${key} cos`, () => table(Math.cos))
      const sin = lowering.once(`${key} ${sign} sin`, () => table((turn) => sign * Math.sin(turn)))
      const partial: Attributes = 2 * half < d ? { rotary_embedding_dim: 2 * half, num_heads: heads as number } : {}
      const attributes = { interleaved: 0, ...partial }
      const ids =
        places === undefined
          ? lowering.int64([0])
          : lowering.once(`places ${places}`, () => lowering.node('Cast', [places], { to: INT64 }))
      return [lowering.contributed('RotaryEmbedding', [name, ids, cos, sin], attributes)]
    },
  })[0]
}

/**
 * Causal scaled dot-product attention: O = P V, P = softmax(scale Q K^T + mask), over q [batch, heads, length, d] and k, v [batch, groups, length, d],
 * each group's keys and values shared by heads / groups query heads, whose rows are stacked rather than the keys repeated.
 * Queries see keys at their own and earlier positions, so right-padding needs no mask of its own. Memory: batch * heads *
 * length^2 for P, kept for the gradient.
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  const [batch, heads, length, d] = q.shape
  const groups = k.shape[1]
  const shared = sameShape(k.shape, v.shape) && sameShape(k.shape, [batch, groups, length, d])
  if (q.shape.length !== 4 || !shared || (heads as number) % (groups as number) !== 0) {
    throw new Error(
      `causalAttention: shapes ${formatShape(q.shape)}, ${formatShape(k.shape)}, ${formatShape(v.shape)} are not [batch, heads, length, d] and twice [batch, groups, length, d], heads a multiple of groups`,
    )
  }
  const weights: Shape = [batch, heads, length, length]
  const [output, probabilities] = apply({
    operator: 'causalAttention',
    inputs: [q, k, v],
    types: [
      { shape: q.shape, dtype: q.dtype },
      { shape: weights, dtype: q.dtype },
    ],
    interpret: ([query, key, value]) => attend(query, key, value, scale),
    gradient: ([dO]) => attentionGradient({ q, k, v, output, probabilities, dO: dO as Tensor, scale }),
    lower: (lowering, [query, key, value]) => {
      const { stack, unstack } = stacking(lowering, q.shape, groups)
      const product = lowering.matmul(stack(query), key, { rank: 4, transposeB: true, alpha: scale })
      const scores = heads === groups ? product : lowering.node('Reshape', [product, lowering.shape(weights)])
      const masked = lowering.node('Add', [scores, causalMask(lowering, length)])
      const p = lowering.node('Softmax', [masked], { axis: -1 })
      return [unstack(lowering.matmul(stack(p, length), value, { rank: 4 })), p]
    },
    flops: (dims) => 2 * 2 * dimValue(product([...q.shape, length]), dims),
  })
  return output
}

/** [batch, heads, length, width] to and from [batch, groups, heads/groups * length, width]: the same elements in the same order. */
function stacking(lowering: Lowering, [batch, heads, length, d]: Shape, groups: Dim) {
  if (heads === groups) return { stack: (x: string) => x, unstack: (x: string) => x }
  const rows = product([(heads as number) / (groups as number), length])
  const stack = (x: string, width: Dim = d) =>
    lowering.node('Reshape', [x, lowering.shape([batch, groups, rows, width])])
  return { stack, unstack: (x: string) => lowering.node('Reshape', [x, lowering.shape([batch, heads, length, d])]) }
}

interface AttentionGradient {
  q: Tensor
  k: Tensor
  v: Tensor
  output: Tensor
  probabilities: Tensor
  dO: Tensor
  scale: number
}

/**
 * dV = P^T dO; dS = P * (dO V^T - rowsum(dO * O)); dQ = scale dS K; dK = scale dS^T Q. The row sum over d replaces softmax's own
 * over length: rowsum(P * dP) = rowsum(dO * O) (Dao et al. 2022, arXiv 2205.14135, eq. 4).
 */
function attentionGradient({ q, k, v, output, probabilities, dO, scale }: AttentionGradient): Tensor[] {
  return apply({
    operator: 'causalAttentionGradient',
    inputs: [q, k, v, output, probabilities, dO],
    types: [q, k, v].map(({ shape, dtype }) => ({ shape, dtype })),
    interpret: ([query, key, value, , p, up]) => attendGradient(query, key, value, p, up, scale),
    lower: (lowering, [query, key, value, o, p, up]) => {
      const { stack, unstack } = stacking(lowering, q.shape, k.shape[1])
      const [stackedP, stackedUp] = [stack(p, q.shape[2]), stack(up)]
      const dV = lowering.matmul(stackedP, stackedUp, { rank: 4, transposeA: true })
      const dP = lowering.matmul(stackedUp, value, { rank: 4, transposeB: true })
      const delta = lowering.rowSum(lowering.node('Mul', [stackedUp, stack(o)]))
      const dS = lowering.node('Mul', [stackedP, lowering.node('Sub', [dP, delta])])
      const dQ = unstack(lowering.matmul(dS, key, { rank: 4, alpha: scale }))
      const dK = lowering.matmul(dS, stack(query), { rank: 4, transposeA: true, alpha: scale })
      return [dQ, dK, dV]
    },
    flops: (dims) => 4 * 2 * dimValue(product([...q.shape, q.shape[2]]), dims),
  })
}

function attend(q: NdArray, k: NdArray, v: NdArray, scale: number): NdArray[] {
  const [batch, heads, length, d] = q.shape
  const share = heads / k.shape[1]
  const p = new Float64Array(batch * heads * length * length)
  const data = new Float64Array(q.data.length)
  for (let head = 0; head < batch * heads; head++) {
    const keys = Math.floor(head / share)
    for (let i = 0; i < length; i++) {
      const row = p.subarray((head * length + i) * length, (head * length + i) * length + i + 1)
      for (let j = 0; j <= i; j++) {
        for (let c = 0; c < d; c++)
          row[j] += scale * q.data[(head * length + i) * d + c] * k.data[(keys * length + j) * d + c]
      }
      const peak = row.reduce((a, b) => Math.max(a, b))
      const total = row.reduce((sum, score) => sum + Math.exp(score - peak), 0)
      for (let j = 0; j <= i; j++) {
        row[j] = Math.exp(row[j] - peak) / total
        for (let c = 0; c < d; c++) data[(head * length + i) * d + c] += row[j] * v.data[(keys * length + j) * d + c]
      }
    }
  }
  return [
    { shape: q.shape, data },
    { shape: [batch, heads, length, length], data: p },
  ]
}

function attendGradient(q: NdArray, k: NdArray, v: NdArray, p: NdArray, up: NdArray, scale: number): NdArray[] {
  const [length, d] = q.shape.slice(2)
  const share = q.shape[1] / k.shape[1]
  const [dq, dk, dv] = [q, k, v].map((array) => new Float64Array(array.data.length))
  for (let head = 0; head < size(q.shape.slice(0, 2)); head++) {
    const keys = Math.floor(head / share)
    for (let i = 0; i < length; i++) {
      const at = (head * length + i) * d
      const row = p.data.subarray((head * length + i) * length, (head * length + i + 1) * length)
      const dP = Array.from({ length: i + 1 }, (_, j) => {
        let dot = 0
        for (let c = 0; c < d; c++) dot += up.data[at + c] * v.data[(keys * length + j) * d + c]
        return dot
      })
      const mean = dP.reduce((total, value, j) => total + row[j] * value, 0)
      for (let j = 0; j <= i; j++) {
        const from = (keys * length + j) * d
        const dS = scale * row[j] * (dP[j] - mean)
        for (let c = 0; c < d; c++) {
          dq[at + c] += dS * k.data[from + c]
          dk[from + c] += dS * q.data[at + c]
          dv[from + c] += row[j] * up.data[at + c]
        }
      }
    }
  }
  return [
    { shape: q.shape, data: dq },
    { shape: k.shape, data: dk },
    { shape: v.shape, data: dv },
  ]
}
