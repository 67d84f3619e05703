/** Attention of new tokens over the keys and values of earlier ones, which come from outside the graph: decoding with a cache. */

import type { Lowering } from '../onnx/lowering.ts'
import { type Dim, dimValue, formatShape, product, type Shape, sameShape } from '../shape.ts'
import { apply, type NdArray, type Tensor } from '../tensor.ts'

/** Int32 [batch, length]: lengths[b] + j, the positions of `length` new tokens of rows that have `lengths` [batch] already. */
export function following(lengths: Tensor, length: Dim): Tensor {
  const [batch] = lengths.shape
  if (lengths.shape.length !== 1 || lengths.dtype !== 'int32')
    throw new Error(`following: expected int32 [batch], found ${lengths.dtype} ${formatShape(lengths.shape)}`)
  return apply({
    operator: 'following',
    inputs: [lengths],
    types: [{ shape: [batch, length], dtype: 'int32' }],
    interpret: ([counts], dims) => {
      const width = dimValue(length, dims)
      const data = Float64Array.from(
        { length: counts.data.length * width },
        (_, i) => counts.data[Math.floor(i / width)] + (i % width),
      )
      return [{ shape: [counts.data.length, width], data }]
    },
    lower: (lowering, [counts]) => [lowering.node('Add', [column(lowering, counts), counting(lowering, length)])],
  })[0]
}

/** [n] as [n, 1]. */
const column = (lowering: Lowering, name: string) => lowering.node('Unsqueeze', [name, lowering.int64([1])])

/** 0, 1, … up to a dimension, int32 [dim]. */
function counting(lowering: Lowering, dim: Dim): string {
  return lowering.once(`counting ${dim}`, () => {
    const limit = lowering.node('Cast', [lowering.dimension(dim)], { to: INT32 })
    const end = lowering.node('Reshape', [limit, lowering.constant(new BigInt64Array(0), [0])])
    const bound = (value: number) => lowering.constant(Int32Array.of(value), [])
    return lowering.node('Range', [bound(0), end, bound(1)])
  })
}

const INT32 = 6

/** Keys and values of the tokens before. */
export interface Past {
  /** [batch, groups, past, d]; of row b the first lengths[b] along `past` count, the others are any finite numbers. */
  keys: Tensor
  values: Tensor
  /** Int32 [batch]. */
  lengths: Tensor
}

/**
 * O = P V with P = softmax(scale Q [K_past; K]^T + mask): new tokens' queries q [batch, heads, length, d] over the keys of the row's earlier tokens
 * and, causally, over their own k, v [batch, groups, length, d]. Each group serves heads / groups query heads. No gradient.
 *
 * The sums over `past` run in order and what does not count adds exact zeros, so where `past` is a multiple of 64 a row's result does not depend
 * on how long `past` is, on cpu to the bit.
 */
export function cachedAttention(q: Tensor, k: Tensor, v: Tensor, past: Past, scale: number): Tensor {
  const { keys, values, lengths } = past
  const [batch, heads, length, d] = q.shape
  const [, groups, ,] = k.shape
  const earlier = keys.shape[2]
  const fits =
    q.shape.length === 4 &&
    sameShape(k.shape, [batch, groups, length, d]) &&
    sameShape(v.shape, k.shape) &&
    sameShape(keys.shape, [batch, groups, earlier, d]) &&
    sameShape(values.shape, keys.shape) &&
    sameShape(lengths.shape, [batch]) &&
    (heads as number) % (groups as number) === 0
  if (!fits) {
    const found = [q, k, v, keys, values, lengths].map(({ shape }) => formatShape(shape)).join(', ')
    throw new Error(
      `cachedAttention: shapes ${found} are not [batch, heads, length, d], twice [batch, groups, length, d], twice [batch, groups, past, d] and [batch], heads a multiple of groups`,
    )
  }
  return apply({
    operator: 'cachedAttention',
    inputs: [q, k, v, keys, values, lengths],
    types: [{ shape: q.shape, dtype: q.dtype }],
    interpret: (arrays) => [attend(arrays, scale)],
    lower: (lowering, names) => [lowerAttention(lowering, names, { q: q.shape, groups, past: earlier, scale })],
    flops: (dims) =>
      4 * (dimValue(product([...q.shape, length]), dims) + dimValue(product([...q.shape, earlier]), dims)),
  })[0]
}

interface Form {
  q: Shape
  groups: Dim
  past: Dim
  scale: number
}

/** Two products for the scores and two for the sums: the past is read where it lies, never put together with what is new. */
function lowerAttention(lowering: Lowering, names: readonly string[], { q, groups, past, scale }: Form): string {
  const [query, key, value, keys, values, lengths] = names
  const [batch, heads, length, d] = q
  const shared = product([(heads as number) / (groups as number), length])
  const reshape = (name: string, shape: Shape) => lowering.node('Reshape', [name, lowering.shape(shape)])
  const stack = (name: string, width: Dim) => (heads === groups ? name : reshape(name, [batch, groups, shared, width]))
  const unstack = (name: string, width: Dim) => (heads === groups ? name : reshape(name, [batch, heads, length, width]))
  // Scaled beforehand: products of one row have a kernel of their own, for a factor of 1 only. The reshape keeps ONNX Runtime from making the two one.
  const stacked = reshape(lowering.node('Mul', [query, lowering.scalar(scale)]), [batch, groups, shared, d])
  const scores = (against: string, width: Dim) =>
    unstack(lowering.matmul(stacked, against, { rank: 4, transposeB: true }), width)
  const before = lowering.node('Add', [scores(keys, past), pastMask(lowering, lengths, past)])
  const now = lowering.node('Add', [scores(key, length), causalMask(lowering, length)])
  const p = lowering.node('Softmax', [lowering.node('Concat', [before, now], { axis: -1 })], { axis: -1 })
  const sizes = lowering.once(`sizes ${past} ${length}`, () =>
    lowering.node('Concat', [lowering.dimension(past), lowering.dimension(length)], { axis: 0 }),
  )
  const [pBefore, pNow] = lowering.nodes('Split', [p, sizes], 2, { axis: -1 })
  const sum = (weights: string, width: Dim, over: string) => lowering.matmul(stack(weights, width), over, { rank: 4 })
  return unstack(lowering.node('Add', [sum(pBefore, past, values), sum(pNow, length, value)]), d)
}

/** 0 where the past counts, -1e9 (a softmax weight of exactly 0) where not: [batch, 1, 1, past]. */
function pastMask(lowering: Lowering, lengths: string, past: Dim): string {
  return lowering.once(`past mask ${lengths} ${past}`, () => {
    const counts = lowering.node('Less', [counting(lowering, past), column(lowering, lengths)])
    const mask = lowering.node('Where', [counts, lowering.scalar(0), lowering.scalar(-1e9)])
    return lowering.node('Unsqueeze', [mask, lowering.int64([1, 2])])
  })
}

/** 0 on and below the diagonal, -1e9 above: [length, length]. */
export function causalMask(lowering: Lowering, length: Dim): string {
  return lowering.once(`causal mask ${length}`, () => {
    const shape = lowering.shape([length, length])
    const full = lowering.node('Expand', [lowering.scalar(-1e9), shape])
    return lowering.node('Trilu', [full, lowering.constant(BigInt64Array.of(1n), [])], { upper: 1 })
  })
}

function attend([q, k, v, keys, values, lengths]: readonly NdArray[], scale: number): NdArray {
  const [batch, heads, length, d] = q.shape
  const [groups, past] = [k.shape[1], keys.shape[2]]
  const data = new Float64Array(q.data.length)
  for (let head = 0; head < batch * heads; head++) {
    const row = Math.floor(head / heads)
    const group = row * groups + Math.floor(((head % heads) * groups) / heads)
    const before = lengths.data[row]
    for (let i = 0; i < length; i++) {
      const at = (head * length + i) * d
      // Where each key and value that this query sees begins.
      const seen = [
        ...Array.from({ length: before }, (_, j) => ({
          key: keys.data,
          value: values.data,
          from: (group * past + j) * d,
        })),
        ...Array.from({ length: i + 1 }, (_, j) => ({ key: k.data, value: v.data, from: (group * length + j) * d })),
      ]
      const scores = seen.map(({ key, from }) => {
        let dot = 0
        for (let c = 0; c < d; c++) dot += q.data[at + c] * key[from + c]
        return scale * dot
      })
      const peak = scores.reduce((a, b) => Math.max(a, b))
      const weights = scores.map((score) => Math.exp(score - peak))
      const total = weights.reduce((a, b) => a + b)
      seen.forEach(({ value, from }, j) => {
        for (let c = 0; c < d; c++) data[at + c] += (weights[j] / total) * value[from + c]
      })
    }
  }
  return { shape: q.shape, data }
}
