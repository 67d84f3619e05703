import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import { multiply } from '../../src/engine/operators/elementwise.ts'
import { gatherRows } from '../../src/engine/operators/gather.ts'
import { tokenNll } from '../../src/engine/operators/loss.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { compile, type Device } from '../../src/engine/session.ts'
import { constant, input, type NdArray, type Tensor } from '../../src/engine/tensor.ts'
import { llama } from '../../src/models/llama.ts'
import { countParameters, initialParameters } from '../../src/models/parameters.ts'
import { devices } from '../engine/devices.ts'
import { collated, fixture, unflatten, variants } from './fixtures.ts'

/** Logits of every position and gradients of the mean NLL, as one graph. */
function outputsOf(variant: string) {
  const { config, weights, reference } = fixture(variant)
  const batch = collated(unflatten(reference.get('ids')!), unflatten(reference.get('labels')!))
  const graph = llama(config).graph()
  const names = [...graph.parameters.keys()]
  const nll = tokenNll(
    gatherRows(graph.hidden, input('positions', ['labels'], 'int32')),
    graph.output,
    input('targets', ['labels'], 'int32'),
  )
  const count = batch.positions.length
  const loss = sum(multiply(nll, constant(new Float32Array(1).fill(1 / count), [1])))
  const found = gradients(
    loss,
    names.map((name) => graph.parameters.get(name) as Tensor),
  )
  const outputs: Record<string, Tensor> = { logits: matmul(graph.hidden, graph.output, { transposeB: true }) }
  names.forEach((name, i) => {
    outputs[`gradient.${name}`] = found[i]
  })
  const arrays: Record<string, { dtype: 'float32' | 'int32'; shape: number[]; data: Float32Array | Int32Array }> = {
    tokens: { dtype: 'int32', shape: batch.shape, data: batch.tokens },
    positions: { dtype: 'int32', shape: [count], data: batch.positions },
    targets: { dtype: 'int32', shape: [count], data: batch.targets },
  }
  for (const name of names) arrays[name] = { dtype: 'float32', ...weights.get(name)! }
  return { outputs, arrays, reference, weights }
}

/** Largest difference relative to the reference's own largest magnitude. */
function relativeError(found: ArrayLike<number>, expected: readonly number[]): number {
  expect(found.length).toBe(expected.length)
  const scale = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  return expected.reduce((worst, x, i) => Math.max(worst, Math.abs(Number(found[i]) - x)), 0) / scale
}

async function run(device: Device, outputs: Record<string, Tensor>, arrays: ReturnType<typeof outputsOf>['arrays']) {
  const executable = await compile(outputs, device)
  const feeds = Object.entries(arrays).map(([name, { dtype, shape, data }]) => [
    name,
    new device.ort.Tensor(dtype, data as Float32Array, shape) as OrtTensor,
  ])
  const results = await executable.run(Object.fromEntries(feeds))
  await executable.release()
  return results
}

describe.each(variants)('%s against transformers', (variant) => {
  it('the float64 oracle gives its logits and gradients', () => {
    const { outputs, arrays, reference } = outputsOf(variant)
    const feeds = Object.fromEntries(
      Object.entries(arrays).map(([name, { shape, data }]): [string, NdArray] => [
        name,
        { shape, data: Float64Array.from(data) },
      ]),
    )
    const found = interpret(outputs, feeds)
    expect(relativeError(found.logits.data, reference.get('logits')!.data)).toBeLessThan(1e-5)
    for (const name of Object.keys(outputs).slice(1))
      expect(relativeError(found[name].data, reference.get(name)!.data), name).toBeLessThan(1e-4)
  })

  it.each(devices)('$name gives its logits to 1e-4 and every gradient to 1e-3', async (device) => {
    const { outputs, arrays, reference } = outputsOf(variant)
    const found = await run(device, outputs, arrays)
    const logits = reference.get('logits')!.data
    expect(Math.max(...logits.map((x, i) => Math.abs(x - (found.logits.data as Float32Array)[i])))).toBeLessThan(1e-4)
    for (const name of Object.keys(outputs).slice(1))
      expect(relativeError(found[name].data as Float32Array, reference.get(name)!.data), name).toBeLessThan(1e-3)
  })

  it('has the names and shapes of its weights', () => {
    const { config, weights } = fixture(variant)
    expect(llama(config).parameters.map(({ name, shape }) => [name, shape])).toEqual(
      expect.arrayContaining([...weights].map(([name, { shape }]) => [name, shape])),
    )
    expect(llama(config).parameters).toHaveLength(weights.size)
    expect(llama(config).config).toMatchObject({ model_type: 'llama', num_key_value_heads: config.keyValueHeads })
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
