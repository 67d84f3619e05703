import { describe, expect, it } from 'vitest'
import { gradients } from '../../src/engine/gradient.ts'
import { interpret } from '../../src/engine/interpreter.ts'
import { multiply } from '../../src/engine/operators/elementwise.ts'
import { gatherRows } from '../../src/engine/operators/gather.ts'
import { sum } from '../../src/engine/operators/reduce.ts'
import { recomputed } from '../../src/engine/recompute.ts'
import { input, type NdArray, type Tensor } from '../../src/engine/tensor.ts'
import type { Adapter } from '../../src/models/linear.ts'
import type { ModelGraph } from '../../src/models/model.ts'
import { randomStream } from '../../src/random/philox.ts'
import { fixture, variants } from './fixtures.ts'

/** The weights of a variant and two rows of five tokens, for the float64 oracle. */
function feedsOf(variant: string): Record<string, NdArray> {
  const { weights } = fixture(variant)
  const feeds: Record<string, NdArray> = {
    tokens: { shape: [2, 5], data: Float64Array.of(5, 9, 2, 70, 11, 96, 3, 3, 50, 8) },
    positions: { shape: [3], data: Float64Array.of(7, 1, 3) },
  }
  for (const [name, { shape, data }] of weights) feeds[name] = { shape, data: Float64Array.from(data) }
  return feeds
}

const positions = () => input('positions', ['labels'], 'int32')

/** A loss that weighs hidden states by themselves, and the gradients of all parameters. */
function lossOf({ hidden, parameters }: ModelGraph, rows: Tensor = hidden): Record<string, Tensor> {
  const loss = sum(multiply(rows, rows))
  const reached = [...parameters].filter(([name]) => !/^(lm_head|embed_out)\./.test(name))
  const found = gradients(
    loss,
    reached.map(([, tensor]) => tensor),
  )
  return { loss, ...Object.fromEntries(reached.map(([name], i) => [name, found[i]])) }
}

function expectEqual(found: Record<string, NdArray>, expected: Record<string, NdArray>): void {
  expect(Object.keys(found)).toEqual(Object.keys(expected))
  for (const [name, { shape, data }] of Object.entries(expected)) {
    expect(found[name].shape, name).toEqual(shape)
    const most = data.reduce((a, x) => Math.max(a, Math.abs(x)), 1e-9)
    expect(Math.max(...data.map((x, i) => Math.abs(x - found[name].data[i]))) / most, name).toBeLessThan(1e-9)
  }
}

describe.each(variants)('the graph of %s', (variant) => {
  const { model } = fixture(variant)

  it('has at asked positions the values and gradients of the graph of all positions', () => {
    const asked = model.graph({ positions: positions() })
    const all = model.graph()
    const feeds = feedsOf(variant)
    const expected = interpret(lossOf(all, gatherRows(all.hidden, positions())), feeds)
    expectEqual(interpret(lossOf(asked), feeds), expected)
  })

  it('has the same values and gradients when its blocks are computed again for the gradient', () => {
    const feeds = feedsOf(variant)
    const again = model.graph({ positions: positions(), block: recomputed })
    expectEqual(interpret(lossOf(again), feeds), interpret(lossOf(model.graph({ positions: positions() })), feeds))
  })

  it('gives with adapters what the merged weights give: W + scale B A', () => {
    const feeds = feedsOf(variant)
    const merged = { ...feeds }
    const adapters = new Map<string, Adapter>()
    for (const { module, inputs, outputs } of model.linears) {
      const rank = 2
      const stream = randomStream(7, module)
      const draw = (length: number) => Float64Array.from({ length }, () => stream.normal())
      const [a, b] = [draw(rank * inputs), draw(outputs * rank)]
      feeds[`${module}.a`] = { shape: [rank, inputs], data: a }
      feeds[`${module}.b`] = { shape: [outputs, rank], data: b }
      adapters.set(module, {
        a: input(`${module}.a`, [rank, inputs]),
        b: input(`${module}.b`, [outputs, rank]),
        scale: 0.25,
      })
      const { shape, data } = feeds[`${module}.weight`]
      const conv1d = model.family === 'gpt2'
      expect(shape).toEqual(conv1d ? [inputs, outputs] : [outputs, inputs])
      const update = (o: number, i: number) => 0.25 * (b[2 * o] * a[i] + b[2 * o + 1] * a[inputs + i])
      const at = (k: number) =>
        conv1d ? update(k % outputs, Math.floor(k / outputs)) : update(Math.floor(k / inputs), k % inputs)
      merged[`${module}.weight`] = { shape, data: data.map((w, k) => w + at(k)) }
    }
    const { hidden } = model.graph({ adapters })
    const plain = model.graph().hidden
    expectEqual(interpret({ hidden }, feeds), interpret({ hidden: plain }, merged))
    expect(interpret({ hidden: plain }, feeds).hidden.data).not.toEqual(interpret({ hidden }, feeds).hidden.data)
  })
})
