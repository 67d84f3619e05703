import { expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { input, type Tensor } from '../../src/engine/tensor.ts'
import { activate, activations, gated } from '../../src/models/activation.ts'

const points = [-3, -0.5, 0, 0.3, 2]

/** transformers' ACT2FN at those points, float64. */
const silu = [-0.1422776195, -0.1887703344, 0, 0.172332755, 1.761594156]
const erf = [-0.004049694095, -0.1542687694, 0, 0.1853734267, 1.954499736]
const tanh = [-0.003637392082, -0.1542859902, 0, 0.1853709235, 1.954597694]
const expected: Record<string, number[]> = {
  silu,
  swish: silu,
  relu: [0, 0, 0, 0.3, 2],
  gelu: erf,
  gelu_python: erf,
  gelu_new: tanh,
  gelu_fast: tanh,
  gelu_pytorch_tanh: tanh,
  gelu_python_tanh: tanh,
}

const valuesOf = (build: (x: Tensor) => Tensor) =>
  interpret({ y: build(input('x', [5])) }, { x: { shape: [5], data: Float64Array.from(points) } }).y.data

it.each(Object.keys(activations))('%s has the values of transformers, gated too', (name) => {
  expect(Object.keys(expected)).toContain(name)
  const plain = valuesOf((x) => activate(activations[name], x))
  const times = valuesOf((x) => gated(activations[name], x, x))
  expected[name].forEach((value, i) => {
    expect(plain[i]).toBeCloseTo(value, 9)
    expect(times[i]).toBeCloseTo(value * points[i], 8)
  })
})
