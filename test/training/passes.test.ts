import type { InferenceSession } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import type { OrtApi } from '../../src/engine/session.ts'
import { workerThreads } from '../../src/parallel/threads.ts'
import { compileTrainer, startingState } from '../../src/training/trainer.ts'
import { cpu, devices, webgpu } from '../engine/devices.ts'
import { fixture, variants } from '../models/fixtures.ts'
import { batchesOf, deviation, trained } from './fixture-trainer.ts'

const parts: [number, number][] = [
  [0, 1],
  [1, 3],
]

describe.each(variants)('parts of a batch, %s', (variant) => {
  it('add up to the gradients of the whole, and follow its losses', async () => {
    const one = await trained(variant, batchesOf(variant, 1))
    const cut = await trained(variant, batchesOf(variant, 1, parts))
    expect(deviation(cut.state.first, one.state.first)).toBeLessThan(2e-6)
    const whole = await trained(variant, batchesOf(variant, 8))
    const pieces = await trained(variant, batchesOf(variant, 8, parts))
    pieces.losses.forEach((loss, i) => {
      expect(Math.abs(loss - whole.losses[i]) / loss, `step ${i + 1}`).toBeLessThan(1e-5)
    })
  })
})

describe('parts of a batch', () => {
  it.each(devices)('give the same losses on $name', async (device) => {
    const here = await trained('llama-mha', batchesOf('llama-mha', 3, parts), { device })
    const whole = await trained('llama-mha', batchesOf('llama-mha', 3))
    here.losses.forEach((loss, i) => {
      expect(loss).toBeCloseTo(whole.losses[i], 4)
    })
  })

  it('give the same bits whatever the threads', async () => {
    const run = (threads: number) =>
      trained('gpt2', batchesOf('gpt2', 4, parts), {
        device: { ...cpu, threads },
        parallel: workerThreads(threads),
        worthThreads: 0,
      })
    const one = await run(1)
    expect(await run(2)).toEqual(one)
    expect(await run(3)).toEqual(one)
  })
})

describe.each(variants)('recomputation, %s', (variant) => {
  it('changes no bit of losses and parameters', async () => {
    const kept = await trained(variant, batchesOf(variant, 3))
    expect(await trained(variant, batchesOf(variant, 3), { recompute: true })).toEqual(kept)
  })
})

type Arrays = Record<string, { data: Float32Array }>

/** ONNX Runtime with something done to the results of the runs that `when` names, counted from 1; `scales` are the label weights of each. */
function spoiling(when: (run: number) => boolean, spoil: (results: Arrays) => void) {
  const scales: number[] = []
  const ort = {
    ...cpu.ort,
    InferenceSession: {
      create: async (...model: [Uint8Array, InferenceSession.SessionOptions]) => {
        const session = await cpu.ort.InferenceSession.create(...model)
        return {
          run: async (feeds: Arrays, fetches?: Arrays) => {
            const results = (await session.run(feeds as never, (fetches ?? {}) as never)) as unknown as Arrays
            if (feeds.labelWeights === undefined) return results
            scales.push(feeds.labelWeights.data[0])
            if (when(scales.length)) spoil({ ...results, ...fetches, loss: results.loss })
            return results
          },
          release: () => session.release(),
        }
      },
    },
  }
  return { device: { ...cpu, ort: ort as unknown as OrtApi }, scales }
}

const loseLoss = ({ loss }: Arrays) => loss.data.fill(Number.NaN)
const overflow = (results: Arrays) => results['gradient/model.norm.weight'].data.fill(Number.POSITIVE_INFINITY)

describe('a step that fails', () => {
  it.each([
    ['a loss that is no number', loseLoss],
    ['an infinite gradient', overflow],
  ])('leaves the state of the step before: %s', async (_, spoil) => {
    const { model, weights } = fixture('llama-mha')
    const batches = batchesOf('llama-mha', 3)
    const { device } = spoiling((run) => run === 3, spoil)
    const trainer = await compileTrainer({ model, device, optimiser: {} })
    trainer.load(startingState(weights))
    for (const batch of batches.slice(0, 2)) await trainer.train(batch, 1e-3)
    const before = structuredClone(await trainer.state())
    await expect(trainer.train(batches[2], 1e-3)).rejects.toMatchObject({
      kind: 'failure',
      fault: { code: 'diverged', message: 'training diverged at step 3' },
    })
    expect(await trainer.state()).toEqual(before)
    // And training can go on from there.
    expect((await trainer.train(batches[2], 1e-3)).loss).toBeGreaterThan(0)
    expect((await trainer.state()).step).toBe(3)
    await trainer.release()
  })
})

describe('the scale of half-precision gradients', () => {
  const half = (when: (run: number) => boolean) => {
    const { device, scales } = spoiling(when, overflow)
    return { device: { ...device, precision: 'float16' as const }, scales }
  }

  it('is halved, and the step repeated, when gradients overflow: nothing else changes', async () => {
    const batches = batchesOf('llama-mha', 3)
    const smooth = await trained('llama-mha', batches)
    const { device, scales } = half((run) => run === 2 || run === 3)
    const { losses, norms, state } = await trained('llama-mha', batches, { device })
    const labels = batches.map(([{ positions }]) => positions.length)
    expect(scales.map((scale, i) => Math.round(Math.log2(scale * labels[[0, 1, 1, 1, 2][i]])))).toEqual([
      12, 12, 11, 10, 10,
    ])
    expect(state.step).toBe(3)
    losses.forEach((loss, i) => {
      expect(loss).toBeCloseTo(smooth.losses[i], 5)
      expect(norms[i]).toBeCloseTo(smooth.norms[i], 4)
    })
    expect(deviation(state.parameters, smooth.state.parameters)).toBeLessThan(1e-4)
  })

  it('ends in divergence when no scale helps', async () => {
    const { device, scales } = half(() => true)
    await expect(trained('llama-mha', batchesOf('llama-mha', 1), { device })).rejects.toMatchObject({
      fault: { code: 'diverged' },
    })
    expect(scales).toHaveLength(13)
  })
})

describe('half precision', () => {
  it.each(variants)('gives the numbers of float32 on cpu, which has no half-precision product: %s', async (variant) => {
    const device = { ...cpu, precision: 'float16' as const }
    const [rounded, whole] = [
      await trained(variant, batchesOf(variant, 1), { device }),
      await trained(variant, batchesOf(variant, 1)),
    ]
    expect(rounded.losses[0]).toBeCloseTo(whole.losses[0], 5)
    expect(deviation(rounded.state.first, whole.state.first)).toBeLessThan(1e-5)
  })

  it('of another kind is refused on cpu by name', async () => {
    const device = { ...cpu, precision: 'bfloat16' as const }
    await expect(trained('llama-mha', batchesOf('llama-mha', 1), { device })).rejects.toMatchObject({
      fault: { code: 'precision-unsupported' },
    })
  })

  it('stays within a hundredth of float32 on webgpu, or is refused where the card has no shader-f16', async (context) => {
    if (webgpu === undefined) return context.skip('needs a GPU, or SwiftShader and libvulkan')
    const device = { ...webgpu, precision: 'float16' as const }
    const whole = await trained('llama-mha', batchesOf('llama-mha', 1))
    try {
      const { losses, state } = await trained('llama-mha', batchesOf('llama-mha', 1), { device })
      expect(Math.abs(losses[0] - whole.losses[0]) / losses[0]).toBeLessThan(1e-2)
      expect(deviation(state.first, whole.state.first)).toBeLessThan(2e-2)
    } catch (error) {
      expect(error).toMatchObject({ fault: { code: 'precision-unsupported' } })
      context.skip('this device has no shader-f16')
    }
  })
})
