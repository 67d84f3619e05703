import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { multiply } from '../../src/engine/operators/elementwise.ts'
import { tokenNll } from '../../src/engine/operators/loss.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { weightedNll } from '../../src/engine/operators/weighted-nll.ts'
import { compile } from '../../src/engine/session.ts'
import { input, type Tensor } from '../../src/engine/tensor.ts'
import { randomStream } from '../../src/random/philox.ts'
import { cpu } from './devices.ts'

const [m, d, v] = [12, 8, 50]
const stream = randomStream(5, 'loss')
const normals = (size: number, deviation = 1) => Float32Array.from({ length: size }, () => deviation * stream.normal())
const feeds = {
  h: new cpu.ort.Tensor('float32', normals(m * d), [m, d]),
  w: new cpu.ort.Tensor('float32', normals(v * d), [v, d]),
  t: new cpu.ort.Tensor(
    'int32',
    Int32Array.from({ length: m }, () => stream.below(v)),
    [m],
  ),
  u: new cpu.ort.Tensor('float32', normals(m).map(Math.abs), [m]),
} as unknown as Record<string, OrtTensor>
const inputs = () => ({
  h: input('h', ['labels', d]),
  w: input('w', [v, d]),
  t: input('t', ['labels'], 'int32'),
  u: input('u', ['labels']),
})

async function run(outputs: Record<string, Tensor>, given = feeds) {
  const executable = await compile(outputs, cpu)
  const results = await executable.run(Object.fromEntries(executable.inputs.map((name) => [name, given[name]])))
  await executable.release()
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data as Float32Array]))
}

describe('weightedNll', () => {
  it.each([1, 3])('is the weighted sum of tokenNll, in %i chunks', async (chunks) => {
    const { h, w, t, u } = inputs()
    const { loss, expected } = await run({
      loss: weightedNll(h, w, t, u, chunks),
      expected: sum(multiply(tokenNll(h, w, t, chunks), u)),
    })
    expect(Math.abs(loss[0] - expected[0]) / expected[0]).toBeLessThan(1e-6)
  })

  it('scales its gradients by what comes from above', async () => {
    const { h, w, t, u } = inputs()
    const loss = weightedNll(h, w, t, u)
    const [once] = gradients(loss, [h])
    const [twice] = gradients(multiply(loss, loss), [h])
    const found = await run({ loss, once, twice })
    found.twice.forEach((x, i) => {
      expect(x).toBeCloseTo(2 * found.loss[0] * found.once[i], 4)
    })
  })

  it('stays exact where the target has no probability that float32 could hold', async () => {
    const { h, w, t, u } = inputs()
    const loss = weightedNll(h, w, t, u)
    // Logits of 400 and of 0: the probability of the other token is e^-400.
    const one = (data: number[], shape: number[]) => new cpu.ort.Tensor('float32', Float32Array.from(data), shape)
    const table = new Float32Array(v * d)
    table[3 * d] = 400
    const hidden = new Float32Array(d)
    hidden[0] = 1
    const extreme = { h: one([...hidden], [1, d]), w: one([...table], [v, d]), u: one([1], [1]), t: feeds.t }
    extreme.t = new cpu.ort.Tensor('int32', Int32Array.of(7), [1]) as OrtTensor
    const found = await run({ loss, dh: gradients(loss, [h])[0] }, extreme as unknown as typeof feeds)
    expect(found.loss[0]).toBe(400)
    expect(found.dh[0]).toBe(400)
  })
})
