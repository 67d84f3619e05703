import { describe, expect, it } from 'vitest'
import { costsOf } from '../../src/evaluation/costs.ts'
import { madeUp } from './comparisons.ts'

// A pool of 1e5 tokens, a proxy of 1e6 and a target of 1e7 parameters; targets train at 2e-4 s and 6e7 FLOPs a token.
const comparison = madeUp({ methods: { random: 0, s2l: 0, 'ifd@late': 0 }, budgets: ['10%', '100%'] })

describe('costsOf', () => {
  it('the formula is 6 E P D + 2 T P D, 18 P D + 2 T P D for three epochs', () => {
    const { formula } = costsOf(comparison)
    expect(formula!.flops).toBe(18 * 1e6 * 1e5 + 2 * 10 * 1e6 * 1e5)
    expect(costsOf({ ...comparison, proxy: { name: 'nano', parameters: 1e6 } }).formula).toBeUndefined()
  })

  it('a pick saves 6 P E (D - D_selected), and pays above F / (6 E (D - D_selected)) parameters', () => {
    const { methods, epochs } = costsOf(comparison)
    expect(epochs).toBe(1)
    const [s2l] = methods.filter(({ method }) => method === 's2l')
    expect(s2l).toMatchObject({ flops: 3.8e12, seconds: 61 })
    expect(s2l.tokens).toBeCloseTo(3.8e12 / 6e7, 6)
    const [tenth, all] = s2l.budgets
    expect(tenth.saved).toMatchObject({ tokens: 90_000, flops: 6e7 * 90_000 })
    expect(tenth.saved.seconds).toBeCloseTo(18, 9)
    expect(tenth.pays).toEqual({ flops: true, seconds: false })
    expect(tenth.breakEven!.parameters).toBeCloseTo(3.8e12 / (6 * 90_000), 6)
    expect(tenth.breakEven!.epochs).toBeCloseTo(3.8e12 / (6e7 * 90_000), 12)
    expect(tenth.breakEven!.tokens).toBeCloseTo(100_000 - 3.8e12 / 6e7, 6)
    expect(tenth.clock!.epochs).toBeCloseTo(61 / 18, 9)
    expect(tenth.clock!.parameters).toBeCloseTo((1e7 * 61) / 18, 3)
    expect(all).toMatchObject({ saved: { tokens: 0, flops: 0 }, pays: { flops: false, seconds: false } })
    expect([all.breakEven, all.clock]).toEqual([undefined, undefined])
  })

  it('counts the epochs of a comparison of equal epochs', () => {
    const three = costsOf({ ...comparison, training: 'epochs', epochs: 3 })
    const [tenth] = three.methods[1].budgets
    expect(tenth.saved.flops).toBe(6e7 * 3 * 90_000)
    expect(tenth.breakEven!.parameters).toBeCloseTo(3.8e12 / (18 * 90_000), 6)
    expect(tenth.breakEven!.epochs).toBeCloseTo(3.8e12 / (6e7 * 90_000), 12)
    expect(tenth.clock!.parameters).toBeCloseTo((1e7 * 61) / 54, 3)
  })

  it('a selection dearer than all training has no budget at which it pays', () => {
    const costs = comparison.costs.map((cost) => ({ ...cost, flops: 1e13 }))
    const [tenth] = costsOf({ ...comparison, costs }).methods[1].budgets
    expect(tenth.breakEven!.tokens).toBeUndefined()
    expect(tenth.pays.flops).toBe(false)
  })

  it('counts a shared signal once', () => {
    const { signals, whole } = costsOf(comparison)
    expect(signals).toEqual([{ name: 'trajectories', seconds: 60, flops: 3.8e12, methods: ['s2l', 'ifd@late'] }])
    expect(whole.alone.seconds).toBeCloseTo(0.01 + 61 + 61, 9)
    expect(whole.selection.seconds).toBeCloseTo(0.01 + 1 + 1 + 60, 9)
    expect(whole.selection.flops).toBe(3.8e12)
    // 3 methods x 2 budgets x 3 seeds, and full; 500 thousand tokens each.
    expect(whole.training).toMatchObject({ targets: 21, tokens: 21 * 500_000 })
    expect(whole.training.seconds).toBeCloseTo(2100, 6)
  })

  it('applies the published rule to scorers by perplexity, and to those alone', () => {
    const { ratio, methods } = costsOf(comparison)
    expect(ratio).toBe(10)
    expect(methods.map(({ rule }) => rule)).toEqual([undefined, undefined, { above: 5, kept: true }])
    const close = costsOf({ ...comparison, proxy: { name: 'larger', parameters: 4e6 } })
    expect(close.methods[2].rule).toEqual({ above: 5, kept: false })
    expect(costsOf({ ...comparison, proxy: undefined }).methods[2].rule).toBeUndefined()
  })

  it('counts money by FLOPs or by tokens that the target would train on for the same FLOPs', () => {
    const byTokens = costsOf({ ...comparison, price: { perMillionTokens: 8, currency: 'EUR' } }).methods[1]
    expect(byTokens.money).toBeCloseTo((8 * 3.8e12) / 6e7 / 1e6, 12)
    expect(byTokens.budgets[0].saved.money).toBeCloseTo(0.72, 12)
    const byFlops = costsOf({ ...comparison, price: { perFlop: 1e-13, currency: 'EUR' } }).methods[1]
    expect(byFlops.money).toBeCloseTo(0.38, 12)
    expect(byFlops.budgets[0].saved.money).toBeCloseTo(0.54, 12)
    expect(costsOf(comparison).methods[1].money).toBeUndefined()
  })

  it('leaves out methods that were never trained on, and the clock where nothing was', () => {
    const untrained = costsOf({ ...comparison, cells: comparison.cells.filter(({ method }) => method === 'none') })
    expect(untrained.methods).toEqual([])
    expect(untrained.target.secondsPerToken).toBeUndefined()
    expect(costsOf(comparison).target.flopsPerToken).toBeCloseTo(6e7, 3)
  })
})
