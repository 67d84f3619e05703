/** A language model compiled to train and to score on one device, with its state. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { compile, type Device, type Executable } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { LanguageModel } from '../models/model.ts'
import { initialParameters, type Parameter } from '../models/parameters.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { type AdamWOptions, adamwScalars } from './adamw.ts'
import type { Collated, Padding } from './collate.ts'
import { deviceOptimiser } from './device-optimiser.ts'
import { type GraphChoices, gradientGraph, scoringGraph, trainedParameters } from './graphs.ts'
import { type HostOptions, hostOptimiser } from './host-optimiser.ts'
import { batchFeeds, frozenFeeds, paddingFor, type RowScorer, rowScores } from './scorer.ts'
import type { TrainingState } from './state.ts'

export interface TrainerOptions extends GraphChoices, Pick<HostOptions, 'worthThreads'> {
  model: LanguageModel
  device: Device
  optimiser: AdamWOptions
  /** The model's weights, where adapters are trained beside them (`lora`). */
  frozen?: TensorMap
  /** Threads for the optimiser's step. Default: none but this one. */
  parallel?: Parallel
}

export interface Trainer {
  /** What is trained: the model's parameters, or the adapters beside them. */
  readonly parameters: readonly Parameter[]
  /** What training batches must be padded to. */
  readonly padding: Required<Padding>
  /** Scores with the parameters as they stand. */
  readonly scorer: RowScorer
  /**
   * One optimiser step on a batch, or on the parts of one, whose gradients are added up; mean NLL over all its labels, and the gradient
   * norm before clipping.
   */
  train(batch: Collated | readonly Collated[], rate: number): Promise<{ loss: number; norm: number }>
  /** Everything that training changes. On cpu it is the live state, not a copy: it holds until the next `train` or `load`. */
  state(): Promise<TrainingState>
  load(state: TrainingState): void
  /** FLOPs of matrix products for one batch. */
  flops(batch: { rows: number; length: number; labels: number }): { train: number; score: number }
  release(): Promise<void>
}

/** A state to start from: these parameters, zero moments. */
export function startingState(parameters: TensorMap): TrainingState {
  return { step: 0, parameters, first: zeros(parameters), second: zeros(parameters) }
}

/** A state to start from: initial values of these parameters, zero moments. */
export function initialState({ parameters }: { parameters: readonly Parameter[] }, seed: number): TrainingState {
  return startingState(initialParameters(parameters, seed))
}

const zeros = (like: TensorMap): TensorMap =>
  new Map([...like].map(([name, { shape, data }]) => [name, { shape, data: new Float32Array(data.length) }]))

/** Loss scale of half-precision training: where it starts, and how many clean steps double it. */
const LOSS_SCALE = 2 ** 12
const STEPS_TO_DOUBLE = 200

/** Compiles the graphs. The state starts undefined: call `load`. */
export async function compileTrainer(options: TrainerOptions): Promise<Trainer> {
  const { model, device, optimiser: adamw, lora, chunks = 1, scoringChunks = chunks } = options
  const { ort } = device
  const parameters = trainedParameters(model, lora)
  const onHost = device.name !== 'webgpu'
  const optimiser = onHost ? await hostOptimiser(parameters, ort, options) : await deviceOptimiser(parameters, device)
  const kept = { keep: parameters.map(({ name }) => `gradient/${name}`) }
  const training = await compile(gradientGraph(model, options, { rows: onHost }), device, kept)
  const scoring = await compile(scoringGraph(model, options), device)
  // Most runs never cut a batch into parts.
  let accumulating: Executable | undefined
  const frozen = lora === undefined ? undefined : await frozenFeeds(model, options.frozen ?? new Map(), device)
  const half = device.precision === 'float16'
  let [step, scale, clean] = [0, half ? LOSS_SCALE : 1, 0]

  const weights = () => ({ ...frozen?.tensors, ...optimiser.parameters() })
  const pass = async (part: Collated, first: boolean, labels: number) => {
    if (!first)
      accumulating ??= await compile(gradientGraph(model, options, { rows: onHost, accumulate: true }), device, kept)
    const executable = first ? training : (accumulating as Executable)
    const used = part.labelsPerRow.reduce((a, b) => a + b, 0)
    const labelWeights = new Float32Array(part.positions.length).fill(scale / labels, 0, used)
    const sums = first
      ? {}
      : Object.fromEntries(
          Object.entries(optimiser.gradients() ?? {}).map(([name, tensor]) => [
            name.replace('gradient/', 'sum/'),
            tensor,
          ]),
        )
    const feeds = {
      ...batchFeeds(part, ort),
      ...weights(),
      ...sums,
      labelWeights: new ort.Tensor('float32', labelWeights, [labelWeights.length]) as OrtTensor,
    }
    const results = await executable.run(feeds, onHost ? optimiser.gradients() : undefined)
    optimiser.keep(results, { tokens: part.tokens, first })
    return (results.loss.data as Float32Array)[0]
  }

  return {
    parameters,
    padding: paddingFor(model, chunks),
    scorer: {
      padding: paddingFor(model, scoringChunks),
      async score(batch) {
        return rowScores(await scoring.run({ ...batchFeeds(batch, ort), ...weights() }), batch)
      },
    },
    async train(batch, rate) {
      const parts = Array.isArray(batch) ? (batch as readonly Collated[]) : [batch as Collated]
      const labels = parts.reduce((sum, { labelsPerRow }) => labelsPerRow.reduce((a, b) => a + b, sum), 0)
      for (;;) {
        let loss = 0
        for (const [i, part] of parts.entries()) loss += (await pass(part, i === 0, labels)) / scale
        const norm = (await optimiser.norm()) / scale
        if (Number.isFinite(loss) && Number.isFinite(norm)) {
          step++
          await optimiser.update(adamwScalars({ step, rate, norm: norm * scale, lossScale: scale }, adamw))
          if (half && ++clean % STEPS_TO_DOUBLE === 0) scale = Math.min(2 * scale, 2 ** 24)
          return { loss, norm }
        }
        // Half precision overflows where float32 does not: the same step again, with smaller numbers.
        if (!Number.isFinite(loss) || scale <= 1) throw diverged(step + 1, loss, norm)
        scale /= 2
        clean = 0
      }
    },
    state: async () => ({ step, ...(await optimiser.read()) }),
    load(state) {
      step = state.step
      optimiser.write(state)
    },
    flops: ({ rows, length, labels }) => {
      const dims = new Map([
        ['batch', rows],
        ['length', length],
        ['labels', labels],
      ])
      return { train: training.flops(dims), score: scoring.flops(dims) }
    },
    async release() {
      await frozen?.release()
      await optimiser.release()
      for (const executable of [training, scoring, accumulating]) await executable?.release()
    },
  }
}

function diverged(step: number, loss: number, norm: number): WinnowError {
  return new WinnowError('failure', {
    code: 'diverged',
    message: `training diverged at step ${step}`,
    found: `loss ${loss}, gradient norm ${norm}`,
    expected: 'finite numbers',
    hint: 'A smaller --learning-rate trains more slowly and more safely. The last recorded checkpoint is kept.',
  })
}
