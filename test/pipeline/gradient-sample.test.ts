import { describe, expect, it } from 'vitest'
import type { TensorMap } from '../../src/engine/tensor.ts'
import { sampleGradients } from '../../src/pipeline/gradient-sample.ts'
import { randomStream } from '../../src/random/philox.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { gradientSketch } from '../../src/training/gradient-sketch.ts'
import { compileScorer } from '../../src/training/scorer.ts'
import { scoreRows } from '../../src/training/trajectories.ts'
import { cpu } from '../engine/devices.ts'
import { fixture } from '../models/fixtures.ts'
import { memoryRows } from '../training/rows.ts'

const rows = memoryRows(
  [
    [3, 9, 4, 11, 2],
    [5, 6, 7, 8, 9, 10],
    [1, 2, 14, 9],
  ].map((ids) => ids.map((id, i) => (i >= 2 ? (id | TRAINED_BIT) >>> 0 : id))),
)
const { model, weights } = fixture('llama-gqa')
const parameters = model.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)

/** The weights, each moved by noise of this size. */
function moved(size: number): TensorMap {
  const stream = randomStream(3, 'test move')
  // Another order than the model's: tensors are found by name.
  return new Map(
    [...weights]
      .map(([name, { shape, data }]) => [name, { shape, data: data.map((x) => x + size * stream.normal()) }] as const)
      .reverse(),
  )
}

async function losses(of: TensorMap): Promise<Float32Array> {
  const scorer = await compileScorer({ model, weights: of, device: cpu })
  const { nll: found } = await scoreRows(scorer, rows, { tokensPerBatch: 64, maxLength: 8 })
  await scorer.release()
  return found
}

const sample = { model, device: cpu, weights, parameters, rows, drawn: Uint32Array.of(0, 1, 2), maxLength: 8 }

describe('gradients of a sample', () => {
  it('have the slopes of the losses along the way from another checkpoint', async () => {
    const neighbour = moved(1e-4)
    const [here, there] = [await losses(weights), await losses(neighbour)]
    let square = 0
    for (const [name, { data }] of weights)
      data.forEach((value, i) => {
        square += (value - neighbour.get(name)!.data[i]) ** 2
      })
    const { slopes, mean } = await sampleGradients({ ...sample, neighbour, onRow: () => {} })
    expect(mean).toBeCloseTo(here.reduce((a, b) => a + b) / 3, 5)
    const differences = Array.from(here, (loss, row) => (loss - there[row]) / Math.sqrt(square))
    const largest = Math.max(...differences.map(Math.abs))
    for (const [row, slope] of slopes!.entries())
      expect(Math.abs(slope - differences[row])).toBeLessThan(0.02 * largest)
  })

  it('are sketched one by one where they are not kept whole', async () => {
    const whole = await sampleGradients({ ...sample, onRow: () => {} })
    expect(whole.slopes).toBeUndefined()
    const sketch = gradientSketch(parameters, 64, 1)
    const done: number[] = []
    const { vectors } = await sampleGradients({ ...sample, sketch, onRow: (row) => done.push(row) })
    expect(done).toEqual([1, 2, 3])
    for (let i = 0; i < 3; i++) {
      const expected = new Float32Array(64)
      sketch.add(whole.vectors.subarray(i * parameters, (i + 1) * parameters), expected)
      expect(vectors.subarray(i * 64, (i + 1) * 64)).toEqual(expected)
    }
  })
})
