/**
 * Text from a language model, token by token: greedy or sampled, many texts at once, with the keys and values of what was read kept in a cache.
 *
 * Prompts of one length are read together; nothing is padded. A text that ends gives its slot to the next prompt, so the batch stays full until
 * prompts run out. On cpu a text's tokens do not depend on what is decoded beside it, nor on the number of threads.
 */

import type { Device } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { LanguageModel } from '../models/model.ts'
import { compileDecoder, type Decoder } from './decoder.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { type Job, planJobs } from './queue.ts'
import { checkSampling, type Sampling, sampleToken } from './sampling.ts'

export interface GeneratorOptions {
  model: LanguageModel
  /** The model's parameters by name; adapters merged. */
  weights: TensorMap
  device: Device
  /** Longest prompt and continuation together, in tokens; at most the model's own. */
  maxLength: number
  /** Texts that are decoded together. Default 16. */
  batch?: number
}

export interface GenerateOptions {
  /** Token ids of each prompt; none empty. */
  prompts: readonly Uint32Array[]
  /** Tokens of a continuation at most. */
  maxNewTokens: number
  /** Ids that end a text; they are not part of it. */
  stop?: readonly number[]
  /** Default: greedy. */
  sampling?: Sampling
  /** Continuations of each prompt. More than one only with a temperature above 0. Default 1. */
  samples?: number
  /** Added to a prompt's index where randomness is drawn: parts of a list then draw as the whole would. Default 0. */
  first?: number
  signal?: AbortSignal
  /** After each step; `done` and `total` count texts, `tokens` those generated so far. */
  onProgress?: (progress: { done: number; total: number; tokens: number }) => void
}

export interface Generated {
  /** Index in `prompts`. */
  prompt: number
  sample: number
  tokens: Uint32Array
  /** A stop id came; there are `maxNewTokens`; or the window of `maxLength` tokens is full, from the start where the prompt fills it. */
  ended: 'stop' | 'length' | 'window'
}

export interface Generator {
  /**
   * Continuations by prompt, then sample.
   *
   * @throws {WinnowError} `empty-prompt`, `unknown-token`, `bad-option`; `not-finite` where the model's logits are not; `out-of-memory`,
   * `device-lost`; the signal's own reason.
   */
  generate(options: GenerateOptions): Promise<Generated[]>
  release(): Promise<void>
}

/** Tokens of prompts that are read in one run, at most. */
const TOKENS_PER_READING = 2048
export const DEFAULT_BATCH = 16

/**
 * Compiles a model for generation. A continuation y of a prompt x is y_t = argmax p(. | x, y_<t), the lowest id of equal ones, or with a temperature
 * drawn from what `Sampling` describes. Cost: 2 P FLOPs a token, prompts included, and attention over what was read. Memory: the weights, an arranged
 * copy of them (see `compileDecoder`), and for each text decoded at once 2 * layers * groups * head size * 4 bytes a token of its window.
 *
 * Deterministic: on cpu the tokens are a function of model, prompt, sampling and (prompt, sample) index alone. Elsewhere logits may depend in their last
 * bits on the batch, and so may tokens that are nearly equally likely.
 *
 * @throws {WinnowError} `bad-option` where `maxLength` or `batch` cannot be.
 */
export async function compileGenerator(options: GeneratorOptions): Promise<Generator> {
  const { model, weights, device, maxLength, batch = DEFAULT_BATCH } = options
  checkWhole('maxLength', maxLength, model.maxLength)
  checkWhole('batch', batch, 2 ** 20)
  const decoder = await compileDecoder(model, weights, device, maxLength, batch)
  return {
    generate: (asked) => {
      checkAsked(asked, model.vocabularySize)
      return decode(decoder, asked, { maxLength, batch })
    },
    release: () => decoder.release(),
  }
}

/** A text in a slot. */
interface Text {
  job: Job
  tokens: number[]
  /** Tokens in the cache. */
  length: number
}

async function decode(
  decoder: Decoder,
  asked: GenerateOptions,
  { maxLength, batch }: { maxLength: number; batch: number },
): Promise<Generated[]> {
  const { prompts, maxNewTokens, sampling, samples = 1, first = 0, signal, onProgress } = asked
  const stop = new Set(asked.stop)
  const results: Generated[] = []
  const queue = planJobs(prompts, samples, maxLength)
  const total = prompts.length * samples
  let tokens = 0
  const finish = ({ prompt, sample }: Job, text: readonly number[], ended: Generated['ended']) => {
    results[prompt * samples + sample] = { prompt, sample, tokens: Uint32Array.from(text), ended }
    done++
  }
  let done = 0
  for (const job of queue.tooLong) finish(job, [], 'window')

  const longest = queue.longest + maxNewTokens - 1
  const slots = Math.min(batch, queue.count)
  const cache = new KeyValueCache(decoder.layers, slots, Math.min(maxLength, longest))
  const active: Text[] = []

  /** Adds the next token to a text. Whether the text goes on. */
  const extend = (text: Text, id: number): boolean => {
    const { job } = text
    if (stop.has(id)) {
      finish(job, text.tokens, 'stop')
      return false
    }
    text.tokens.push(id)
    tokens++
    if (text.tokens.length === maxNewTokens) finish(job, text.tokens, 'length')
    else if (job.length + text.tokens.length === maxLength) finish(job, text.tokens, 'window')
    else return true
    return false
  }
  const read = async (reading: Parameters<Decoder['greedy']>[0]) => {
    signal?.throwIfAborted()
    if (sampling === undefined || sampling.temperature === 0) {
      const { ids, entries } = await decoder.greedy(reading)
      return { entries, choose: (row: number) => ids[row] }
    }
    const { logits, entries } = await decoder.logits(reading)
    const width = logits.length / reading.rows
    const choose = (row: number, { job, tokens }: Text) => {
      const draw = { prompt: first + job.prompt, sample: job.sample, position: tokens.length }
      return sampleToken(logits.subarray(row * width, (row + 1) * width), sampling, draw)
    }
    return { entries, choose }
  }

  while (done < total) {
    while (active.length < slots && queue.waiting > 0) {
      const group = queue.take(slots - active.length, TOKENS_PER_READING)
      const { length } = group[0].jobs[0]
      cache.reserve(Math.max(length + 1, cache.capacity), active.length)
      const ids = new Int32Array(group.length * length)
      group.forEach(({ prompt }, row) => {
        ids.set(prompts[prompt], row * length)
      })
      const nothing = cache.views(group.length).map(({ name, dims: [rows, groups, , size] }) => ({
        name,
        data: new Float32Array(0),
        dims: [rows, groups, 0, size],
      }))
      const lengths = new Int32Array(group.length)
      const { entries, choose } = await read({ tokens: ids, rows: group.length, length, lengths, past: nothing })
      group.forEach(({ jobs }, row) => {
        for (const job of jobs) {
          const text: Text = { job, tokens: [], length }
          if (!extend(text, choose(row, text))) continue
          cache.write(active.length, 0, entries, row, length)
          active.push(text)
        }
      })
      onProgress?.({ done, total, tokens })
    }
    if (active.length === 0) continue
    const need = active.reduce((most, { length }) => Math.max(most, length), 0)
    cache.reserve(need + 1, active.length)
    const { entries, choose } = await read({
      tokens: Int32Array.from(active, (text) => text.tokens.at(-1) as number),
      rows: active.length,
      length: 1,
      lengths: Int32Array.from(active, ({ length }) => length),
      past: cache.views(active.length),
    })
    const goesOn = active.map((text, row) => {
      cache.write(row, text.length++, entries, row, 1)
      return extend(text, choose(row, text))
    })
    for (let row = active.length - 1; row >= 0; row--) {
      if (goesOn[row]) continue
      const last = active.pop() as Text
      if (row === active.length) continue
      cache.move(active.length, row, last.length)
      active[row] = last
    }
    onProgress?.({ done, total, tokens })
  }
  return results
}

function checkWhole(path: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return
  throw new WinnowError('usage', {
    code: 'bad-option',
    message: `${path} ${value} cannot be`,
    path,
    found: String(value),
    expected: `a whole number from 1 to ${most}`,
  })
}

function checkAsked(asked: GenerateOptions, vocabularySize: number): void {
  const { prompts, maxNewTokens, sampling, samples = 1 } = asked
  checkWhole('maxNewTokens', maxNewTokens, 2 ** 24)
  checkWhole('samples', samples, 2 ** 24)
  if (sampling !== undefined) checkSampling(sampling)
  if (samples > 1 && !(sampling && sampling.temperature > 0))
    throw new WinnowError('usage', {
      code: 'bad-option',
      message: `${samples} greedy continuations of a prompt would be one and the same`,
      path: 'samples',
      found: String(samples),
      expected: '1, or a temperature above 0',
    })
  prompts.forEach((prompt, i) => {
    if (prompt.length === 0)
      throw new WinnowError('input', {
        code: 'empty-prompt',
        message: `prompt ${i} has no tokens, and the model continues from at least one`,
        path: `prompts[${i}]`,
        found: '0 tokens',
        expected: 'at least 1',
        hint: "Begin it with the tokenizer's start token.",
      })
    const unknown = prompt.find((id) => id >= vocabularySize)
    if (unknown !== undefined)
      throw new WinnowError('input', {
        code: 'unknown-token',
        message: `prompt ${i} has a token that the model does not know`,
        path: `prompts[${i}]`,
        found: String(unknown),
        expected: `ids below ${vocabularySize}`,
        hint: "Use the model's own tokenizer.",
      })
  })
}
