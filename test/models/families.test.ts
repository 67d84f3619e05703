import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import { gatherRows } from '../../src/engine/operators/gather.ts'
import { broadcastTo } from '../../src/engine/operators/layout.ts'
import { tokenNll } from '../../src/engine/operators/loss.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { weightedNll } from '../../src/engine/operators/weighted-nll.ts'
import { compile, type Device } from '../../src/engine/session.ts'
import { constant, input, type Tensor } from '../../src/engine/tensor.ts'
import { llama } from '../../src/models/llama.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { countParameters, initialParameters } from '../../src/models/parameters.ts'
import { matchWeights } from '../../src/models/weights.ts'
import { cpu, devices } from '../engine/devices.ts'
import { collated, fixture, logitsOnly, storiesModel, storiesNll, unflatten, variants } from './fixtures.ts'

interface Arrays {
  [input: string]: { dtype: 'float32' | 'int32'; shape: number[]; data: Float32Array | Int32Array }
}

/** The reference batch and the weights, as inputs of a graph. */
function arraysOf(variant: string): Arrays {
  const { model, weights, reference } = fixture(variant)
  const batch = collated(unflatten(reference.get('ids')!), unflatten(reference.get('labels')!))
  const arrays: Arrays = {
    tokens: { dtype: 'int32', shape: batch.shape, data: batch.tokens },
    positions: { dtype: 'int32', shape: [batch.positions.length], data: batch.positions },
    targets: { dtype: 'int32', shape: [batch.targets.length], data: batch.targets },
  }
  for (const [name, tensor] of matchWeights(model, weights))
    arrays[name] = { dtype: 'float32', ...weights.get(tensor)! }
  return arrays
}

/** Logits of every position, and the gradient of each parameter of the mean NLL over `labels` labels. */
function outputsOf(model: LanguageModel, labels: number): Record<string, Tensor> {
  const graph = model.graph()
  const names = [...graph.parameters.keys()]
  const positions = input('positions', ['labels'], 'int32')
  const weights = broadcastTo(constant(Float32Array.of(1 / labels), [1]), ['labels'])
  const targets = input('targets', ['labels'], 'int32')
  const loss = weightedNll(gatherRows(graph.hidden, positions), graph.output, targets, weights)
  const found = gradients(
    loss,
    names.map((name) => graph.parameters.get(name) as Tensor),
  )
  const outputs: Record<string, Tensor> = { logits: matmul(graph.hidden, graph.output, { transposeB: true }) }
  names.forEach((name, i) => {
    outputs[`gradient.${name}`] = found[i]
  })
  return outputs
}

/** Largest difference relative to the reference's own largest magnitude. */
function relativeError(found: ArrayLike<number>, expected: readonly number[]): number {
  expect(found.length).toBe(expected.length)
  const scale = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  return expected.reduce((worst, x, i) => Math.max(worst, Math.abs(Number(found[i]) - x)), 0) / scale
}

function expectLogits(found: ArrayLike<number>, expected: readonly number[]) {
  expect(found.length).toBe(expected.length)
  expect(expected.reduce((worst, x, i) => Math.max(worst, Math.abs(x - found[i])), 0)).toBeLessThan(1e-4)
}

async function run(device: Device, outputs: Record<string, Tensor>, arrays: Arrays) {
  const executable = await compile(outputs, device)
  const feeds = executable.inputs.map((name) => {
    const { dtype, shape, data } = arrays[name]
    return [name, new device.ort.Tensor(dtype, data as Float32Array, shape) as OrtTensor]
  })
  const results = await executable.run(Object.fromEntries(feeds))
  await executable.release()
  return results
}

/** SwiftShader is slow: one variant there; every operator runs on it in test/engine. */
const onGpu = ['gpt-neox']
const runs = variants.flatMap((variant) =>
  (onGpu.includes(variant) ? devices : [cpu]).map((device) => ({ variant, device, name: device.name })),
)

describe('the models of transformers, random weights', () => {
  it.each(variants)('%s: the float64 oracle gives its logits and gradients', (variant) => {
    const { model, reference } = fixture(variant)
    const arrays = arraysOf(variant)
    const feeds = Object.entries(arrays).map(([name, { shape, data }]) => [
      name,
      { shape, data: Float64Array.from(data) },
    ])
    const outputs = outputsOf(model, arrays.targets.data.length)
    const found = interpret(outputs, Object.fromEntries(feeds))
    expect(relativeError(found.logits.data, reference.get('logits')!.data)).toBeLessThan(1e-5)
    for (const name of Object.keys(outputs).slice(1))
      expect(relativeError(found[name].data, reference.get(name)!.data), name).toBeLessThan(1e-4)
  })

  it.each(runs)('$variant: $name gives its logits to 1e-4 and every gradient to 1e-3', async ({ variant, device }) => {
    const { model, reference } = fixture(variant)
    const arrays = arraysOf(variant)
    const outputs = outputsOf(model, arrays.targets.data.length)
    const found = await run(device, outputs, arrays)
    expectLogits(found.logits.data as Float32Array, reference.get('logits')!.data)
    for (const name of Object.keys(outputs).slice(1))
      expect(relativeError(found[name].data as Float32Array, reference.get(name)!.data), name).toBeLessThan(1e-3)
  })

  it.each(logitsOnly)('%s: cpu gives its logits to 1e-4', async (variant) => {
    const { model, reference } = fixture(variant)
    const { logits } = outputsOf(model, 1)
    const found = await run(cpu, { logits }, arraysOf(variant))
    expectLogits(found.logits.data as Float32Array, reference.get('logits')!.data)
  })

  it.each([...variants, ...logitsOnly])('%s: its parameters are the tensors of the checkpoint', (variant) => {
    const { model, weights } = fixture(variant)
    const shapes = (entries: Iterable<readonly [string, readonly number[]]>) => Object.fromEntries(entries)
    expect(shapes(model.parameters.map(({ name, shape }) => [name, shape] as const))).toEqual(
      shapes([...weights].map(([name, { shape }]) => [name, shape] as const)),
    )
  })

  it.each(variants)('%s: PyTorch decays what is decayed here', (variant) => {
    const { model, training } = fixture(variant)
    expect(
      model.parameters
        .filter(({ decay }) => decay)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...training.decayed].sort())
  })
})

describe('stories260K, a trained Llama', () => {
  it('gives its 15 texts the NLLs of an independent float64 forward pass, to 1e-4', async () => {
    const { model, weights } = storiesModel()
    const graph = model.graph({ positions: input('positions', ['labels'], 'int32') })
    const nll = tokenNll(graph.hidden, graph.output, input('targets', ['labels'], 'int32'))
    const executable = await compile({ nll }, cpu)
    const tensor = (data: Int32Array, shape: number[]) => new cpu.ort.Tensor('int32', data, shape) as OrtTensor
    const feeds = [...matchWeights(model, weights)].map(([name, from]) => {
      const { data, shape } = weights.get(from)!
      return [name, new cpu.ort.Tensor('float32', data, shape) as OrtTensor]
    })
    const texts = storiesNll()
    expect(texts).toHaveLength(15)
    for (const { ids, nll: expected } of texts) {
      const { nll: found } = await executable.run({
        ...Object.fromEntries(feeds),
        tokens: tensor(Int32Array.from(ids), [1, ids.length]),
        positions: tensor(Int32Array.from(expected.keys()), [expected.length]),
        targets: tensor(Int32Array.from(ids.slice(1)), [expected.length]),
      })
      expectLogits(found.data as Float32Array, expected)
    }
    await executable.release()
  })
})

describe('parameters', () => {
  const { config } = fixture('llama-mha')

  it('start the same for the same seed, and otherwise for another', () => {
    const start = (seed: number) =>
      initialParameters(llama(config).parameters, seed).get('model.layers.1.mlp.up_proj.weight')!.data
    expect(start(1)).toEqual(start(1))
    expect(start(1)).not.toEqual(start(2))
  })

  it('are counted', () => {
    expect(countParameters(llama(config).parameters)).toBe(
      [...fixture('llama-mha').weights.values()].reduce((total, { data }) => total + data.length, 0),
    )
  })

  it('refuse heads that do not divide the hidden size', () => {
    expect(() => llama({ ...config, heads: 3 }).parameters).toThrow(/3 heads/)
  })
})
