import { describe, expect, it } from 'vitest'
import { openHiddenStates } from '../../src/embedding/hidden-states.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import type { Device } from '../../src/engine/session.ts'
import type { TensorMap } from '../../src/engine/tensor.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import type { TokenRows } from '../../src/training/rows.ts'
import { cpu, devices } from '../engine/devices.ts'
import { fixture, logitsOnly, storiesModel, storiesNll, variants } from '../models/fixtures.ts'
import { largestDifference, row } from './vectors.ts'

function tokenRows(ids: readonly (readonly number[])[]): TokenRows {
  const rows = ids.map((row) => Uint32Array.from(row, (id, i) => (i % 3 === 1 ? (id | TRAINED_BIT) >>> 0 : id)))
  return {
    count: rows.length,
    lengths: Uint32Array.from(rows, ({ length }) => length),
    labels: Uint32Array.from(rows, (row) => row.filter((id) => id >= TRAINED_BIT).length),
    read: (row) => rows[row],
  }
}

/** One row, unpadded, in float64 by the interpreter. */
function reference(model: LanguageModel, weights: TensorMap, ids: readonly number[]): number[] {
  const d = model.hiddenSize
  if (ids.length === 0) return Array(d).fill(0)
  const { hidden } = model.graph()
  const feeds = Object.fromEntries(
    [...weights].map(([name, { shape, data }]) => [name, { shape: [...shape], data: Float64Array.from(data) }]),
  )
  const tokens = { shape: [1, ids.length], data: Float64Array.from(ids) }
  const states = interpret({ hidden }, { ...feeds, tokens }).hidden.data
  const vector = Array.from({ length: d }, (_, k) => ids.reduce((sum, _, i) => sum + (i + 1) * states[i * d + k], 0))
  const norm = Math.hypot(...vector)
  return vector.map((value) => value / norm)
}

/** Rows of 0 to 12 tokens of a vocabulary of 97. */
const IDS = [[5, 17, 3, 60, 2, 2, 41], [], [96], [8, 1, 90, 33, 54, 21, 7, 7, 19, 28, 61, 4], [33, 12], [0, 1, 2]]
const ALL = Uint32Array.from(IDS.keys())

describe.each(devices)('hidden states on $name', (device) => {
  it.each(
    device.name === 'cpu' ? [...variants, ...logitsOnly] : ['llama-gqa', 'gpt2'],
  )('of %s are those of float64, each row alone', async (variant) => {
    const { model, weights } = fixture(variant)
    await using states = await openHiddenStates({ model, weights, device, maxLength: 12, tokensPerBatch: 24 })
    expect(states.dimensions).toBe(model.hiddenSize)
    const vectors = await states.embed(tokenRows(IDS), ALL)
    IDS.forEach((ids, i) => {
      expect(largestDifference(row(vectors, i, model.hiddenSize), reference(model, weights, ids))).toBeLessThan(1e-5)
    })
  })
})

describe('hidden states', () => {
  it('of a real model are those of float64', async () => {
    const { model, weights } = storiesModel()
    const ids = storiesNll().map((item) => item.ids.slice(0, 40))
    await using states = await openHiddenStates({ model, weights, device: cpu, maxLength: 40 })
    const vectors = await states.embed(tokenRows(ids), Uint32Array.from(ids.keys()))
    for (const i of [0, 7, 14])
      expect(largestDifference(row(vectors, i, model.hiddenSize), reference(model, weights, ids[i]))).toBeLessThan(1e-5)
  })

  it('are given in the order asked for, rows repeated where they are', async () => {
    const { model, weights } = fixture('llama-gqa')
    await using states = await openHiddenStates({ model, weights, device: cpu, maxLength: 12 })
    const d = states.dimensions
    const all = await states.embed(tokenRows(IDS), ALL)
    const some = await states.embed(tokenRows(IDS), Uint32Array.of(3, 1, 0, 3))
    ;[3, 1, 0, 3].forEach((asked, i) => {
      expect(largestDifference(row(some, i, d), row(all, asked, d))).toBeLessThan(1e-6)
    })
    expect(row(all, 1, d)).toEqual(Array(d).fill(0))
  })

  it('are of the row cut to the maximum length', async () => {
    const { model, weights } = fixture('qwen2')
    await using states = await openHiddenStates({ model, weights, device: cpu, maxLength: 5 })
    const cut = IDS.map((ids) => ids.slice(0, 5))
    expect(await states.embed(tokenRows(IDS), ALL)).toEqual(await states.embed(tokenRows(cut), ALL))
  })

  it('are the same bits with any number of threads, few rows or many', async () => {
    const { model, weights } = storiesModel()
    const ids = storiesNll().map((item) => item.ids)
    const found = []
    for (const threads of [1, 2, 3]) {
      const device: Device = { ...cpu, threads }
      await using states = await openHiddenStates({ model, weights, device, maxLength: 128, tokensPerBatch: 512 })
      const rows = tokenRows(ids)
      found.push([await states.embed(rows, Uint32Array.from(ids.keys())), await states.embed(rows, Uint32Array.of(2))])
    }
    expect(found[1]).toEqual(found[0])
    expect(found[2]).toEqual(found[0])
  })

  it('tell rows done, and stop between batches', async () => {
    const { model, weights } = fixture('llama-gqa')
    await using states = await openHiddenStates({ model, weights, device: cpu, maxLength: 12, tokensPerBatch: 12 })
    const done: number[] = []
    await states.embed(tokenRows(IDS), ALL, { onProgress: (rows) => done.push(rows) })
    expect(done).toEqual(done.toSorted((a, b) => a - b))
    expect(done.at(-1)).toBe(IDS.length)
    const stop = new AbortController()
    const embedding = states.embed(tokenRows(IDS), ALL, { signal: stop.signal, onProgress: () => stop.abort('enough') })
    await expect(embedding).rejects.toBe('enough')
  })

  it('of a diverged model are refused', async () => {
    const { model, weights } = fixture('llama-gqa')
    const broken: TensorMap = new Map(
      [...weights].map(([name, tensor]) => [name, { ...tensor, data: tensor.data.map(() => Number.NaN) }]),
    )
    await using states = await openHiddenStates({ model, weights: broken, device: cpu, maxLength: 12 })
    await expect(states.embed(tokenRows(IDS), Uint32Array.of(4))).rejects.toThrow(/not finite \(found .* row 4\)/)
  })

  it.each([0, 1.5, 1e6])('cannot have a maximum length of %s', async (maxLength) => {
    const { model, weights } = fixture('llama-gqa')
    await expect(openHiddenStates({ model, weights, device: cpu, maxLength })).rejects.toMatchObject({
      fault: { code: 'bad-option', path: 'maxLength' },
    })
  })
})
