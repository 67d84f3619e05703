import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import { exp, multiply, scale } from '../../src/engine/operators/elementwise.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { recomputed } from '../../src/engine/recompute.ts'
import { compile, type OrtApi } from '../../src/engine/session.ts'
import { input, type NdArray, type Tensor } from '../../src/engine/tensor.ts'
import { cpu } from './devices.ts'

const LAYERS = 3
const [n, d] = [4, 6]

/** Layers x <- exp(x W / 4) * x, of which the layer's inner values are kept or recomputed. */
function layered(wrap: (build: (x: Tensor) => Tensor, x: Tensor) => Tensor) {
  const weights = Array.from({ length: LAYERS }, (_, layer) => input(`w${layer}`, [d, d]))
  const layer = (i: number) => (x: Tensor) => multiply(exp(scale(matmul(x, weights[i]), 0.25)), x)
  let x = input('x', ['n', d])
  for (let i = 0; i < LAYERS; i++) x = wrap(layer(i), x)
  const loss = sum(multiply(x, x))
  const found = gradients(loss, weights)
  return { loss, ...Object.fromEntries(found.map((gradient, i) => [`dw${i}`, gradient])) }
}
const kept = () => layered((build, x) => build(x))
const again = () => layered(recomputed)

const values = (size: number, seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i))
const shapes: Record<string, number[]> = { x: [n, d], w0: [d, d], w1: [d, d], w2: [d, d] }
const arrays = Object.entries(shapes).map(([name, shape], i) => ({ name, shape, data: values(shape[0] * shape[1], i) }))

/** Operators in the order in which ONNX Runtime ran them, its own profile says. */
async function ran(outputs: Record<string, Tensor>) {
  const folder = mkdtempSync(join(tmpdir(), 'profile-'))
  let session: InferenceSession | undefined
  const ort = {
    ...cpu.ort,
    InferenceSession: {
      create: async (model: Uint8Array, options: InferenceSession.SessionOptions) => {
        const profiled = { ...options, enableProfiling: true, profileFilePrefix: join(folder, 'run') }
        session = await cpu.ort.InferenceSession.create(model, profiled)
        return session
      },
    },
  }
  const executable = await compile(outputs, { ...cpu, ort: ort as unknown as OrtApi })
  const feeds = arrays.map(({ name, shape, data }) => [name, new cpu.ort.Tensor('float32', data, shape) as OrtTensor])
  const results = await executable.run(Object.fromEntries(feeds))
  session?.endProfiling()
  await executable.release()
  const [file] = readdirSync(folder)
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { name: string; args?: { op_name?: string } }[]
  rmSync(folder, { recursive: true })
  const operators = events.filter(({ name }) => name.endsWith('_kernel_time')).map(({ args }) => args?.op_name)
  return { results, operators }
}

describe('recomputed', () => {
  it('has the values and gradients of what it wraps', () => {
    const feeds = Object.fromEntries(
      arrays.map(({ name, shape, data }): [string, NdArray] => [name, { shape, data: Float64Array.from(data) }]),
    )
    const [one, two] = [interpret(kept(), feeds), interpret(again(), feeds)]
    for (const [name, { data }] of Object.entries(one)) {
      const other = (two as Record<string, NdArray>)[name].data
      data.forEach((x, i) => {
        expect(other[i]).toBeCloseTo(x, 10)
      })
    }
  })

  it('is computed twice by ONNX Runtime, with the same bits', async () => {
    const [one, two] = [await ran(kept()), await ran(again())]
    const count = (operators: unknown[], name: string) => operators.filter((operator) => operator === name).length
    expect(count(one.operators, 'Exp')).toBe(LAYERS)
    expect(count(two.operators, 'Exp')).toBe(2 * LAYERS)
    for (const name of Object.keys(one.results)) expect(two.results[name].data).toEqual(one.results[name].data)
  })

  it('is computed again one layer at a time, each with its own gradients', async () => {
    const { operators } = await ran(again())
    const steps = operators.filter((operator) => operator === 'Exp' || operator === 'Gemm')
    const forward = Array(LAYERS).fill(['Gemm', 'Exp'])
    // Again, then the product for the weight and, but for the first layer, the one for the layer below.
    const backward = Array.from({ length: LAYERS }, (_, i) => [
      'Gemm',
      'Exp',
      ...Array(i < LAYERS - 1 ? 2 : 1).fill('Gemm'),
    ])
    expect(steps).toEqual([...forward, ...backward].flat())
  })
})

describe('the gradient of a weight', () => {
  it('is computed with its layer, not after all of them, so that activations can be dropped', async () => {
    const { operators } = await ran(kept())
    const last = operators.lastIndexOf('Gemm')
    // Each layer's backward pass begins with the product of an upstream gradient: between two of them there are the layer's own products.
    const gemms = operators.flatMap((operator, i) => (operator === 'Gemm' ? [i] : []))
    const backward = gemms.slice(LAYERS)
    const gaps = backward.slice(1).map((at, i) => at - backward[i])
    expect(backward.at(-1)).toBe(last)
    // Two products a layer side by side, then the elementwise part of the layer below.
    expect(gaps.filter((gap) => gap > 1)).toHaveLength(LAYERS - 1)
    expect(gaps.at(-1)).toBeGreaterThan(1)
  })
})
