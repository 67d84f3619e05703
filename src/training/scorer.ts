/** A language model compiled to score only: no gradients, no moments, nothing that changes. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { compile, type Device, type OrtApi } from '../engine/session.ts'
import { input, type TensorMap } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Collated, Padding } from './collate.ts'
import { type GraphChoices, scoringGraph } from './graphs.ts'
import { loraParameters } from './lora.ts'

export interface ScorerOptions extends Pick<GraphChoices, 'scoringChunks' | 'maxLength' | 'lora'> {
  model: LanguageModel
  /** Of the model and, with `lora`, of its adapters. */
  weights: TensorMap
  device: Device
}

/** What a model makes of each row: means over its labels, NaN where it has none. */
export interface RowScores {
  /** NLL, nats. */
  nll: Float32Array
  /** Largest softmax probability, in (0, 1]. */
  confidence: Float32Array
}

/** What scores batches: a model that only scores, or one in training. */
export interface RowScorer {
  /** What batches must be padded to. */
  readonly padding: Required<Padding>
  /** Of each row of the batch, [rows]. */
  score(batch: Collated): Promise<RowScores>
}

export interface Scorer extends RowScorer {
  /** NLL of each label, row by row, nats; the labels that pad the batch are left out. */
  labelNll(batch: Collated): Promise<Float32Array>
  flops(batch: { rows: number; length: number; labels: number }): number
  release(): Promise<void>
}

/** Compiles the scoring graph over these weights: 4 bytes a parameter on cpu, and what one batch needs. */
export async function compileScorer({ model, weights, device, ...choices }: ScorerOptions): Promise<Scorer> {
  const { ort } = device
  const executable = await compile(scoringGraph(model, choices), device)
  const adapters = choices.lora === undefined ? [] : loraParameters(model, choices.lora)
  const frozen = await frozenFeeds({ parameters: [...model.parameters, ...adapters] }, weights, device)
  const run = (batch: Collated) => executable.run({ ...batchFeeds(batch, ort), ...frozen.tensors })
  return {
    padding: paddingFor(model, choices.scoringChunks ?? 1),
    labelNll: async (batch) =>
      ((await run(batch)).nll.data as Float32Array).subarray(
        0,
        batch.labelsPerRow.reduce((a, b) => a + b, 0),
      ),
    score: async (batch) => rowScores(await run(batch), batch),
    flops: ({ rows, length, labels }) =>
      executable.flops(
        new Map([
          ['batch', rows],
          ['length', length],
          ['labels', labels],
        ]),
      ),
    async release() {
      await frozen.release()
      await executable.release()
    },
  }
}

/**
 * Matrix products with fewer rows than columns are cut by columns among threads; ONNX Runtime then sums over longer stretches when a
 * thread's share is 64 columns or less, and the bits depend on the number of threads. With at least as many rows as columns they are cut
 * by rows, which changes no sum (docs/decisions/0008-same-bits.md). The 16 threads that sessions use at most (engine/session.ts) never
 * share more than 1,024 columns so finely, so only narrower matrices count.
 */
export const paddingFor = ({ columns }: LanguageModel, chunks: number): Required<Padding> => ({
  chunks,
  least: columns.findLast((count) => count <= MOST_COLUMNS) ?? 1,
})

const MOST_COLUMNS = 16 * 64

/** A batch as graph inputs. */
export const batchFeeds = (batch: Collated, ort: OrtApi): Record<string, OrtTensor> => ({
  tokens: new ort.Tensor('int32', batch.tokens, batch.shape) as OrtTensor,
  positions: new ort.Tensor('int32', batch.positions, [batch.positions.length]) as OrtTensor,
  targets: new ort.Tensor('int32', batch.targets, [batch.targets.length]) as OrtTensor,
})

export interface FrozenFeeds {
  tensors: Record<string, OrtTensor>
  /** Frees what lies on the device. Before its other sessions are released: with the last one goes the device. */
  release(): Promise<void>
}

/** Weights that do not change as graph inputs, carried to the device once. */
export async function frozenFeeds(
  { parameters }: Pick<LanguageModel, 'parameters'>,
  weights: TensorMap,
  device: Device,
): Promise<FrozenFeeds> {
  const tensors = Object.fromEntries(
    parameters.map(({ name, shape }) => {
      const tensor = weights.get(name)
      if (tensor === undefined) throw new Error(`weights: '${name}' is missing`)
      return [name, new device.ort.Tensor('float32', tensor.data, shape) as OrtTensor]
    }),
  )
  if (device.name !== 'webgpu') return { tensors, release: async () => {} }
  const copies = parameters.map(({ name, shape }) => [`copy/${name}`, input(name, shape)] as const)
  const upload = await compile(Object.fromEntries(copies), device, { keep: copies.map(([name]) => name) })
  const results = await upload.run(tensors)
  return {
    tensors: Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name.slice('copy/'.length), tensor])),
    async release() {
      // The buffers are this session's: freed after it they would end the process.
      for (const tensor of Object.values(results)) if (tensor.location === 'gpu-buffer') tensor.dispose()
      await upload.release()
    },
  }
}

/** What the scoring graph gave for a batch as means over the labels of each row. */
export const rowScores = (
  { nll, confidence }: Record<string, Pick<OrtTensor, 'data'>>,
  { labelsPerRow }: Collated,
): RowScores => ({
  nll: rowMeans(nll.data as Float32Array, labelsPerRow),
  confidence: rowMeans(confidence.data as Float32Array, labelsPerRow),
})

/** Mean over each row's labels, from the values of all labels, row by row, summed in float64. */
function rowMeans(values: Float32Array, labelsPerRow: Uint32Array): Float32Array {
  let at = 0
  return Float32Array.from(labelsPerRow, (labels) => {
    let total = 0
    for (const end = at + labels; at < end; at++) total += values[at]
    return labels === 0 ? Number.NaN : total / labels
  })
}
