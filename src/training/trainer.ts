/** A language model compiled to train and to score on one device, with its state. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { gradients } from '../engine/gradient.ts'
import { multiply } from '../engine/operators/elementwise.ts'
import { tokenNll } from '../engine/operators/loss.ts'
import { sum } from '../engine/operators/reduce.ts'
import { compile, type Device } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { input, type Tensor } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { LanguageModel } from '../models/model.ts'
import { initialParameters, type Parameter } from '../models/parameters.ts'
import { type AdamWOptions, adamw, adamwScalars } from './adamw.ts'
import type { Collated, Padding } from './collate.ts'
import type { TrainingState } from './state.ts'

export interface TrainerOptions {
  model: LanguageModel
  device: Device
  optimiser: AdamWOptions
  /** Label positions are cut into this many chunks, so that the vocabulary does not set the memory. Default 1. */
  chunks?: number
}

export interface Trainer {
  readonly parameters: readonly Parameter[]
  /** What batches must be padded to. */
  readonly padding: Required<Padding>
  /** One optimiser step; mean NLL over the batch's labels, and the gradient norm before clipping. */
  train(batch: Collated, rate: number): Promise<{ loss: number; norm: number }>
  /** Mean NLL of each row of the batch; NaN where it has no label. */
  score(batch: Collated): Promise<Float32Array>
  /** A copy of everything that training changes. */
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

/** A state to start from: the model's own initial parameters, zero moments. */
export function initialState({ parameters }: LanguageModel, seed: number): TrainingState {
  return startingState(initialParameters(parameters, seed))
}

const zeros = (like: TensorMap): TensorMap =>
  new Map([...like].map(([name, { shape, data }]) => [name, { shape, data: new Float32Array(data.length) }]))

const kinds = ['parameters', 'first', 'second'] as const
const stateName = (kind: (typeof kinds)[number], name: string) => `${kind}/${name}`
const successor = (name: string) => `next/${name}`
const copied = (name: string) => `copy/${name}`

/** Compiles the two graphs. The state starts at zero: call `load`. */
export async function compileTrainer(options: TrainerOptions): Promise<Trainer> {
  const { model, device, optimiser, chunks = 1 } = options
  const { ort } = device
  const { parameters } = model
  const stateNames = kinds.flatMap((kind) => parameters.map(({ name }) => stateName(kind, name)))
  const graph = trainingGraph(model, optimiser, chunks)
  const training = await compile(graph, device, { keep: stateNames.map(successor) })
  const scoring = await compile({ nll: scoringGraph(model, chunks) }, device)

  // The state stays where it is computed. On cpu there are two copies: each step reads one and writes the other, so nothing is
  // copied and nothing is overwritten before its last reader is done. On webgpu each step's outputs are the next one's inputs.
  const allocate = (): Record<string, OrtTensor> =>
    Object.fromEntries(
      kinds.flatMap((kind) =>
        parameters.map(({ name, shape }) => [
          stateName(kind, name),
          new ort.Tensor('float32', new Float32Array(shape.reduce((a, b) => a * b, 1)), shape) as OrtTensor,
        ]),
      ),
    )
  const inPlace = device.name === 'cpu'
  // ONNX Runtime's Node binding cannot read a device buffer; a graph of identities can.
  const download = inPlace ? undefined : await compile(copyGraph(parameters), device)
  let current = allocate()
  let next = inPlace ? allocate() : {}
  let step = 0
  const drop = (tensors: Record<string, OrtTensor>) => {
    for (const tensor of Object.values(tensors)) if (tensor.location === 'gpu-buffer') tensor.dispose()
  }

  const scalars = (values: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, new ort.Tensor('float32', Float32Array.of(value), [])]),
    )
  const weights = () => Object.fromEntries(parameters.map(({ name }) => [name, current[stateName('parameters', name)]]))
  const feeds = (batch: Collated) => ({
    tokens: new ort.Tensor('int32', batch.tokens, batch.shape),
    positions: new ort.Tensor('int32', batch.positions, [batch.positions.length]),
    targets: new ort.Tensor('int32', batch.targets, [batch.targets.length]),
  })

  return {
    parameters,
    padding: { chunks, least: model.widest },
    async train(batch, rate) {
      step++
      const labels = batch.labelsPerRow.reduce((a, b) => a + b, 0)
      const labelWeights = new Float32Array(batch.positions.length).fill(1 / labels, 0, labels)
      const state = Object.fromEntries(
        kinds
          .slice(1)
          .flatMap((kind) => parameters.map(({ name }) => [stateName(kind, name), current[stateName(kind, name)]])),
      )
      const results = await training.run(
        {
          ...feeds(batch),
          ...weights(),
          ...state,
          ...scalars(adamwScalars(step, rate, optimiser)),
          labelWeights: new ort.Tensor('float32', labelWeights, [labelWeights.length]),
        },
        inPlace ? Object.fromEntries(stateNames.map((name) => [successor(name), next[name]])) : undefined,
      )
      const before = current
      current = inPlace ? next : Object.fromEntries(stateNames.map((name) => [name, results[successor(name)]]))
      next = before
      drop(before)
      const loss = (results.loss.data as Float32Array)[0]
      const norm = (results.norm.data as Float32Array)[0]
      if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
        throw new WinnowError('failure', {
          code: 'diverged',
          message: `training diverged at step ${step}`,
          found: `loss ${loss}, gradient norm ${norm}`,
          expected: 'finite numbers',
          hint: 'Another --seed may not; the last recorded checkpoint is kept.',
        })
      }
      return { loss, norm }
    },
    async score(batch) {
      const { nll } = await scoring.run({ ...feeds(batch), ...weights() })
      return rowMeans(nll.data as Float32Array, batch.labelsPerRow)
    },
    async state() {
      const values = download ? await download.run(current) : current
      const copy = (kind: (typeof kinds)[number]): TensorMap =>
        new Map(
          parameters.map(({ name, shape }) => {
            const { data } = values[download ? copied(stateName(kind, name)) : stateName(kind, name)]
            return [name, { shape, data: (data as Float32Array).slice() }]
          }),
        )
      return { step, parameters: copy('parameters'), first: copy('first'), second: copy('second') }
    },
    load(state) {
      drop(current)
      if (!inPlace) current = allocate()
      step = state.step
      for (const kind of kinds) {
        for (const { name } of parameters) {
          const tensor = state[kind].get(name)
          if (tensor === undefined) throw new Error(`state: ${kind} of '${name}' is missing`)
          ;(current[stateName(kind, name)].data as Float32Array).set(tensor.data)
        }
      }
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
      drop(current)
      await training.release()
      await scoring.release()
      await download?.release()
    },
  }
}

/** Mean NLL of each row from the NLLs of all labels, row by row, summed in float64. */
function rowMeans(nll: Float32Array, labelsPerRow: Uint32Array): Float32Array {
  let at = 0
  return Float32Array.from(labelsPerRow, (labels) => {
    let total = 0
    for (const end = at + labels; at < end; at++) total += nll[at]
    return labels === 0 ? Number.NaN : total / labels
  })
}

function labelNll(model: LanguageModel, chunks: number) {
  const graph = model.graph({ positions: input('positions', ['labels'], 'int32') })
  return { graph, nll: tokenNll(graph.hidden, graph.output, input('targets', ['labels'], 'int32'), chunks) }
}

/** NLL of every label, [labels]. */
function scoringGraph(model: LanguageModel, chunks: number): Tensor {
  return labelNll(model, chunks).nll
}

/** One training step: loss, gradient norm and the next state. */
function trainingGraph(model: LanguageModel, optimiser: AdamWOptions, chunks: number): Record<string, Tensor> {
  const { graph, nll } = labelNll(model, chunks)
  const { parameters } = model
  const loss = sum(multiply(nll, input('labelWeights', ['labels'])))
  const values = parameters.map(({ name }) => graph.parameters.get(name) as Tensor)
  const moments = (kind: 'first' | 'second') => parameters.map(({ name, shape }) => input(stateName(kind, name), shape))
  const stepped = adamw(
    parameters.map(({ decay }, i) => ({ value: values[i], decay })),
    gradients(loss, values),
    { first: moments('first'), second: moments('second') },
    optimiser,
  )
  const outputs: Record<string, Tensor> = { loss, norm: stepped.norm }
  for (const kind of kinds) {
    parameters.forEach(({ name }, i) => {
      outputs[successor(stateName(kind, name))] = stepped[kind][i]
    })
  }
  return outputs
}

/** The whole state, unchanged, as outputs. */
function copyGraph(parameters: readonly Parameter[]): Record<string, Tensor> {
  return Object.fromEntries(
    kinds.flatMap((kind) =>
      parameters.map(({ name, shape }) => [copied(stateName(kind, name)), input(stateName(kind, name), shape)]),
    ),
  )
}
