/** A language model's own hidden states as embeddings of token rows. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { compile, type Device } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { LanguageModel } from '../models/model.ts'
import { TOKEN_MASK } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { frozenFeeds, paddingFor } from '../training/scorer.ts'
import { planTextBatches } from './batches.ts'
import type { EmbedOptions } from './embedder.ts'
import { maybeBrokenRow, normaliseRows, pool } from './pooling.ts'

export interface HiddenStatesOptions {
  model: LanguageModel
  weights: TensorMap
  device: Device
  /** Rows are cut to this many tokens. */
  maxLength: number
  /** Scale vectors to length 1. Default true. */
  normalise?: boolean
  /** Tokens of a batch, padding included. Default 4,096. */
  tokensPerBatch?: number
}

export interface HiddenStates extends AsyncDisposable {
  /** d, the model's hidden size. */
  readonly dimensions: number
  /**
   * Vectors of the rows `which`, in their order, row-major [which.length, d]; a row may be asked for twice.
   *
   * @throws {WinnowError} `bad-embedding` where a vector is not finite; `out-of-memory`, `device-lost`; the signal's own reason.
   */
  embed(rows: TokenRows, which: Uint32Array, options?: EmbedOptions): Promise<Float32Array>
}

/**
 * Compiles a model for embedding. The vector of a row of L tokens (cut to `maxLength`) is
 *
 *     v = sum_i i h_i / sum_i i,  i = 1..L,  then v / |v|
 *
 * over its final hidden states h_i, after the last norm (Muennighoff 2022, SGPT; for data selection in RDS+, Ivison et al. 2025): in a causal model the later tokens have seen more of the row. All tokens count, whether they carry loss or not. A row without
 * tokens gets the zero vector. Works for every family, since it reads only the graph's `hidden`.
 *
 * Batches hold rows of like length and depend on the rows asked for alone; on cpu the same call gives the same bits with any number of threads
 * (docs/decisions/0008-same-bits.md). Sums over tokens are in float64. Cost: one forward pass, 2 P FLOPs a token, without the
 * output layer. Memory: the weights, and what one batch needs.
 *
 * @throws {WinnowError} `bad-option` where `maxLength` is none or more than the model has positions for.
 */
export async function openHiddenStates(options: HiddenStatesOptions): Promise<HiddenStates> {
  const { model, weights, device, maxLength, normalise = true, tokensPerBatch = 4096 } = options
  if (!Number.isSafeInteger(maxLength) || maxLength < 1 || maxLength > model.maxLength)
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: `${maxLength} tokens are no length that the model can read`,
      path: 'maxLength',
      expected: `a whole number from 1 to ${model.maxLength}`,
    })
  const { hidden } = model.graph({ maxLength })
  const executable = await compile({ hidden }, device)
  const frozen = await frozenFeeds(model, weights, device)
  // The output layer, where it is not tied, is no input of this graph.
  const fixed = Object.fromEntries(
    executable.inputs.flatMap((name) => (name in frozen.tensors ? [[name, frozen.tensors[name]]] : [])),
  )
  const { least } = paddingFor(model, 1)
  const d = model.hiddenSize
  let open = true

  const vectorsOf = async (rows: readonly Uint32Array[], length: number): Promise<Float64Array> => {
    const tokens = new Int32Array(Math.max(rows.length, Math.ceil(least / length)) * length)
    rows.forEach((row, i) => {
      for (let j = 0; j < Math.min(row.length, length); j++) tokens[i * length + j] = row[j] & TOKEN_MASK
    })
    const batch = new device.ort.Tensor('int32', tokens, [tokens.length / length, length]) as OrtTensor
    const states = (await executable.run({ ...fixed, tokens: batch })).hidden.data as Float32Array
    const counts = rows.map((row) => Math.min(row.length, length))
    const vectors = pool('weighted-mean', { states, length, dimensions: d, tokens: counts })
    return normalise ? normaliseRows(vectors, d) : vectors
  }

  return {
    dimensions: d,
    async embed(rows, which, { signal, onProgress } = {}) {
      if (!open) throw new Error('the hidden states are closed')
      const lengths = Uint32Array.from(which, (row) => Math.min(rows.lengths[row], maxLength))
      const vectors = new Float32Array(which.length * d)
      let done = lengths.reduce((empty, length) => empty + (length === 0 ? 1 : 0), 0)
      for (const { rows: places, length } of planTextBatches(lengths, { tokensPerBatch }).batches) {
        signal?.throwIfAborted()
        const read = Array.from(places, (place) => rows.read(which[place]).subarray(0, maxLength))
        const found = await vectorsOf(read, length)
        const broken = maybeBrokenRow(found, d)
        if (broken !== undefined) throw notFinite(which[places[broken]])
        places.forEach((place, i) => {
          vectors.set(found.subarray(i * d, (i + 1) * d), place * d)
        })
        done += places.length
        onProgress?.(done)
      }
      return vectors
    },
    async [Symbol.asyncDispose]() {
      if (!open) return
      open = false
      await frozen.release()
      await executable.release()
    },
  }
}

const notFinite = (row: number) =>
  new WinnowError('failure', {
    code: 'bad-embedding',
    message: "the model's hidden states are not finite",
    found: `NaN or an infinity for row ${row}`,
    hint: 'Use float32, or check that its training has not diverged.',
  })
