/** A language model compiled to read tokens behind those that are cached, and to say what comes next. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { argmax } from '../engine/operators/argmax.ts'
import { argmaxProduct, FEW_ROWS, largestNorm, screenOf } from '../engine/operators/argmax-product.ts'
import { matmul } from '../engine/operators/matmul.ts'
import { compile, type Device, type Executable } from '../engine/session.ts'
import { input, type Tensor, type TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { Cache } from '../models/heads.ts'
import type { LanguageModel } from '../models/model.ts'
import { cacheSides, type Entries } from './key-value-cache.ts'

export interface Reading {
  /** Token ids [rows, length], row-major. */
  tokens: Int32Array
  rows: number
  length: number
  /** Tokens that each row has in the cache, [rows]. */
  lengths: Int32Array
  /** Inputs of the graph with the rows' cached keys and values. */
  past: { name: string; data: Float32Array; dims: number[] }[]
}

export interface Decoder {
  readonly layers: Cache['layers']
  /** The likeliest next token of each row, the lowest id of equal ones. */
  greedy(reading: Reading): Promise<{ ids: Int32Array; entries: Entries }>
  /** Logits of each row's next token, [rows, vocabulary]. */
  logits(reading: Reading): Promise<{ logits: Float32Array; entries: Entries }>
  release(): Promise<void>
}

/** Outputs of the decoding graph: `next` or `logits` of the asked positions, `hidden` there, and `present/…` for the cache. */
export function decodingGraph(
  model: LanguageModel,
  maxLength: number,
  choose: (hidden: Tensor, output: Tensor) => Record<string, Tensor> = both,
): { outputs: Record<string, Tensor>; cache: Cache } {
  const { hidden, output, cache } = model.graph({
    positions: input('positions', ['labels'], 'int32'),
    maxLength,
    cached: true,
  })
  if (cache === undefined) throw new Error(`decodingGraph: '${model.family}' has no cached graph`)
  const present = cacheSides(cache.layers).map(({ output }, i) => {
    const layer = cache.layers[Math.floor(i / 2)]
    return [output, i % 2 === 0 ? layer.keys : layer.values] as const
  })
  return { outputs: { ...choose(hidden, output), hidden, ...Object.fromEntries(present) }, cache }
}

const logitsOf = (hidden: Tensor, output: Tensor) => ({ logits: matmul(hidden, output, { transposeB: true }) })

/** ONNX Runtime computes all outputs of a graph, so that the likeliest tokens cost little beside logits that are there. */
function both(hidden: Tensor, output: Tensor): Record<string, Tensor> {
  const { logits } = logitsOf(hidden, output)
  return { logits, next: argmax(logits) }
}

/** Vocabularies from which on the likeliest token is looked for in 8 bits first: reading the matrix is then much of a step. */
const LARGE_VOCABULARY = 8192

/**
 * Compiles the graph with the weights in it, arranged for products once: beside the weights that are given 4 bytes a parameter, and 4 more for those of an
 * output embedding that is the input embedding too. Both a prompt and the single tokens after it run on this one graph, `rows` texts at most.
 *
 * On cpu a large vocabulary has two graphs, each compiled when it is first asked: one for logits, and one for greedy tokens (`argmaxProduct`). For 32 rows
 * or fewer the latter has the output embedding as it is and in 8 bits, 5 bytes a number, tied or not; for more as it is and
 * arranged, 8 bytes.
 *
 * @throws {WinnowError} as `compile`; `not-finite`, when greedy tokens are first asked for, of an output embedding that is not.
 */
export async function compileDecoder(
  model: LanguageModel,
  weights: TensorMap,
  device: Device,
  maxLength: number,
  rows: number,
): Promise<Decoder> {
  const compileFor = (choose: typeof both) =>
    compile(decodingGraph(model, maxLength, choose).outputs, device, { frozen: weights })
  const { cache } = decodingGraph(model, maxLength)
  const present = cacheSides(cache.layers).map(({ output }) => output)
  const large = device.name === 'cpu' && model.vocabularySize >= LARGE_VOCABULARY
  const shared = large ? undefined : await compileFor(both)
  const greedily = once(
    () => shared ?? compileFor((hidden, output) => ({ next: largest(hidden, output, weights, rows) })),
  )
  const fully = once(() => shared ?? compileFor(logitsOf))
  const run = async (executable: Executable, reading: Reading, wanted: readonly string[]) => {
    const results = await executable.run(feedsOf(reading, device), undefined, [...wanted, ...present])
    const entries = Object.fromEntries(present.map((name) => [name, results[name].data as Float32Array]))
    return { results, entries }
  }
  return {
    layers: cache.layers,
    async greedy(reading) {
      const { results, entries } = await run(await greedily.value(), reading, ['next', 'hidden'])
      checkFinite(results.hidden.data as Float32Array)
      return { ids: results.next.data as Int32Array, entries }
    },
    async logits(reading) {
      const { results, entries } = await run(await fully.value(), reading, ['logits'])
      const logits = results.logits.data as Float32Array
      checkFinite(logits)
      return { logits, entries }
    },
    async release() {
      const compiled = new Set([shared, ...(await Promise.all([greedily.made(), fully.made()]))])
      await Promise.all([...compiled].map((executable) => executable?.release()))
    },
  }
}

function largest(hidden: Tensor, output: Tensor, weights: TensorMap, rows: number): Tensor {
  const matrix = weights.get(output.node.name as string)
  if (matrix === undefined) throw new Error(`compileDecoder: the weights have no '${output.node.name}'`)
  const [data, d] = [matrix.data as Float32Array, matrix.shape[1]]
  const norm = largestNorm(data, d)
  // Of a matrix of zeros every product may be the largest.
  if (norm === 0) return argmax(matmul(hidden, output, { transposeB: true }))
  return argmaxProduct(hidden, output, {
    norm,
    ...(rows <= FEW_ROWS && { screen: () => screenOf(data, d, norm) }),
  })
}

/** What `make` gives, made when it is first asked for, and again where that failed. */
function once<T>(make: () => T | Promise<T>) {
  let made: Promise<T> | undefined
  return {
    async value(): Promise<T> {
      made ??= Promise.resolve().then(make)
      const own = made
      try {
        return await own
      } catch (error) {
        if (made === own) made = undefined
        throw error
      }
    },
    made: async () => made?.catch(() => undefined),
  }
}

function feedsOf({ tokens, rows, length, lengths, past }: Reading, { ort }: Device): Record<string, OrtTensor> {
  const last = Int32Array.from({ length: rows }, (_, row) => (row + 1) * length - 1)
  const integers = (data: Int32Array, dims: number[]) => new ort.Tensor('int32', data, dims) as OrtTensor
  const feeds: Record<string, OrtTensor> = {
    tokens: integers(tokens, [rows, length]),
    positions: integers(last, [rows]),
    lengths: integers(lengths, [rows]),
  }
  for (const { name, data, dims } of past) feeds[name] = new ort.Tensor('float32', data, dims) as OrtTensor
  return feeds
}

function checkFinite(values: Float32Array): void {
  // x * 0 is 0 for finite numbers and NaN for the others: one sum, no branch.
  let zero = 0
  for (let i = 0; i < values.length; i++) zero += values[i] * 0
  if (zero === 0) return
  throw new WinnowError('failure', {
    code: 'not-finite',
    message: 'the model gives a next token no finite logits',
    found: String(values.find((value) => !Number.isFinite(value))),
    expected: 'finite numbers',
    hint: 'The weights are damaged, or training diverged before they were saved.',
  })
}
