/** Gradients of single examples: what one row alone would move a model by. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { compile, type Device } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Parameter } from '../models/parameters.ts'
import { collate } from './collate.ts'
import { type GraphChoices, gradientGraph, trainedParameters } from './graphs.ts'
import type { TokenRows } from './rows.ts'
import { batchFeeds, frozenFeeds, paddingFor } from './scorer.ts'

export interface ExampleGradientOptions extends GraphChoices {
  model: LanguageModel
  device: Device
  /** What is differentiated by: the model's parameters, or with `lora` the adapters'. */
  weights: TensorMap
  /** The model's parameters, where the gradient is by adapters beside them. */
  frozen?: TensorMap
}

export interface ExampleGradients {
  /** P, numbers in a gradient: all parameters that are trained, one after the other in the model's order, row-major. */
  readonly size: number
  /**
   * Gradient of the mean NLL of the row's trained tokens (cut at `maxLength` tokens), into `out` [P], nats a token over the parameter's unit; the
   * mean NLL itself comes back. A row without a trained token in the window: NaN, and zeros.
   */
  gradient(rows: TokenRows, row: number, maxLength: number, out: Float32Array): Promise<number>
  release(): Promise<void>
}

/**
 * Up to this many parameters a row is computed on one thread, whose sums depend on nothing, and so without the padding that makes several threads agree
 * (`paddingFor`): of a nano of 0.95 million parameters a row of 200 tokens then takes 11 ms of a processor, not 56.
 */
const SMALL = 1e7

/**
 * Compiles the graph of training (loss and gradients) for batches of one row over these weights. The gradient of a batch's mean is the mean of
 * these, weighted by each row's labels.
 *
 * Float32 as in training. On cpu the same bits whatever the threads, and memory of 4 bytes a parameter beside weights and activations. A row
 * costs 6 P FLOPs a token.
 *
 * @throws {WinnowError} `out-of-memory`, `device-lost`.
 */
export async function compileExampleGradients(options: ExampleGradientOptions): Promise<ExampleGradients> {
  const { model, weights, frozen, lora, chunks = 1 } = options
  const parameters = trainedParameters(model, lora)
  const small = sizeOf(model.parameters) <= SMALL
  const device = small ? { ...options.device, threads: 1 } : options.device
  const { ort } = device
  const executable = await compile(gradientGraph(model, options), device)
  const fixed = lora === undefined ? undefined : await frozenFeeds(model, frozen ?? new Map(), device)
  const trained = Object.fromEntries(
    parameters.map(({ name, shape }) => {
      const tensor = weights.get(name)
      if (tensor === undefined) throw new Error(`weights: '${name}' is missing`)
      return [name, new ort.Tensor('float32', tensor.data, shape) as OrtTensor]
    }),
  )
  const padding = small ? { chunks } : paddingFor(model, chunks)
  const size = sizeOf(parameters)
  return {
    size,
    async gradient(rows, row, maxLength, out) {
      const length = Math.max(1, Math.min(rows.lengths[row], maxLength))
      const batch = collate(rows, { rows: Uint32Array.of(row), length }, maxLength, padding)
      const [labels] = batch.labelsPerRow
      if (labels === 0) {
        out.fill(0, 0, size)
        return Number.NaN
      }
      const labelWeights = new Float32Array(batch.positions.length).fill(1 / labels, 0, labels)
      const results = await executable.run({
        ...batchFeeds(batch, ort),
        ...fixed?.tensors,
        ...trained,
        labelWeights: new ort.Tensor('float32', labelWeights, [labelWeights.length]) as OrtTensor,
      })
      let at = 0
      for (const { name } of parameters) {
        const data = results[`gradient/${name}`].data as Float32Array
        out.set(data, at)
        at += data.length
      }
      return (results.loss.data as Float32Array)[0]
    },
    async release() {
      await fixed?.release()
      await executable.release()
    },
  }
}

const sizeOf = (parameters: readonly Parameter[]): number =>
  parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)
