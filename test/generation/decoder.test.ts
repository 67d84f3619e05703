import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { interpret } from '../../src/engine/interpreter.ts'
import { matmul } from '../../src/engine/operators/matmul.ts'
import { compile } from '../../src/engine/session.ts'
import type { NdArray, TensorMap } from '../../src/engine/tensor.ts'
import { compileDecoder, decodingGraph, type Reading } from '../../src/generation/decoder.ts'
import { KeyValueCache } from '../../src/generation/key-value-cache.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { cpu } from '../engine/devices.ts'
import { families, modelOf } from './models.ts'

const texts = [
  [7, 3, 52, 52, 9, 11, 80, 2, 33, 60, 5, 5, 1],
  [90, 1, 1, 17, 4, 4, 38, 71, 62, 20, 9, 3, 88],
]

/** Logits of every position by the graph that knows no cache, [texts * length, vocabulary]. */
async function uncached(model: LanguageModel, weights: TensorMap): Promise<Float32Array> {
  const { hidden, output } = model.graph()
  const executable = await compile({ logits: matmul(hidden, output, { transposeB: true }) }, cpu)
  const feeds = executable.inputs.map((name) => {
    if (name === 'tokens') {
      const tokens = Int32Array.from(texts.flat())
      return [name, new cpu.ort.Tensor('int32', tokens, [texts.length, texts[0].length]) as OrtTensor]
    }
    const { data, shape } = weights.get(name)!
    return [name, new cpu.ort.Tensor('float32', data, shape) as OrtTensor]
  })
  const { logits } = await executable.run(Object.fromEntries(feeds))
  await executable.release()
  return logits.data as Float32Array
}

const worst = (found: ArrayLike<number>, expected: Float32Array) => {
  expect(found.length).toBe(expected.length)
  return expected.reduce((most, x, i) => Math.max(most, Math.abs(x - found[i])), 0)
}

/** A prompt, one token at a time, and several at once behind what is cached. */
const pieces = [5, 1, 1, 4, 1, 1]

describe('logits with a cache', () => {
  it.each(families)('%s: those of the whole text at once, to 1e-5', async (variant) => {
    const { model, weights } = modelOf(variant)
    const expected = await uncached(model, weights)
    const vocabulary = model.vocabularySize
    const length = texts[0].length
    const decoder = await compileDecoder(model, weights, cpu, 20, texts.length)
    const cache = new KeyValueCache(decoder.layers, texts.length, 20)
    let at = 0
    for (const size of pieces) {
      cache.reserve(at + size, texts.length)
      const { logits, entries } = await decoder.logits({
        tokens: Int32Array.from(texts.flatMap((text) => text.slice(at, at + size))),
        rows: texts.length,
        length: size,
        lengths: Int32Array.from(texts, () => at),
        past: cache.views(texts.length),
      })
      texts.forEach((_, row) => {
        cache.write(row, at, entries, row, size)
      })
      at += size
      texts.forEach((_, row) => {
        const from = (row * length + at - 1) * vocabulary
        const found = logits.subarray(row * vocabulary, (row + 1) * vocabulary)
        expect(worst(found, expected.slice(from, from + vocabulary)), `${variant}, ${at} tokens`).toBeLessThan(1e-5)
      })
    }
    await decoder.release()
  })

  it.each(['llama-gqa', 'gpt2', 'gpt-neox'])('%s: those of the float64 oracle', async (variant) => {
    const { model, weights } = modelOf(variant)
    const expected = await uncached(model, weights)
    const { outputs, cache } = decodingGraph(model, 20)
    const array = (data: ArrayLike<number>, shape: number[]): NdArray => ({ shape, data: Float64Array.from(data) })
    const feeds: Record<string, NdArray> = {}
    for (const [name, { data, shape }] of weights) feeds[name] = array(data, shape)
    const [text, first] = [texts[0], 6]
    const steps = [text.slice(0, first), text.slice(first, first + 1)]
    let before: Record<string, NdArray> = {}
    cache.layers.forEach(({ past }, layer) => {
      const [, groups, , size] = past.keys.shape as [unknown, number, unknown, number]
      for (const name of ['keys', 'values']) before[`past/${layer}/${name}`] = array([], [1, groups, 0, size])
    })
    let seen = 0
    for (const tokens of steps) {
      const found = interpret(outputs, {
        ...feeds,
        ...before,
        tokens: array(tokens, [1, tokens.length]),
        positions: array([tokens.length - 1], [1]),
        lengths: array([seen], [1]),
      })
      seen += tokens.length
      const from = (seen - 1) * model.vocabularySize
      expect(worst(found.logits.data, expected.slice(from, from + model.vocabularySize))).toBeLessThan(1e-5)
      // One text and one piece before: what it gave is the past as it stands.
      before = Object.fromEntries(Object.keys(before).map((name) => [name, found[name.replace('past', 'present')]]))
    }
  })

  it.each([
    ['stories260K', 70],
    ['llama-mha', 40],
    ['qwen3', 40],
    ['gpt-neox', 40],
    ['gpt2', 20],
  ] as const)('of a row do not depend, to the bit, on the rows beside it, on room in the cache, or on threads: %s', async (variant, size) => {
    const { model, weights } = modelOf(variant)
    const prompt = Int32Array.from({ length: size }, (_, i) => 3 + ((i * 37) % 90))
    const logitsOf = async (rows: number, room: number, threads: number) => {
      const decoder = await compileDecoder(model, weights, { ...cpu, threads }, model.maxLength, rows)
      const cache = new KeyValueCache(decoder.layers, rows, 256)
      const filled = (length: number) => Int32Array.from({ length: rows }, () => length)
      const read = async (reading: Reading) => {
        const { logits, entries } = await decoder.logits(reading)
        for (let row = 0; row < rows; row++) cache.write(row, reading.lengths[row], entries, row, reading.length)
        return logits.slice(-model.vocabularySize)
      }
      cache.reserve(room, 0)
      // The row that is compared is the last one; the others read something else.
      const tokens = Int32Array.from({ length: rows * size }, (_, i) =>
        i < (rows - 1) * size ? 5 + (i % 80) : prompt[i % size],
      )
      const empty = cache.views(rows).map(({ name, dims: [n, groups, , size] }) => ({
        name,
        data: new Float32Array(0),
        dims: [n, groups, 0, size],
      }))
      const first = await read({ tokens, rows, length: size, lengths: filled(0), past: empty })
      const next = Int32Array.from({ length: rows }, (_, row) => (row === rows - 1 ? 44 : row))
      const second = await read({ tokens: next, rows, length: 1, lengths: filled(size), past: cache.views(rows) })
      await decoder.release()
      return [...first, ...second]
    }
    const alone = await logitsOf(1, 128, 1)
    for (const [rows, room, threads] of [
      [2, 128, 1],
      [7, 128, 1],
      [13, 256, 2],
      [1, 192, 3],
      [3, 256, 3],
    ])
      expect(await logitsOf(rows, room, threads), `${rows} rows, room for ${room}, ${threads} threads`).toEqual(alone)
  })
})
