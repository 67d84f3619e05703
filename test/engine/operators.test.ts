import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import { multiply } from '../../src/engine/operators/elementwise.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { compile, type Device } from '../../src/engine/session.ts'
import { shapeValue } from '../../src/engine/shape.ts'
import { input, type NdArray, type Tensor } from '../../src/engine/tensor.ts'
import { randomStream } from '../../src/random/philox.ts'
import { cpu, webgpu } from './devices.ts'
import { type Case, cases } from './operators.cases.ts'

interface Prepared {
  feeds: Record<string, NdArray>
  inputs: Record<string, Tensor>
  output: Tensor
  /** Float inputs, which can have a gradient. */
  floats: string[]
}

function prepare(test: Case): Prepared {
  const dims = new Map(Object.entries(test.dims ?? {}))
  const inputs: Record<string, Tensor> = {}
  const feeds: Record<string, NdArray> = {}
  Object.entries(test.inputs).forEach(([name, { shape, positive, below }], i) => {
    const stream = randomStream(11, test.name, i)
    const sizes = shapeValue(shape, dims)
    inputs[name] = input(name, shape, below === undefined ? 'float32' : 'int32')
    const draw = () => (below !== undefined ? stream.below(below) : positive ? 0.5 + stream.uniform() : stream.normal())
    // Through float32, so that devices and oracle see the same values.
    const data = Float64Array.from(Float32Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, draw))
    feeds[name] = { shape: sizes, data }
  })
  const output = test.build(inputs)
  const floats = Object.keys(inputs).filter((name) => inputs[name].dtype === 'float32')
  const { shape } = interpret({ output }, feeds).output
  const count = shape.reduce((a, b) => a * b, 1)
  feeds.weights = { shape, data: Float64Array.from(Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1))) }
  return { feeds, inputs, output, floats }
}

/** A scalar that weighs every output element differently, and its gradients. */
function weighted({ output, inputs, floats }: Prepared): { loss: Tensor; gradients: Record<string, Tensor> } {
  const loss = sum(multiply(output, input('weights', output.shape)))
  const found = gradients(
    loss,
    floats.map((name) => inputs[name]),
  )
  return { loss, gradients: Object.fromEntries(floats.map((name, i) => [`d_${name}`, found[i]])) }
}

function feedsFor(device: Device, { feeds, inputs }: Prepared): Record<string, OrtTensor> {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { shape, data }]) => {
      const dtype = inputs[name]?.dtype ?? 'float32'
      const typed = dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data)
      return [name, new device.ort.Tensor(dtype, typed as Float32Array, shape) as OrtTensor]
    }),
  )
}

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  expect(found.length, what).toBe(expected.length)
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(Number(found[i]) - expected[i]) / Math.max(1, Math.abs(expected[i]))
    if (!(error <= worst)) worst = error
  }
  expect(worst, what).toBeLessThanOrEqual(tolerance)
}

describe('gradient rules against central finite differences of the float64 oracle', () => {
  it.each(cases.filter((test) => test.noGradient === undefined))('$name', (test) => {
    const prepared = prepare(test)
    const { loss, gradients: found } = weighted(prepared)
    for (const name of prepared.floats) {
      // Beside the loss, whose inputs name the dimensions: the gradient of a sum reads no input.
      const analytic = interpret({ gradient: found[`d_${name}`], loss }, prepared.feeds).gradient
      expect(analytic.shape).toEqual(prepared.feeds[name].shape)
      const numeric = analytic.data.map((_, i) => {
        const h = 1e-5
        const at = (delta: number) => {
          const data = prepared.feeds[name].data.slice()
          data[i] += delta
          return interpret({ loss }, { ...prepared.feeds, [name]: { ...prepared.feeds[name], data } }).loss.data[0]
        }
        return (at(h) - at(-h)) / (2 * h)
      })
      expectClose(analytic.data, numeric, 1e-7, `d ${test.name} / d ${name}`)
    }
  })
})

describe.each([
  { name: 'cpu', device: cpu },
  { name: 'webgpu (needs a GPU, or SwiftShader and libvulkan)', device: webgpu },
])('operators on $name against the oracle', ({ device }) => {
  it.skipIf(device === undefined).each(cases)('$name', async (test) => {
    const prepared = prepare(test)
    const outputs: Record<string, Tensor> = { output: prepared.output }
    if (test.noGradient === undefined) Object.assign(outputs, weighted(prepared).gradients)
    const expected = interpret(outputs, prepared.feeds)
    const executable = await compile(outputs, device as Device)
    const feeds = feedsFor(device as Device, prepared)
    const found = await executable.run(Object.fromEntries(executable.inputs.map((name) => [name, feeds[name]])))
    for (const name of Object.keys(outputs)) {
      expect([...found[name].dims], name).toEqual([...expected[name].shape])
      expectClose(
        found[name].data as Float32Array,
        expected[name].data,
        test.tolerance ?? 1e-5,
        `${test.name}: ${name}`,
      )
    }
    await executable.release()
  })
})
