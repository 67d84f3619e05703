import { describe, expect, it } from 'vitest'
import { exp } from '../../src/engine/operators/elementwise.ts'
import { gatherRows } from '../../src/engine/operators/gather.ts'
import { reshape } from '../../src/engine/operators/layout.ts'
import { input, type Tensor } from '../../src/engine/tensor.ts'
import type { LanguageModel } from '../../src/models/model.ts'
import { matrix } from '../../src/models/parameters.ts'
import { activationBytes } from '../../src/training/memory.ts'
import { fixture, variants } from '../models/fixtures.ts'

const [v, d] = [11, 6]
const batch = { rows: 3, length: 5, labels: 4 }

/** e^table[token], whose gradient reads what it made. */
const bag: Pick<LanguageModel, 'vocabularySize' | 'layers' | 'parameters' | 'graph'> = {
  vocabularySize: v,
  layers: 1,
  parameters: [matrix('table', [v, d], 1)],
  graph({ positions } = {}) {
    const table = input('table', [v, d])
    const tokens = input('tokens', ['batch', 'length'], 'int32')
    const values = exp(gatherRows(table, reshape(tokens, ['batch*length'])))
    const hidden = gatherRows(reshape(values, ['batch*length', d]), positions as Tensor)
    return { parameters: new Map([['table', table]]), tokens, hidden, output: table }
  },
}

describe('activationBytes', () => {
  it('counts by hand: what is read backwards, and logits with their softmax', () => {
    // e^x of every position, the loss's gradient of hidden states at labels; logits and softmax.
    const values = 3 * 5 * d + 4 * d + 2 * 4 * v
    expect(activationBytes(bag as LanguageModel, {}, batch)).toBe(4 * values)
    expect(activationBytes(bag as LanguageModel, { chunks: 2 }, batch)).toBe(4 * (values - 4 * v))
  })

  it.each(variants)('grows with rows, length and labels, and shrinks with recomputation and chunks: %s', (variant) => {
    const { model } = fixture(variant)
    const bytes = activationBytes(model, {}, batch)
    for (const more of [{ rows: 4 }, { length: 6 }, { labels: 5 }])
      expect(activationBytes(model, {}, { ...batch, ...more })).toBeGreaterThan(bytes)
    expect(activationBytes(model, { recompute: true }, batch)).toBeLessThan(bytes)
    expect(activationBytes(model, { chunks: 2 }, batch)).toBeLessThan(bytes)
  })

  it('takes a layer for each of its layers, but for the last, which is computed at labels only', () => {
    const { model } = fixture('gpt2')
    const kept = activationBytes(model, {}, batch)
    const again = activationBytes(model, { recompute: true }, batch)
    expect(kept / again).toBeGreaterThan(1.3)
  })
})
