import { readFileSync } from 'node:fs'
import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { compile } from '../../src/engine/session.ts'
import type { NdArray, TensorMap } from '../../src/engine/tensor.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { readSafetensors } from '../../src/models/safetensors.ts'
import type { Collated } from '../../src/training/collate.ts'
import { gradientGraph } from '../../src/training/graphs.ts'
import { loraAdapters, loraParameters, mergeLora } from '../../src/training/lora.ts'
import { compileTrainer, initialState, startingState } from '../../src/training/trainer.ts'
import { cpu, devices } from '../engine/devices.ts'
import { fixture } from '../models/fixtures.ts'
import { batchesOf, deviation, trained } from './fixture-trainer.ts'

const variants = ['llama-gqa', 'gpt-neox', 'gpt2']
/** As bench/peers/make_lora_fixtures.py has them. */
const lora = { rank: 2, alpha: 6 }

/** PEFT's tensors whose names begin so, without that beginning. */
function reference(variant: string) {
  const file = readFileSync(new URL(`../fixtures/training/lora-${variant}.safetensors`, import.meta.url))
  const { tensors } = readSafetensors(file)
  const named = (prefix: string): TensorMap =>
    new Map(
      [...tensors].flatMap(([name, tensor]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [])),
    )
  return {
    start: named('start.'),
    gradients: named('gradient.'),
    merged: named('merged.'),
    logits: tensors.get('logits')!,
    losses: tensors.get('losses')!.data,
  }
}

/** Logits of every position of a batch. */
async function logits(model: LanguageModel, batch: Collated, values: TensorMap, adapted: boolean) {
  const { hidden, output } = model.graph({ adapters: adapted ? loraAdapters(model, lora) : undefined })
  const executable = await compile({ logits: matmul(hidden, output, { transposeB: true }) }, cpu)
  const feeds = Object.fromEntries(
    [...values].map(([name, { shape, data }]) => [name, new cpu.ort.Tensor('float32', data, shape) as OrtTensor]),
  )
  feeds.tokens = new cpu.ort.Tensor('int32', batch.tokens, batch.shape) as OrtTensor
  const results = await executable.run(feeds)
  await executable.release()
  return results.logits.data as Float32Array
}

const furthest = (found: Float32Array, expected: Float32Array) => {
  expect(found.length).toBe(expected.length)
  return found.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i])), 0)
}

describe.each(variants)('adapters of %s against PEFT', (variant) => {
  const { model, weights } = fixture(variant)
  const { start, gradients, losses, logits: expected, merged } = reference(variant)
  const [[batch]] = batchesOf(variant, 1)

  it('have the names and shapes that PEFT saves', () => {
    const shapes = (entries: Iterable<[string, readonly number[]]>) => new Map(entries)
    expect(shapes(loraParameters(model, lora).map(({ name, shape }) => [name, shape]))).toEqual(
      shapes([...start].map(([name, { shape }]) => [name, shape])),
    )
  })

  it('give its logits to 1e-4', async () => {
    const found = await logits(model, batch, new Map([...weights, ...start]), true)
    expect(furthest(found, expected.data)).toBeLessThan(1e-4)
  })

  it('give its gradients to 1e-3, and its losses over 20 steps of AdamW', async () => {
    const options = { lora, frozen: weights, from: startingState(start), rate: 3e-3 }
    const one = await trained(variant, [[batch]], options)
    const found = new Map(
      [...one.state.first].map(([name, { shape, data }]) => [name, { shape, data: data.map((x) => 10 * x) }]),
    )
    expect(deviation(found, gradients)).toBeLessThan(1e-3)
    const run = await trained(variant, batchesOf(variant, 20), options)
    run.losses.forEach((loss, i) => {
      expect(Math.abs(loss - losses[i]) / losses[i], `step ${i + 1}`).toBeLessThan(1e-3)
    })
  })

  it('merge into the weights that PEFT merges them into, and then give the same logits without adapters', async () => {
    const own = mergeLora(model, weights, start, lora)
    expect(merged.size).toBeGreaterThan(3)
    for (const [name, { data }] of merged) expect(furthest(own.get(name)!.data, data), name).toBeLessThan(1e-5)
    const adapted = await logits(model, batch, new Map([...weights, ...start]), true)
    expect(furthest(await logits(model, batch, own, false), adapted)).toBeLessThan(1e-5)
    // The weights given are left alone.
    expect(weights).toEqual(fixture(variant).weights)
  })

  it('have the gradients of finite differences', () => {
    const outputs = gradientGraph(model, { lora })
    const labels = batch.positions.length
    const array = (shape: readonly number[], data: ArrayLike<number>): NdArray => ({
      shape,
      data: Float64Array.from(data),
    })
    const feeds: Record<string, NdArray> = {
      tokens: array(batch.shape, batch.tokens),
      positions: array([labels], batch.positions),
      targets: array([labels], batch.targets),
      labelWeights: array([labels], new Float32Array(labels).fill(1 / labels)),
    }
    for (const [name, { shape, data }] of [...weights, ...start]) feeds[name] = array(shape, data)
    const found = interpret(outputs, feeds)
    // The first and the last value of the first and the last adapters.
    const names = [...start.keys()]
    for (const name of [...names.slice(0, 2), ...names.slice(-2)]) {
      for (const at of [0, feeds[name].data.length - 1]) {
        const loss = (delta: number) => {
          const data = feeds[name].data.slice()
          data[at] += delta
          return interpret({ loss: outputs.loss }, { ...feeds, [name]: { ...feeds[name], data } }).loss.data[0]
        }
        const slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        expect(found[`gradient/${name}`].data[at], `${name} at ${at}`).toBeCloseTo(slope, 8)
      }
    }
  })
})

describe('training adapters', () => {
  const { model, weights } = fixture('gpt2')

  it('starts at the model itself', async () => {
    const state = initialState({ parameters: loraParameters(model, lora) }, 3)
    const [[batch]] = batchesOf('gpt2', 1)
    const adapted = await trained('gpt2', [[batch]], { lora, frozen: weights, from: state, rate: 0 })
    const whole = await trained('gpt2', [[batch]], { rate: 0 })
    expect(adapted.losses).toEqual(whole.losses)
    // A begins with the deviation of PEFT's Kaiming-uniform factors.
    const a = state.parameters.get('base_model.model.transformer.h.0.mlp.c_proj.lora_A.weight')!
    expect(Math.hypot(...a.data) / Math.sqrt(a.data.length)).toBeCloseTo(1 / Math.sqrt(3 * a.shape[1]), 1)
  })

  it.each(devices)('changes no weight of the model, and learns, on $name', async (device) => {
    const before = structuredClone(weights)
    const trainer = await compileTrainer({ model, device, lora, frozen: weights, optimiser: {} })
    trainer.load(initialState(trainer, 3))
    const [[batch]] = batchesOf('gpt2', 1)
    const losses: number[] = []
    for (let step = 0; step < 4; step++) losses.push((await trainer.train(batch, 1e-2)).loss)
    expect(losses).toEqual([...losses].sort((x, y) => y - x))
    expect([...(await trainer.state()).parameters.keys()]).toEqual(loraParameters(model, lora).map(({ name }) => name))
    expect(weights).toEqual(before)
    await trainer.release()
  })
})
