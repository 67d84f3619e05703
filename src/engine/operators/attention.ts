/** Rotary positions and causal attention. */

import { size } from '../interpreter.ts'
import type { Lowering } from '../onnx/lowering.ts'
import { type Dim, dimValue, formatShape, product, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

export interface RotaryOptions {
  /** Longest sequence the tables serve. */
  maxLength: number
  /** Base of the angles. Default 10,000. */
  theta?: number
}

/**
 * Rotary position embedding of x [batch, heads, length, d], halves rotated as in Hugging Face's Llama: at position p the pair
 * (x_j, x_{j + d/2}) turns by the angle p * theta^(-2j/d). Its gradient turns back. Source: Su et al. 2021, arXiv 2104.09864.
 */
export function rotary(x: Tensor, { maxLength, theta = 10_000 }: RotaryOptions, inverse = false): Tensor {
  const d = x.shape[3]
  if (x.shape.length !== 4 || typeof d !== 'number' || d % 2 !== 0) {
    throw new Error(`rotary: expected [batch, heads, length, even d], found ${formatShape(x.shape)}`)
  }
  const half = d / 2
  const angle = (position: number, j: number) => position * theta ** (-j / half)
  const sign = inverse ? -1 : 1
  return apply({
    operator: 'rotary',
    inputs: [x],
    types: [{ shape: x.shape, dtype: x.dtype }],
    interpret: ([value]) => {
      const length = value.shape[2]
      const data = new Float64Array(value.data.length)
      for (let at = 0, row = 0; at < data.length; at += d, row++) {
        for (let j = 0; j < half; j++) {
          const turn = sign * angle(row % length, j)
          const [first, second] = [value.data[at + j], value.data[at + half + j]]
          data[at + j] = first * Math.cos(turn) - second * Math.sin(turn)
          data[at + half + j] = second * Math.cos(turn) + first * Math.sin(turn)
        }
      }
      return [{ shape: value.shape, data }]
    },
    gradient: ([upstream]) => [rotary(upstream as Tensor, { maxLength, theta }, !inverse)],
    lower: (lowering, [name]) => {
      const table = (f: (angle: number) => number) =>
        lowering.constant(
          Float32Array.from({ length: maxLength * half }, (_, i) => f(angle(Math.floor(i / half), i % half))),
          [maxLength, half],
        )
      const key = `rotary ${maxLength} ${half} ${theta}`
      const cos = lowering.once(`${key} cos`, () => table(Math.cos))
      const sin = lowering.once(`${key} ${sign} sin`, () => table((turn) => sign * Math.sin(turn)))
      return [lowering.contributed('RotaryEmbedding', [name, lowering.int64([0]), cos, sin], { interleaved: 0 })]
    },
  })[0]
}

/** 0 on and below the diagonal, -1e9 above (its softmax weight is exactly 0): [length, length]. */
function causalMask(lowering: Lowering, length: Dim): string {
  return lowering.once(`causal mask ${length}`, () => {
    const shape = lowering.shape([length, length])
    const full = lowering.node('Expand', [lowering.scalar(-1e9), shape])
    return lowering.node('Trilu', [full, lowering.constant(BigInt64Array.of(1n), [])], { upper: 1 })
  })
}

/**
 * Causal scaled dot-product attention: O = P V, P = softmax(scale Q K^T + mask), over q, k, v [batch, heads, length, d].
 * Queries see keys at their own and earlier positions, so right-padding needs no mask of its own. Memory: batch * heads *
 * length^2 for P, kept for the gradient.
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  if (q.shape.length !== 4 || !sameShape(q.shape, k.shape) || !sameShape(q.shape, v.shape)) {
    throw new Error(
      `causalAttention: shapes ${formatShape(q.shape)}, ${formatShape(k.shape)}, ${formatShape(v.shape)} differ or are not [batch, heads, length, d]`,
    )
  }
  const [batch, heads, length] = q.shape
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
      const scores = lowering.matmul(query, key, { rank: 4, transposeB: true, alpha: scale })
      const masked = lowering.node('Add', [scores, causalMask(lowering, length)])
      const p = lowering.node('Softmax', [masked], { axis: -1 })
      return [lowering.matmul(p, value, { rank: 4 }), p]
    },
    flops: (dims) => 2 * 2 * dimValue(product([...q.shape, length]), dims),
  })
  return output
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
      const dV = lowering.matmul(p, up, { rank: 4, transposeA: true })
      const dP = lowering.matmul(up, value, { rank: 4, transposeB: true })
      const delta = lowering.rowSum(lowering.node('Mul', [up, o]))
      const dS = lowering.node('Mul', [p, lowering.node('Sub', [dP, delta])])
      const dQ = lowering.matmul(dS, key, { rank: 4, alpha: scale })
      const dK = lowering.matmul(dS, query, { rank: 4, transposeA: true, alpha: scale })
      return [dQ, dK, dV]
    },
    flops: (dims) => 4 * 2 * dimValue(product([...q.shape, q.shape[2]]), dims),
  })
}

function attend(q: NdArray, k: NdArray, v: NdArray, scale: number): NdArray[] {
  const [batch, heads, length, d] = q.shape
  const p = new Float64Array(batch * heads * length * length)
  const data = new Float64Array(q.data.length)
  for (let head = 0; head < batch * heads; head++) {
    for (let i = 0; i < length; i++) {
      const row = p.subarray((head * length + i) * length, (head * length + i) * length + i + 1)
      for (let j = 0; j <= i; j++) {
        for (let c = 0; c < d; c++)
          row[j] += scale * q.data[(head * length + i) * d + c] * k.data[(head * length + j) * d + c]
      }
      const peak = row.reduce((a, b) => Math.max(a, b))
      const total = row.reduce((sum, score) => sum + Math.exp(score - peak), 0)
      for (let j = 0; j <= i; j++) {
        row[j] = Math.exp(row[j] - peak) / total
        for (let c = 0; c < d; c++) data[(head * length + i) * d + c] += row[j] * v.data[(head * length + j) * d + c]
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
  const [dq, dk, dv] = [q, k, v].map((array) => new Float64Array(array.data.length))
  for (let head = 0; head < size(q.shape.slice(0, 2)); head++) {
    for (let i = 0; i < length; i++) {
      const at = (head * length + i) * d
      const row = p.data.subarray((head * length + i) * length, (head * length + i + 1) * length)
      const dP = Array.from({ length: i + 1 }, (_, j) => {
        let dot = 0
        for (let c = 0; c < d; c++) dot += up.data[at + c] * v.data[(head * length + j) * d + c]
        return dot
      })
      const mean = dP.reduce((total, value, j) => total + row[j] * value, 0)
      for (let j = 0; j <= i; j++) {
        const from = (head * length + j) * d
        const dS = scale * row[j] * (dP[j] - mean)
        for (let c = 0; c < d; c++) {
          dq[at + c] += dS * k.data[from + c]
          dk[from + c] += dS * q.data[at + c]
          dv[from + c] += row[j] * up.data[at + c]
        }
      }
    }
  }
  return [dq, dk, dv].map((data) => ({ shape: q.shape, data }))
}
