import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { compile, type Device } from '../../src/engine/session.ts'
import type { NdArray, TensorMap } from '../../src/engine/tensor.ts'
import { initialParameters } from '../../src/models/parameters.ts'
import { randomStream } from '../../src/random/philox.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { collate } from '../../src/training/collate.ts'
import { compileExampleGradients } from '../../src/training/example-gradients.ts'
import { gramMatrix, referenceGram } from '../../src/training/gradient-gram.ts'
import { gradientSketch, sketchDimensions } from '../../src/training/gradient-sketch.ts'
import { gradientGraph, scoringGraph, trainedParameters } from '../../src/training/graphs.ts'
import { batchFeeds } from '../../src/training/scorer.ts'
import { cpu, devices } from '../engine/devices.ts'
import { fixture } from '../models/fixtures.ts'
import { memoryRows } from './rows.ts'

/** Rows of a prompt and a response; the last one has no response in a window of 6. */
const rows = memoryRows(
  [
    [3, 9, 4, 11, 2],
    [5, 6, 7, 8, 9, 10, 12, 13],
    [1, 2, 14],
    [4, 4, 4, 4, 4, 4, 4, 4],
  ].map((ids, row) => ids.map((id, i) => (i >= (row === 3 ? 7 : 2) ? (id | TRAINED_BIT) >>> 0 : id))),
)
const WINDOW = 6

async function gradientsOf(
  variant: string,
  options: { device?: Device; lora?: { rank: number }; count?: number } = {},
) {
  const { model, weights } = fixture(variant)
  const { lora, device = cpu, count = rows.count } = options
  const trained = lora ? adapters(variant, lora) : weights
  const compiled = await compileExampleGradients({ model, device, weights: trained, frozen: weights, lora })
  const found: { loss: number; gradient: Float32Array }[] = []
  for (let row = 0; row < count; row++) {
    const gradient = new Float32Array(compiled.size).fill(7)
    found.push({ loss: await compiled.gradient(rows, row, WINDOW, gradient), gradient })
  }
  await compiled.release()
  return found
}

/** Adapters that are not where training starts: there one of each two has no gradient. */
function adapters(variant: string, lora: { rank: number }): TensorMap {
  const { model } = fixture(variant)
  const parameters = trainedParameters(model, lora)
  return initialParameters(
    parameters.map((parameter) => ({ ...parameter, initial: { kind: 'normal', deviation: 0.2 } as const })),
    5,
  )
}

/** Gradient of the batch's mean over all labels, by the graph of training. */
async function batchGradient(variant: string, lora?: { rank: number }) {
  const { model, weights } = fixture(variant)
  const batch = collate(rows, { rows: Uint32Array.of(0, 1, 2), length: WINDOW }, WINDOW)
  const executable = await compile(gradientGraph(model, { lora }), cpu)
  const feed = (tensors: TensorMap) =>
    [...tensors].map(([name, { shape, data }]) => [name, new cpu.ort.Tensor('float32', data, shape) as OrtTensor])
  const total = batch.labelsPerRow.reduce((a, b) => a + b, 0)
  const results = await executable.run({
    ...batchFeeds(batch, cpu.ort),
    ...Object.fromEntries([...feed(weights), ...(lora ? feed(adapters(variant, lora)) : [])]),
    labelWeights: new cpu.ort.Tensor('float32', new Float32Array(total).fill(1 / total), [total]) as OrtTensor,
  })
  await executable.release()
  const gradient = trainedParameters(model, lora).flatMap(({ name }) =>
    Array.from(results[`gradient/${name}`].data as Float32Array),
  )
  return { gradient, labels: batch.labelsPerRow }
}

const largest = (values: ArrayLike<number>) => Array.from(values).reduce((most, x) => Math.max(most, Math.abs(x)), 0)

describe.each([['llama-gqa'], ['gpt-neox'], ['gpt2']])('gradients of examples, %s', (variant) => {
  it.each([undefined, { rank: 2 }])('weighted by labels add up to that of the batch, adapters: %o', async (lora) => {
    const found = await gradientsOf(variant, { lora })
    const { gradient, labels } = await batchGradient(variant, lora)
    const total = labels.reduce((a, b) => a + b, 0)
    const sum = gradient.map((_, k) =>
      [0, 1, 2].reduce((all, row) => all + (labels[row] / total) * found[row].gradient[k], 0),
    )
    const scale = largest(gradient)
    expect(scale).toBeGreaterThan(0)
    expect(largest(sum.map((value, k) => value - gradient[k]))).toBeLessThan(2e-6 * scale)
  })

  it('are the slopes of the loss, by differences in float64', async () => {
    const { model, weights } = fixture(variant)
    const found = await gradientsOf(variant)
    const graph = scoringGraph(model, {})
    const batch = collate(rows, { rows: Uint32Array.of(1), length: WINDOW }, WINDOW)
    const array = (data: ArrayLike<number>, shape: readonly number[]): NdArray => ({
      data: Float64Array.from(data),
      shape,
    })
    const feeds: Record<string, NdArray> = {
      tokens: array(batch.tokens, batch.shape),
      positions: array(batch.positions, [batch.positions.length]),
      targets: array(batch.targets, [batch.targets.length]),
    }
    for (const [name, { data, shape }] of weights) feeds[name] = array(data, shape)
    const loss = () => interpret(graph, feeds).nll.data.reduce((a, b) => a + b, 0) / batch.labelsPerRow[0]
    expect(found[1].loss).toBeCloseTo(loss(), 5)
    const scale = largest(found[1].gradient)
    const stream = randomStream(1, 'test places')
    let at = 0
    for (const { name, shape } of model.parameters) {
      const size = shape.reduce((a, b) => a * b, 1)
      const place = stream.below(size)
      const { data } = feeds[name]
      const value = data[place]
      const step = 1e-5
      data[place] = value + step
      const above = loss()
      data[place] = value - step
      const below = loss()
      data[place] = value
      const slope = (above - below) / (2 * step)
      expect(Math.abs(found[1].gradient[at + place] - slope), name).toBeLessThan(1e-4 * scale)
      at += size
    }
  })
})

describe('gradients of examples', () => {
  it('of a row without a trained token in the window are zeros, and its loss is none', async () => {
    const [, , , last] = await gradientsOf('llama-mha')
    expect(last.loss).toBeNaN()
    expect(largest(last.gradient)).toBe(0)
  })

  it('are the same bits whatever the threads', async () => {
    const one = await gradientsOf('qwen3', { device: { ...cpu, threads: 1 } })
    expect(await gradientsOf('qwen3', { device: { ...cpu, threads: 3 } })).toEqual(one)
  })
})

const noise = (length: number, seed: number) => {
  const stream = randomStream(seed, 'test vectors')
  return Float32Array.from({ length }, () => stream.normal())
}

describe('a sketch of gradients', () => {
  it('keeps inner products within its stated error, without bias', () => {
    const x = noise(3000, 1)
    const y = noise(3000, 2).map((value, i) => value + x[i])
    const inner = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0)
    const norm = Math.sqrt(inner(x, x) * inner(y, y))
    const errors = Array.from({ length: 60 }, (_, seed) => {
      const sketch = gradientSketch(3000, 256, seed)
      const [short, other] = [new Float32Array(256), new Float32Array(256)]
      sketch.add(x, short)
      sketch.add(y, other)
      return (inner(short, other) - inner(x, y)) / norm
    })
    const bound = Math.sqrt(2 / 256)
    const mean = errors.reduce((a, b) => a + b, 0) / errors.length
    const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length)
    expect(Math.abs(mean)).toBeLessThan((4 * bound) / Math.sqrt(errors.length))
    expect(deviation).toBeLessThan(1.3 * bound)
    expect(deviation).toBeGreaterThan(0.3 * bound)
  })

  it('is of powers of two, and no longer than needed', () => {
    expect(() => gradientSketch(10, 12, 0)).toThrow(RangeError)
    expect(sketchDimensions(10, 1000, 40_000)).toBe(1000)
    expect(sketchDimensions(10, 1001, 40_000)).toBe(512)
    expect(sketchDimensions(10, 1e9, 1e10)).toBe(2 ** 18)
  })
})

describe('inner products', () => {
  it.each(devices)('are those of float64 on $name', async (device) => {
    const vectors = noise(5 * 9000, 4)
    const expected = referenceGram(vectors, 5)
    const found = await gramMatrix(vectors, 5, device)
    found.forEach((value, at) => {
      expect(Math.abs(value - expected[at])).toBeLessThan(0.1)
    })
  })

  it('are those of float64, symmetric, the same bits whatever the threads', async () => {
    const vectors = noise(7 * 20_000, 3)
    const [expected, found] = [referenceGram(vectors, 7), await gramMatrix(vectors, 7, { ...cpu, threads: 1 })]
    found.forEach((value, at) => {
      expect(Math.abs(value - expected[at])).toBeLessThan(0.1)
      expect(value).toBe(found[(at % 7) * 7 + Math.floor(at / 7)])
    })
    expect(await gramMatrix(vectors, 7, { ...cpu, threads: 3 })).toEqual(found)
  })
})
