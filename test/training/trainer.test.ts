import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { llama } from '../../src/models/llama.ts'
import { nanoInitialParameters, nanoRecipe } from '../../src/models/nano.ts'
import { randomStream } from '../../src/random/philox.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { collate } from '../../src/training/collate.ts'
import { cosineRate } from '../../src/training/schedule.ts'
import type { TrainingState } from '../../src/training/state.ts'
import { compileTrainer, initialState, startingState } from '../../src/training/trainer.ts'
import { cpu, devices } from '../engine/devices.ts'
import { collated, fixture, recipesOf, unflatten, variants } from '../models/fixtures.ts'
import { memoryRows } from './rows.ts'

function fixtureState(variant: string): TrainingState {
  const { model, weights } = fixture(variant)
  return { ...initialState(model, 0), parameters: weights }
}

async function curve(variant: string, name: string, device = cpu, chunks = 1) {
  const { model, training } = fixture(variant)
  const { adamw } = training
  const recipe = training.recipes[name]
  const proxy = await compileTrainer({
    model,
    device,
    chunks,
    optimiser: {
      beta1: adamw.betas[0],
      beta2: adamw.betas[1],
      epsilon: adamw.eps,
      weightDecay: recipe.weight_decay,
      maxNorm: recipe.clip ?? Number.POSITIVE_INFINITY,
    },
  })
  proxy.load(fixtureState(variant))
  const losses: number[] = []
  for (const [i, { ids, labels }] of training.batches.entries()) {
    const steps = training.batches.length
    const rate =
      recipe.schedule === 'constant'
        ? adamw.lr
        : cosineRate({ peak: adamw.lr, warmup: recipe.warmup ?? 0, steps }, i + 1)
    const batch = collated(ids, labels)
    losses.push((await proxy.train(batch, rate)).loss)
  }
  const state = await proxy.state()
  await proxy.release()
  return { losses, recipe, state }
}

describe.each(variants)('training %s', (variant) => {
  it.each(recipesOf(variant))('follows the loss curve of PyTorch AdamW for 20 steps: %s', async (name) => {
    const { losses, recipe, state } = await curve(variant, name)
    expect(losses).toHaveLength(20)
    losses.forEach((loss, i) => {
      expect(Math.abs(loss - recipe.losses[i]) / recipe.losses[i], `step ${i + 1}`).toBeLessThan(1e-3)
    })
    for (const [parameter, norm] of Object.entries(recipe.final_norms)) {
      const found = Math.sqrt(state.parameters.get(parameter)!.data.reduce((total, x) => total + x * x, 0))
      expect(Math.abs(found - norm) / norm, parameter).toBeLessThan(1e-3)
    }
  })

  it('scores rows with their mean NLL and mean largest probability', async () => {
    const { model, weights, reference } = fixture(variant)
    const proxy = await compileTrainer({ model, device: cpu, optimiser: {} })
    proxy.load({ ...initialState(model, 0), parameters: weights })
    const [ids, labels] = [unflatten(reference.get('ids')!), unflatten(reference.get('labels')!)]
    const { nll, confidence } = await proxy.scorer.score(collated(ids, labels))
    reference.get('nll')!.data.forEach((expected, row) => {
      expect(nll[row]).toBeCloseTo(expected, 4)
    })
    const { data, shape } = reference.get('logits')!
    const [, length, vocabulary] = shape
    labels.forEach((row, i) => {
      let [total, count] = [0, 0]
      for (let j = 1; j < row.length; j++) {
        if (row[j] === -100) continue
        const at = (i * length + j - 1) * vocabulary
        const logits = Float64Array.from(data.slice(at, at + vocabulary))
        const peak = Math.max(...logits)
        total += 1 / logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0)
        count++
      }
      expect(confidence[i], `row ${i}`).toBeCloseTo(total / count, 5)
    })
    await proxy.release()
  })
})

describe('the compiled proxy', () => {
  it.each(devices)('ends with the same loss on $name', async (device) => {
    const { losses, recipe } = await curve('llama-mha', 'full', device)
    expect(losses.at(-1)).toBeCloseTo(recipe.losses.at(-1)!, 3)
  })

  it('gives the same bits with one thread and with two', async () => {
    const one = await curve('llama-gqa', 'full', { ...cpu, threads: 1 })
    const two = await curve('llama-gqa', 'full', { ...cpu, threads: 2 })
    expect(two.losses).toEqual(one.losses)
    expect(two.state).toEqual(one.state)
  })

  it.each([
    ['many labels', 12, 60, 40],
    ['few labels', 12, 60, 2],
    ['one short row', 1, 9, 3],
  ])('gives the same bits at the size of nano, whatever the threads: %s', async (_, count, length, labelled) => {
    const { config, optimiser } = nanoRecipe({
      tokens: 1e5,
      labels: 5e4,
      rows: 1000,
      vocabularySize: 512,
      maxLength: 64,
    })
    const stream = randomStream(3, 'tokens')
    const rows = memoryRows(
      Array.from({ length: count }, () =>
        Array.from({ length }, (_, j) => (stream.below(512) | (j >= length - labelled ? TRAINED_BIT : 0)) >>> 0),
      ),
    )
    const run = async (threads: number) => {
      const proxy = await compileTrainer({ model: llama(config), device: { ...cpu, threads }, optimiser })
      proxy.load(startingState(nanoInitialParameters(config, 1)))
      const batch = collate(rows, { rows: Uint32Array.from(rows.lengths.keys()), length }, 64, proxy.padding)
      for (let step = 0; step < 3; step++) await proxy.train(batch, 1e-3)
      const result = { scores: await proxy.scorer.score(batch), state: await proxy.state() }
      await proxy.release()
      return result
    }
    const one = await run(1)
    for (const threads of [2, 3]) expect(isDeepStrictEqual(await run(threads), one), `${threads} threads`).toBe(true)
  })

  it('goes on from a saved state with the same bits', async () => {
    const { config, training } = fixture('llama-mha')
    const batches = training.batches.map(({ ids, labels }) => collated(ids, labels))
    const run = async (from: TrainingState, steps: typeof batches) => {
      const proxy = await compileTrainer({ model: llama(config), device: cpu, optimiser: { weightDecay: 0.1 } })
      proxy.load(from)
      for (const batch of steps) await proxy.train(batch, 1e-3)
      const state = await proxy.state()
      await proxy.release()
      return state
    }
    const whole = await run(fixtureState('llama-mha'), batches.slice(0, 6))
    const half = await run(fixtureState('llama-mha'), batches.slice(0, 3))
    expect(await run(half, batches.slice(3, 6))).toEqual(whole)
  })

  it('computes the same losses whatever the chunks of label positions', async () => {
    const { config, training } = fixture('llama-gqa')
    const losses = async (chunks: number) => {
      const proxy = await compileTrainer({ model: llama(config), device: cpu, optimiser: {}, chunks })
      proxy.load(fixtureState('llama-gqa'))
      const found: number[] = []
      for (const { ids, labels } of training.batches.slice(0, 4)) {
        const batch = collated(ids, labels)
        const padding = (chunks - (batch.positions.length % chunks)) % chunks
        const pad = (array: Int32Array) => Int32Array.from([...array, ...new Array<number>(padding).fill(0)])
        found.push(
          (await proxy.train({ ...batch, positions: pad(batch.positions), targets: pad(batch.targets) }, 1e-3)).loss,
        )
      }
      await proxy.release()
      return found
    }
    const whole = await losses(1)
    ;(await losses(5)).forEach((loss, i) => {
      expect(loss).toBeCloseTo(whole[i], 5)
    })
  })

  it('says at which step training diverged', async () => {
    const { config, training } = fixture('llama-mha')
    const proxy = await compileTrainer({ model: llama(config), device: cpu, optimiser: {} })
    const broken = fixtureState('llama-mha')
    const weights = new Map(broken.parameters)
    const embedding = weights.get('model.embed_tokens.weight')!
    weights.set('model.embed_tokens.weight', { ...embedding, data: embedding.data.map(() => Number.NaN) })
    proxy.load({ ...broken, step: 7, parameters: weights })
    const { ids, labels } = training.batches[0]
    await expect(proxy.train(collated(ids, labels), 1e-3)).rejects.toMatchObject({
      fault: { code: 'diverged', message: 'training diverged at step 8' },
    })
    await proxy.release()
  })

  it('counts the FLOPs of its matrix products', async () => {
    const { config } = fixture('llama-mha')
    const proxy = await compileTrainer({ model: llama(config), device: cpu, optimiser: {} })
    const { hiddenSize: d, intermediateSize: f, layers, vocabularySize: v } = config
    const [rows, length, labels] = [3, 12, 10]
    const [all, kept] = [rows * length, labels]
    const attention = layers * (3 * 2 * all * d * d + 4 * all * length * d)
    const rest = (positions: number) => 2 * positions * (d * d + 3 * d * f)
    // What follows attention in the last layer, and the logits, only where there are labels.
    const forward = attention + (layers - 1) * rest(all) + rest(kept) + 2 * kept * d * v
    expect(proxy.flops({ rows, length, labels })).toEqual({ score: forward, train: 3 * forward })
    await proxy.release()
  })
})
