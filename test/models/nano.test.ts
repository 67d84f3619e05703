import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openDataset } from '../../src/dataset/dataset.ts'
import { llama } from '../../src/models/llama.ts'
import { nanoInitialParameters, nanoRecipe, nanoVocabulary } from '../../src/models/nano.ts'
import { countParameters } from '../../src/models/parameters.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { trainTokenizer } from '../../src/tokenizer/train.ts'
import type { TokenRows } from '../../src/training/rows.ts'
import { compileTrainer, startingState } from '../../src/training/trainer.ts'
import { recordTrajectories } from '../../src/training/trajectories.ts'
import { cpu } from '../engine/devices.ts'

const pool = (tokens: number) => ({ tokens, labels: tokens / 2, rows: Math.ceil(tokens / 200), vocabularySize: 1024 })

describe('the vocabulary of nano', () => {
  it('is a power of two between 512 and 8192 that never shrinks as the text grows', () => {
    const size = fc.integer({ min: 0, max: 1e12 })
    fc.assert(
      fc.property(size, size, (a, b) => {
        const [smaller, larger] = [nanoVocabulary(Math.min(a, b)), nanoVocabulary(Math.max(a, b))]
        expect(smaller).toBeLessThanOrEqual(larger)
        expect([512, 1024, 2048, 4096, 8192]).toContain(smaller)
      }),
    )
  })

  it('follows the square root of the bytes', () => {
    expect(nanoVocabulary(0)).toBe(512)
    expect(nanoVocabulary(2 ** 20)).toBe(1024)
    expect(nanoVocabulary(2 ** 22)).toBe(2048)
    expect(nanoVocabulary(2 ** 40)).toBe(8192)
  })
})

describe('the recipe of nano', () => {
  it('is a model and a schedule that can run, for a pool of any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e10 }), (tokens) => {
        const { config, recipe } = nanoRecipe(pool(tokens))
        expect(() => llama(config).parameters).not.toThrow()
        expect(Number.isInteger(recipe.epochs) && recipe.epochs >= 2 && recipe.epochs <= 12).toBe(true)
        expect(recipe.tokensPerBatch).toBeGreaterThanOrEqual(512)
        expect(recipe.warmupShare + recipe.floorShare).toBeLessThan(1)
      }),
    )
  })

  it('never gives a larger pool the smaller model, the smaller batch or more epochs', () => {
    const tokens = fc.integer({ min: 1, max: 1e9 })
    fc.assert(
      fc.property(tokens, tokens, (a, b) => {
        const [small, large] = [nanoRecipe(pool(Math.min(a, b))), nanoRecipe(pool(Math.max(a, b)))]
        const size = ({ config }: typeof small) => countParameters(llama(config).parameters)
        expect(size(small)).toBeLessThanOrEqual(size(large))
        expect(small.recipe.tokensPerBatch).toBeLessThanOrEqual(large.recipe.tokensPerBatch)
        expect(small.recipe.epochs).toBeGreaterThanOrEqual(large.recipe.epochs)
        expect(small.recipe.rate).toBeGreaterThanOrEqual(large.recipe.rate)
      }),
    )
  })

  it('cuts rows where it is told to', () => {
    const { config, recipe } = nanoRecipe({ ...pool(1e5), maxLength: 96 })
    expect([config.maxLength, recipe.maxLength]).toEqual([96, 96])
    expect(nanoRecipe(pool(1e5)).recipe.maxLength).toBe(512)
  })
})

describe('the starting parameters of nano', () => {
  const { config } = nanoRecipe(pool(1e5))
  const parameters = nanoInitialParameters(config, 7)

  it('have the deviation of their fan-in, the embedding 0.5', () => {
    for (const [name, { shape, data }] of parameters) {
      const deviation = Math.sqrt(data.reduce((total, x) => total + x * x, 0) / data.length)
      const writes = /(o_proj|down_proj)\.weight$/.test(name)
      const expected = name.includes('embed')
        ? 0.5
        : shape.length === 1
          ? 1
          : 1 / Math.sqrt(shape[1] * (writes ? 2 * config.layers : 1))
      expect(Math.abs(deviation / expected - 1), name).toBeLessThan(0.03)
    }
  })

  it('are those that the model asks for, the same bits for a seed and others for another', () => {
    expect([...parameters].map(([name, { shape }]) => [name, shape])).toEqual(
      llama(config).parameters.map(({ name, shape }) => [name, shape]),
    )
    expect(nanoInitialParameters(config, 7)).toEqual(parameters)
    const other = nanoInitialParameters(config, 8).get('lm_head.weight')!
    expect(other.data).not.toEqual(parameters.get('lm_head.weight')!.data)
  })
})

describe('a proxy run by the recipe', () => {
  it('learns a small real pool: the loss ends under half of a uniform guess, and falls from checkpoint to checkpoint', async () => {
    const { config, recipe, optimiser, rows } = await smallPool(20)
    const proxy = await compileTrainer({ model: llama(config), device: { ...cpu, threads: 1 }, optimiser })
    proxy.load(startingState(nanoInitialParameters(config, 0)))
    const means: number[] = []
    for await (const { nll } of recordTrajectories({
      proxy,
      rows,
      recipe,
      seed: 0,
      checkpoints: 4,
    }))
      means.push(nll.reduce((a, b) => a + b, 0) / nll.length)
    await proxy.release()
    expect(means).toHaveLength(4)
    // Before training every row costs about log V = 6.2 nats a token.
    expect(means[3]).toBeLessThan(Math.log(config.vocabularySize) / 2)
    for (let t = 1; t < 4; t++) expect(means[t], `checkpoint ${t}`).toBeLessThan(means[t - 1] - 0.05)
  })
})

/** The first rows of the example pool, tokenised and planned as a run does it. */
async function smallPool(count: number) {
  const dataset = await openDataset([new URL('../../examples/math.jsonl', import.meta.url).pathname])
  const first = await dataset.batches().next()
  if (first.done) throw new Error('the example pool is empty')
  const turns = first.value.records.slice(0, count).map((record) => record.turns)
  const texts = turns.flatMap((row) => row.map(({ content }) => content))
  const bytes = texts.reduce((total, text) => total + Buffer.byteLength(text), 0)
  const { json, vocabularySize } = trainTokenizer(texts, { vocabularySize: nanoVocabulary(bytes) })
  const { encodeTurns } = loadTokenizer(json)
  const tokens = turns.map((record) => encodeTurns(record))
  const sum = (values: Uint32Array) => values.reduce((a, b) => a + b, 0)
  const rows: TokenRows = {
    count,
    lengths: Uint32Array.from(tokens, (row) => row.length),
    labels: Uint32Array.from(tokens, (row) => row.reduce((total, token) => total + (token >>> 31), 0)),
    read: (row) => tokens[row],
  }
  return { ...nanoRecipe({ tokens: sum(rows.lengths), labels: sum(rows.labels), rows: count, vocabularySize }), rows }
}
