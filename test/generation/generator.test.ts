import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { compileDecoder } from '../../src/generation/decoder.ts'
import { compileGenerator, type Generator } from '../../src/generation/generator.ts'
import type { Sampling } from '../../src/generation/sampling.ts'
import { languageModel } from '../../src/models/config.ts'
import { initialParameters } from '../../src/models/parameters.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { cpu } from '../engine/devices.ts'
import { families, greedy, modelOf } from './models.ts'

const compiled: Generator[] = []
async function generatorOf(variant: string, options: { batch?: number; threads?: number; maxLength?: number } = {}) {
  const { batch, threads = 2, maxLength = 32 } = options
  const generator = await compileGenerator({ ...modelOf(variant), device: { ...cpu, threads }, maxLength, batch })
  compiled.push(generator)
  return generator
}
afterAll(async () => {
  for (const generator of compiled) await generator.release()
})

const prompts = greedy.prompts.map((ids) => Uint32Array.from(ids))
const idsOf = (results: { tokens: Uint32Array }[]) => results.map(({ tokens }) => [...tokens])

describe('greedy generation', () => {
  it.each([
    ...families,
    'stories260K',
  ])("%s: the tokens of transformers' generate, in batches of 2", async (variant) => {
    const generator = await generatorOf(variant, { batch: 2 })
    const results = await generator.generate({ prompts, maxNewTokens: greedy.continuations[variant][0].length })
    expect(idsOf(results)).toEqual(greedy.continuations[variant])
    expect(results.map(({ prompt, sample, ended }) => [prompt, sample, ended])).toEqual(
      prompts.map((_, i) => [i, 0, 'length']),
    )
  })

  it('of stories260K tells the story that its author published', async () => {
    const generator = await generatorOf('stories260K', { maxLength: 220 })
    const [{ tokens }] = await generator.generate({ prompts: [Uint32Array.of(1)], maxNewTokens: 200 })
    const file = new URL('../fixtures/tokenizer/stories260k/tokenizer.json', import.meta.url)
    const tokenizer = loadTokenizer(readFileSync(file, 'utf8'))
    // How the text begins that llama2.c's own tests expect of this model.
    expect(tokenizer.decode(tokens).trimStart()).toMatch(
      /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the park\. One day, she saw a big, red ball\./,
    )
  })

  it.each([
    true,
    false,
  ])('of a large vocabulary is the first of the likeliest, in any batch (tied embeddings: %s)', async (tied) => {
    const model = languageModel({
      ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', hidden_size: 32 },
      ...{
        num_hidden_layers: 2,
        intermediate_size: 64,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        vocab_size: 9001,
      },
      ...{ max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: tied },
      ...{ initializer_range: 0.5 },
    })
    const weights = initialParameters(model.parameters, 3)
    const many = Array.from({ length: 14 }, (_, i) =>
      Uint32Array.from({ length: 1 + (i % 5) }, (_, j) => (i * 311 + j * 1700) % 9001),
    )
    const device = { ...cpu, threads: 2 }
    const continuations = async (batch: number, sampling?: Sampling) => {
      const generator = await compileGenerator({ model, weights, device, maxLength: 64, batch })
      compiled.push(generator)
      return idsOf(await generator.generate({ prompts: many, maxNewTokens: 30, sampling }))
    }
    const sampled = await continuations(14, { temperature: 1, topK: 1, seed: 0 })
    expect(new Set(sampled.flat()).size).toBeGreaterThan(50)
    for (const batch of [1, 14, 40]) expect(await continuations(batch)).toEqual(sampled)
  })

  it('gives the same tokens whatever the batch, the threads and the order of prompts', async () => {
    const many = Array.from({ length: 23 }, (_, i) =>
      Uint32Array.from({ length: 1 + ((i * 7) % 12) }, (_, j) => (i * 31 + j * 17) % 512),
    )
    const continuations = async (batch: number, threads: number, from: readonly Uint32Array[]) => {
      const generator = await generatorOf('stories260K', { batch, threads, maxLength: 100 })
      return idsOf(await generator.generate({ prompts: from, maxNewTokens: 70 }))
    }
    const alone = await continuations(1, 1, many)
    expect(await continuations(5, 2, many)).toEqual(alone)
    expect(await continuations(23, 3, many)).toEqual(alone)
    expect(await continuations(4, 2, many.toReversed())).toEqual(alone.toReversed())
  })

  it('ends at a stop id, which is not part of the text', async () => {
    const generator = await generatorOf('gpt-neox')
    const [expected] = greedy.continuations['gpt-neox']
    const stop = expected[4]
    const at = expected.indexOf(stop)
    const [result] = await generator.generate({ prompts: [prompts[0]], maxNewTokens: 18, stop: [96, stop] })
    expect({ ...result, tokens: [...result.tokens] }).toEqual({
      prompt: 0,
      sample: 0,
      tokens: expected.slice(0, at),
      ended: 'stop',
    })
  })

  it('ends at the first token where that is a stop id, and goes on with the prompts that wait', async () => {
    const generator = await generatorOf('gpt-neox', { batch: 1 })
    const [expected, second] = greedy.continuations['gpt-neox']
    const asked = { prompts: prompts.slice(0, 2), maxNewTokens: 3, stop: [expected[0]] }
    const [first, other] = await generator.generate(asked)
    expect([first.tokens.length, first.ended]).toEqual([0, 'stop'])
    expect([...other.tokens]).toEqual(second.slice(0, 3))
  })

  it('ends where prompt and continuation fill the window', async () => {
    const generator = await generatorOf('gpt2', { maxLength: 12 })
    const results = await generator.generate({ prompts, maxNewTokens: 18 })
    // Prompts of 3, 1, 12, 2 and 3 tokens.
    expect(results.map(({ tokens, ended }) => [tokens.length, ended])).toEqual(
      [9, 11, 0, 10, 9].map((length) => [length, 'window']),
    )
    expect([...results[0].tokens]).toEqual(greedy.continuations.gpt2[0].slice(0, 9))
  })

  it("uses a window as long as the model's own", async () => {
    const { model } = modelOf('gpt2')
    const generator = await generatorOf('gpt2', { maxLength: model.maxLength })
    const [result] = await generator.generate({ prompts: [Uint32Array.of(4)], maxNewTokens: 1000 })
    expect([result.tokens.length, result.ended]).toEqual([model.maxLength - 1, 'window'])
  })

  it('tells what was done, and stops when it is asked to', async () => {
    const generator = await generatorOf('gpt2', { batch: 2 })
    const seen: { done: number; total: number; tokens: number }[] = []
    await generator.generate({ prompts, maxNewTokens: 4, onProgress: (progress) => seen.push(progress) })
    expect(seen.at(-1)).toEqual({ done: 5, total: 5, tokens: 20 })
    expect(seen.map(({ tokens }) => tokens)).toEqual(seen.map(({ tokens }) => tokens).toSorted((a, b) => a - b))
    const stop = new AbortController()
    const asked = { prompts, maxNewTokens: 4, signal: stop.signal, onProgress: () => stop.abort(new Error('enough')) }
    await expect(generator.generate(asked)).rejects.toThrow('enough')
  })

  it('of no prompts is nothing', async () => {
    expect(await (await generatorOf('gpt2')).generate({ prompts: [], maxNewTokens: 4 })).toEqual([])
  })
})

describe('sampled generation', () => {
  const sampling = { temperature: 1.2, topP: 0.95, seed: 5 }

  it('is the same whatever the batch, and in parts', async () => {
    const asked = { prompts, maxNewTokens: 8, samples: 3, sampling }
    const whole = await (await generatorOf('qwen3', { batch: 15 })).generate(asked)
    expect(whole.map(({ prompt, sample }) => [prompt, sample])).toEqual(
      prompts.flatMap((_, prompt) => [0, 1, 2].map((sample) => [prompt, sample])),
    )
    const narrow = await generatorOf('qwen3', { batch: 2, threads: 1 })
    expect(idsOf(await narrow.generate(asked))).toEqual(idsOf(whole))
    const part = await narrow.generate({ ...asked, prompts: prompts.slice(2), first: 2 })
    expect(idsOf(part)).toEqual(idsOf(whole).slice(6))
    const fewer = await narrow.generate({ ...asked, samples: 1 })
    expect(idsOf(fewer)).toEqual(idsOf(whole.filter(({ sample }) => sample === 0)))
  })

  it('differs from sample to sample and from seed to seed', async () => {
    const generator = await generatorOf('qwen3')
    const texts = async (seed: number) =>
      idsOf(
        await generator.generate({
          prompts: [prompts[2]],
          maxNewTokens: 8,
          samples: 6,
          sampling: { ...sampling, seed },
        }),
      )
    const [one, other] = [await texts(5), await texts(6)]
    expect(new Set([...one, ...other].map(String)).size).toBe(12)
  })

  it('at temperature 0 is greedy', async () => {
    const generator = await generatorOf('llama-gqa')
    const results = await generator.generate({ prompts, maxNewTokens: 18, sampling: { temperature: 0, seed: 1 } })
    expect(idsOf(results)).toEqual(greedy.continuations['llama-gqa'])
  })

  it('has the frequencies of the model: chi-squared of 4,000 first tokens', async () => {
    const { model, weights } = modelOf('llama-gqa')
    const decoder = await compileDecoder(model, weights, cpu, 16, 1)
    const past = decoder.layers.flatMap(({ past }) =>
      Object.values(past).map(({ node, shape: [, groups, , size] }) => ({
        name: node.name as string,
        data: new Float32Array(0),
        dims: [1, groups as number, 0, size as number],
      })),
    )
    const { logits } = await decoder.logits({
      tokens: Int32Array.from(prompts[2]),
      rows: 1,
      length: 12,
      lengths: Int32Array.of(0),
      past,
    })
    await decoder.release()
    const exact = Array.from(logits, (logit) => Math.exp(logit / 1.5))
    const mass = exact.reduce((a, b) => a + b)
    const draws = 4000
    const generator = await generatorOf('llama-gqa', { batch: 500 })
    const results = await generator.generate({
      prompts: [prompts[2]],
      maxNewTokens: 1,
      samples: draws,
      sampling: { temperature: 1.5, seed: 3 },
    })
    const counts = new Float64Array(model.vocabularySize)
    for (const { tokens } of results) counts[tokens[0]]++
    // Tokens expected fewer than 5 times count as one.
    const rare = { expected: 0, found: 0 }
    let [chi, cells] = [0, 0]
    exact.forEach((weight, id) => {
      const expected = (draws * weight) / mass
      if (expected < 5) {
        rare.expected += expected
        rare.found += counts[id]
        return
      }
      chi += (counts[id] - expected) ** 2 / expected
      cells++
    })
    if (rare.expected > 0) chi += (rare.found - rare.expected) ** 2 / rare.expected
    // Mean `cells`, deviation sqrt(2 cells): four deviations above.
    expect(cells).toBeGreaterThan(20)
    expect(chi).toBeLessThan(cells + 4 * Math.sqrt(2 * cells))
  })
})

describe('what cannot be generated from', () => {
  const faultOf = async (work: () => Promise<unknown>) => {
    const error = await work().then(
      () => undefined,
      (error) => error,
    )
    expect(error).toBeInstanceOf(WinnowError)
    return (error as WinnowError).fault
  }

  it.each([
    ['an empty prompt', { prompts: [Uint32Array.of(1), new Uint32Array(0)] }, 'empty-prompt', 'prompts[1]'],
    ['a token that the model lacks', { prompts: [Uint32Array.of(1, 97)] }, 'unknown-token', 'prompts[0]'],
    ['no new tokens', { maxNewTokens: 0 }, 'bad-option', 'maxNewTokens'],
    ['several greedy samples', { samples: 2 }, 'bad-option', 'samples'],
    ['half a sample', { samples: 0.5 }, 'bad-option', 'samples'],
    ['a negative temperature', { sampling: { temperature: -1, seed: 0 } }, 'bad-option', 'temperature'],
    ['no nucleus', { sampling: { temperature: 1, topP: 0, seed: 0 } }, 'bad-option', 'topP'],
    ['a nucleus of more than all', { sampling: { temperature: 1, topP: 1.1, seed: 0 } }, 'bad-option', 'topP'],
    ['no token to sample', { sampling: { temperature: 1, topK: 0, seed: 0 } }, 'bad-option', 'topK'],
    ['a broken seed', { sampling: { temperature: 1, seed: 0.5 } }, 'bad-option', 'seed'],
  ])('%s is refused', async (_, options, code, path) => {
    const generator = await generatorOf('gpt2')
    const asked = { prompts: [Uint32Array.of(1)], maxNewTokens: 2, ...options }
    expect(await faultOf(async () => generator.generate(asked))).toMatchObject({ code, path })
  })

  it('a window longer than the model, or no batch', async () => {
    expect(await faultOf(() => generatorOf('gpt2', { maxLength: 33 }))).toMatchObject({
      code: 'bad-option',
      path: 'maxLength',
    })
    expect(await faultOf(() => generatorOf('gpt2', { batch: 0 }))).toMatchObject({ code: 'bad-option', path: 'batch' })
  })

  it.each([
    { temperature: 0, seed: 0 },
    { temperature: 1, seed: 0 },
  ])('broken weights, at temperature $temperature', async (sampling) => {
    const { model, weights } = modelOf('gpt2')
    const broken = new Map(weights)
    const gain = weights.get('transformer.ln_f.weight')!
    broken.set('transformer.ln_f.weight', { ...gain, data: gain.data.map(() => Number.NaN) })
    const generator = await compileGenerator({ model, weights: broken, device: cpu, maxLength: 8 })
    compiled.push(generator)
    expect(await faultOf(() => generator.generate({ prompts, maxNewTokens: 2, sampling }))).toMatchObject({
      code: 'not-finite',
    })
  })
})
