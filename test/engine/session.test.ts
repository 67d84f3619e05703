import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { lowerGraph } from '../../src/engine/onnx/lowering.ts'
import { negate } from '../../src/engine/operators/elementwise.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { weightedNll } from '../../src/engine/operators/weighted-nll.ts'
import { compile } from '../../src/engine/session.ts'
import { input } from '../../src/engine/tensor.ts'
import { cpu } from './devices.ts'

describe('a run into given tensors', () => {
  it('writes them, gives them back, and computes the other outputs anew', async () => {
    const x = input('x', ['n'])
    const executable = await compile({ once: negate(x), twice: negate(negate(x)) }, cpu)
    const tensor = (data: number[]) =>
      new cpu.ort.Tensor('float32', Float32Array.from(data), [data.length]) as OrtTensor
    const once = tensor([9, 9, 9])
    for (const sign of [1, -1]) {
      const results = await executable.run({ x: tensor([sign, 2, 3]) }, { once })
      expect(results.once).toBe(once)
      expect([...(once.data as Float32Array)]).toEqual([-sign, -2, -3])
      expect([...(results.twice.data as Float32Array)]).toEqual([sign, 2, 3])
    }
    await executable.release()
  })
})

describe('half-precision products', () => {
  const d = 6
  const casts = (outputs: Parameters<typeof lowerGraph>[0]) =>
    lowerGraph(outputs, 'gpu', 'float16').nodes.filter(({ operator }) => operator === 'Cast')

  it('cast their factors once each, and the product back', () => {
    const w = input('w', [d, d])
    const y = matmul(matmul(input('x', ['n', d]), w), w)
    expect(casts({ y }).map(({ attributes }) => attributes.to)).toEqual([10, 10, 1, 10, 1])
  })

  it('cast the output embedding once for all chunks of labels', () => {
    const [h, w] = [input('h', ['labels', d]), input('w', [20, d])]
    const loss = weightedNll(h, w, input('t', ['labels'], 'int32'), input('u', ['labels']), 4)
    expect(casts({ loss }).map(({ inputs }) => inputs)).toEqual([['w']])
  })
})
