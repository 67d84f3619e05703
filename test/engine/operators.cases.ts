/** One case per operator and variant: the graph, its inputs, and the tolerance of float32 devices against the float64 oracle. */

import { gelu, relu } from '../../src/engine/operators/activation.ts'
import { argmax } from '../../src/engine/operators/argmax.ts'
import { causalAttention, rotary } from '../../src/engine/operators/attention.ts'
import { cachedAttention, following } from '../../src/engine/operators/cached-attention.ts'
import * as elementwise from '../../src/engine/operators/elementwise.ts'
import { addRows, firstRows, gatherRows, scatterRows } from '../../src/engine/operators/gather.ts'
import { broadcastTo, concat, reshape, split, transpose } from '../../src/engine/operators/layout.ts'
import { tokenNll, tokenScores } from '../../src/engine/operators/loss.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { layerNorm, rmsNorm } from '../../src/engine/operators/normalise.ts'
import { mean, sum, sumOfSquares, sumTo } from '../../src/engine/operators/reduce.ts'
import { weightedNll } from '../../src/engine/operators/weighted-nll.ts'
import type { Shape } from '../../src/engine/shape.ts'
import { constant, scalar, type Tensor } from '../../src/engine/tensor.ts'

export interface Case {
  name: string
  /** Inputs a, b, c … by declared shape; names stand for the sizes in `dims`. Values: normal, or positive. */
  inputs: Record<string, { shape: Shape; positive?: boolean; below?: number }>
  dims?: Record<string, number>
  build: (inputs: Record<string, Tensor>) => Tensor
  /** Absolute tolerance of a float32 device. Default 1e-5. */
  tolerance?: number
  /** Without a gradient rule, and why. */
  noGradient?: string
}

/** A table's rows by number: integers as floats, through an operator that reads them. */
const table = constant(
  Float32Array.from({ length: 20 }, (_, i) => i * i),
  [20, 1],
)
const gatherColumn = (at: Tensor) => reshape(gatherRows(table, reshape(at, ['batch*length'])), ['batch', 'length'])

const batched = { batch: 2, length: 3 }

export const cases: Case[] = [
  { name: 'add', inputs: { a: { shape: [2, 3] }, b: { shape: [2, 3] } }, build: ({ a, b }) => elementwise.add(a, b) },
  {
    name: 'add, broadcast both ways',
    inputs: { a: { shape: [2, 1, 3] }, b: { shape: [4, 1] } },
    build: ({ a, b }) => elementwise.add(a, b),
  },
  {
    name: 'subtract, broadcast',
    inputs: { a: { shape: [3] }, b: { shape: [2, 3] } },
    build: ({ a, b }) => elementwise.subtract(a, b),
  },
  {
    name: 'multiply, broadcast',
    inputs: { a: { shape: [2, 3] }, b: { shape: [2, 1] } },
    build: ({ a, b }) => elementwise.multiply(a, b),
  },
  { name: 'multiply by itself', inputs: { a: { shape: [5] } }, build: ({ a }) => elementwise.multiply(a, a) },
  {
    name: 'divide, broadcast',
    inputs: { a: { shape: [2, 3] }, b: { shape: [3], positive: true } },
    build: ({ a, b }) => elementwise.divide(a, b),
  },
  {
    name: 'minimum',
    inputs: { a: { shape: [6] }, b: { shape: [6] } },
    build: ({ a, b }) => elementwise.minimum(a, b),
    noGradient: 'used outside the differentiated part only',
  },
  { name: 'scale', inputs: { a: { shape: [2, 2] } }, build: ({ a }) => elementwise.scale(a, -1.5) },
  { name: 'negate', inputs: { a: { shape: [4] } }, build: ({ a }) => elementwise.negate(a) },
  { name: 'exp', inputs: { a: { shape: [4] } }, build: ({ a }) => elementwise.exp(a) },
  { name: 'log', inputs: { a: { shape: [4], positive: true } }, build: ({ a }) => elementwise.log(a) },
  { name: 'sqrt', inputs: { a: { shape: [4], positive: true } }, build: ({ a }) => elementwise.sqrt(a) },
  { name: 'sigmoid', inputs: { a: { shape: [5] } }, build: ({ a }) => elementwise.sigmoid(a) },
  {
    name: 'swiglu',
    inputs: { g: { shape: ['batch', 6] }, u: { shape: ['batch', 6] } },
    dims: batched,
    build: ({ g, u }) => elementwise.swiglu(g, u),
  },
  ...(['erf', 'tanh'] as const).map(
    (form): Case => ({
      name: `gelu, ${form}`,
      inputs: { a: { shape: ['batch', 40] } },
      dims: batched,
      // Out to where the tails are 0 and 1.
      build: ({ a }) => gelu(elementwise.scale(a, 4), form),
      tolerance: 2e-5,
    }),
  ),
  { name: 'relu', inputs: { a: { shape: [2, 9] } }, build: ({ a }) => relu(a) },
  { name: 'sum of everything', inputs: { a: { shape: [2, 3] } }, build: ({ a }) => sum(a) },
  { name: 'sum over a middle axis', inputs: { a: { shape: [2, 3, 4] } }, build: ({ a }) => sum(a, { axes: [1] }) },
  {
    name: 'sum over two axes, kept',
    inputs: { a: { shape: ['batch', 3, 4] } },
    dims: batched,
    build: ({ a }) => sum(a, { axes: [0, -1], keepDims: true }),
  },
  {
    name: 'sum over rows',
    inputs: { a: { shape: ['batch', 3] } },
    dims: batched,
    build: ({ a }) => sum(a, { axes: [0] }),
  },
  {
    name: 'add, of a bias to rows',
    inputs: { a: { shape: ['batch', 'length', 4] }, b: { shape: [4] } },
    dims: batched,
    build: ({ a, b }) => elementwise.add(reshape(a, ['batch*length', 4]), b),
  },
  { name: 'mean', inputs: { a: { shape: [2, 5] } }, build: ({ a }) => mean(a, { axes: [1] }) },
  { name: 'sumTo', inputs: { a: { shape: [2, 3, 4] } }, build: ({ a }) => sumTo(a, [3, 1]) },
  {
    name: 'sumOfSquares',
    inputs: { a: { shape: [2, 3] }, b: { shape: [4] } },
    build: ({ a, b }) => sumOfSquares([a, b]),
    noGradient: 'used on gradients only',
  },
  {
    name: 'reshape with one named dimension',
    inputs: { a: { shape: ['batch', 6] } },
    dims: batched,
    build: ({ a }) => reshape(a, ['batch', 2, 3]),
  },
  {
    name: 'reshape with two named dimensions',
    inputs: { a: { shape: ['batch', 'length', 6] } },
    dims: batched,
    build: ({ a }) => reshape(elementwise.exp(reshape(a, ['batch*length', 6])), ['batch', 'length', 2, 3]),
  },
  {
    name: 'transpose',
    inputs: { a: { shape: ['batch', 'length', 4] } },
    dims: batched,
    build: ({ a }) => transpose(a, [2, 0, 1]),
  },
  {
    name: 'split, all parts used',
    inputs: { a: { shape: [2, 7] } },
    build: ({ a }) => {
      const [x, y, z] = split(a, [2, 3, 2], 1)
      return concat([elementwise.multiply(z, x), elementwise.exp(y)], 1)
    },
  },
  { name: 'split, one part used', inputs: { a: { shape: [2, 5] } }, build: ({ a }) => split(a, [2, 3], -1)[1] },
  {
    name: 'concat',
    inputs: { a: { shape: [2, 1, 3] }, b: { shape: [2, 2, 3] } },
    build: ({ a, b }) => concat([a, b, a], 1),
  },
  { name: 'broadcastTo', inputs: { a: { shape: [3, 1] } }, build: ({ a }) => broadcastTo(a, [2, 3, 4]) },
  {
    name: 'constant',
    inputs: { a: { shape: [3] } },
    build: ({ a }) => elementwise.multiply(a, constant(Float32Array.of(1, 2, 3), [3])),
  },
  ...[false, true].flatMap((transposeA) =>
    [false, true].flatMap((transposeB): Case[] => [
      {
        name: `matmul${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`,
        inputs: { a: { shape: transposeA ? [4, 'batch'] : ['batch', 4] }, b: { shape: transposeB ? [5, 4] : [4, 5] } },
        dims: batched,
        build: ({ a, b }) => matmul(a, b, { transposeA, transposeB, alpha: 0.5 }),
      },
      {
        name: `batched matmul${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`,
        inputs: {
          a: { shape: transposeA ? ['batch', 2, 4, 3] : ['batch', 2, 3, 4] },
          b: { shape: transposeB ? ['batch', 2, 5, 4] : ['batch', 2, 4, 5] },
        },
        dims: batched,
        build: ({ a, b }) => matmul(a, b, { transposeA, transposeB, alpha: 2 }),
      },
    ]),
  ),
  {
    name: 'matmul with a bias',
    inputs: { a: { shape: ['batch', 4] }, b: { shape: [5, 4] }, c: { shape: [5] } },
    dims: batched,
    build: ({ a, b, c }) => matmul(a, b, { transposeB: true, alpha: 0.5, bias: c }),
  },
  {
    name: 'gatherRows',
    inputs: { a: { shape: [5, 3] }, at: { shape: ['batch'], below: 5 } },
    dims: { batch: 7 },
    build: ({ a, at }) => gatherRows(a, at),
  },
  {
    name: 'gatherRows, of as many rows as a batch has tokens, some twice',
    inputs: {
      a: { shape: ['batch*length', 3] },
      b: { shape: ['batch', 'length'] },
      at: { shape: ['labels'], below: 6 },
    },
    dims: { batch: 2, length: 3, labels: 9 },
    build: ({ a, b, at }) => elementwise.multiply(gatherRows(a, at), gatherRows(reshape(b, ['batch*length', 1]), at)),
  },
  {
    name: 'scatterRows with repeated rows',
    inputs: { a: { shape: ['batch', 3] }, at: { shape: ['batch'], below: 3 } },
    dims: { batch: 7 },
    build: ({ a, at }) => scatterRows(a, at, 4),
  },
  {
    name: 'addRows with repeated rows',
    inputs: { a: { shape: [4, 3] }, b: { shape: ['batch', 3] }, at: { shape: ['batch'], below: 3 } },
    dims: { batch: 7 },
    build: ({ a, b, at }) => addRows(a, b, at),
  },
  {
    name: 'rows of a table that is used otherwise too',
    inputs: { a: { shape: [5, 3] }, at: { shape: ['batch'], below: 5 } },
    dims: { batch: 7 },
    build: ({ a, at }) => matmul(gatherRows(a, at), a, { transposeB: true }),
  },
  {
    name: 'firstRows',
    inputs: { a: { shape: [5, 3] }, b: { shape: ['batch', 'length', 3] } },
    dims: batched,
    build: ({ a, b }) => elementwise.add(b, firstRows(a, 'length')),
  },
  {
    name: 'layerNorm',
    inputs: { a: { shape: ['batch', 6] }, g: { shape: [6] }, b: { shape: [6] } },
    dims: batched,
    build: ({ a, g, b }) => layerNorm(elementwise.add(a, scalar(3)), g, b, 1e-5),
  },
  {
    name: 'rmsNorm',
    inputs: { a: { shape: ['batch', 6] }, g: { shape: [6] } },
    dims: batched,
    build: ({ a, g }) => rmsNorm(a, g, 1e-5),
  },
  {
    name: 'rotary',
    inputs: { a: { shape: ['batch', 2, 'length', 6] } },
    dims: batched,
    build: ({ a }) => rotary(a, { maxLength: 5, frequencies: [1, 0.2, 0.05] }),
  },
  {
    name: 'rotary of a part of each head, scaled',
    inputs: { a: { shape: ['batch', 2, 'length', 7] } },
    dims: batched,
    build: ({ a }) => rotary(a, { maxLength: 5, frequencies: [1, 0.2], factor: 1.3 }),
  },
  {
    name: 'causalAttention',
    inputs: {
      q: { shape: ['batch', 2, 'length', 4] },
      k: { shape: ['batch', 2, 'length', 4] },
      v: { shape: ['batch', 2, 'length', 4] },
    },
    dims: { batch: 2, length: 5 },
    build: ({ q, k, v }) => causalAttention(q, k, v, 0.5),
  },
  {
    name: 'causalAttention, keys and values shared by three query heads',
    inputs: {
      q: { shape: ['batch', 6, 'length', 4] },
      k: { shape: ['batch', 2, 'length', 4] },
      v: { shape: ['batch', 2, 'length', 4] },
    },
    dims: { batch: 2, length: 5 },
    build: ({ q, k, v }) => causalAttention(q, k, v, 0.5),
  },
  {
    name: 'rotary at positions of each row',
    inputs: { a: { shape: ['batch', 2, 'length', 6] }, at: { shape: ['batch', 'length'], below: 9 } },
    dims: batched,
    build: ({ a, at }) => rotary(a, { maxLength: 9, frequencies: [1, 0.2, 0.05], positions: at }),
  },
  {
    name: 'following',
    inputs: { at: { shape: ['batch'], below: 9 }, a: { shape: ['batch', 'length'] } },
    dims: batched,
    build: ({ at, a }) => elementwise.add(a, gatherColumn(following(at, 'length'))),
    noGradient: 'counts',
  },
  ...[2, 6].flatMap((heads) =>
    [1, 3].map(
      (length): Case => ({
        name: `cachedAttention, ${heads} heads of 2 groups, ${length} new`,
        inputs: {
          q: { shape: ['batch', heads, 'length', 4] },
          k: { shape: ['batch', 2, 'length', 4] },
          v: { shape: ['batch', 2, 'length', 4] },
          keys: { shape: ['batch', 2, 'past', 4] },
          values: { shape: ['batch', 2, 'past', 4] },
          // Of 7: most rows have room left, some have nothing yet.
          lengths: { shape: ['batch'], below: 8 },
        },
        dims: { batch: 5, length, past: 7 },
        build: ({ q, k, v, keys, values, lengths }) => cachedAttention(q, k, v, { keys, values, lengths }, 0.5),
        noGradient: 'decodes only',
      }),
    ),
  ),
  {
    name: 'argmax',
    inputs: { a: { shape: ['batch', 67] } },
    dims: { batch: 9 },
    build: ({ a }) => argmax(a),
    noGradient: 'decodes only',
  },
  ...[1, 3].map(
    (chunks): Case => ({
      name: `tokenNll, ${chunks} chunk${chunks > 1 ? 's' : ''}`,
      inputs: { h: { shape: ['labels', 4] }, w: { shape: [7, 4] }, t: { shape: ['labels'], below: 7 } },
      dims: { labels: 6 },
      build: ({ h, w, t }) => tokenNll(h, w, t, chunks),
      noGradient: 'scores only: the loss of training is weightedNll',
    }),
  ),
  ...[1, 3].map(
    (chunks): Case => ({
      name: `tokenScores, confidence, ${chunks} chunk${chunks > 1 ? 's' : ''}`,
      inputs: { h: { shape: ['labels', 4] }, w: { shape: [7, 4] }, t: { shape: ['labels'], below: 7 } },
      dims: { labels: 6 },
      build: ({ h, w, t }) => tokenScores(h, w, t, chunks).confidence,
      noGradient: 'scores only: the loss of training is weightedNll',
    }),
  ),
  ...[1, 3].map(
    (chunks): Case => ({
      name: `weightedNll, ${chunks} chunk${chunks > 1 ? 's' : ''}`,
      inputs: { h: { shape: [6, 4] }, w: { shape: [7, 4] }, t: { shape: [6], below: 7 } },
      build: ({ h, w, t }) => weightedNll(h, w, t, constant(Float32Array.of(0.5, 0, 1, 0.25, 2, 0.125), [6]), chunks),
    }),
  ),
]
