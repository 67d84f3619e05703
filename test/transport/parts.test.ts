import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sampleCost } from '../../src/transport/cost.ts'
import { exponential, LEAST_EXPONENT, logarithm } from '../../src/transport/exponential.ts'
import { calibratedGradient } from '../../src/transport/gradient.ts'
import { ranksOf, spearman } from '../../src/transport/ranks.ts'
import { adaptiveRelaxation, fixedRelaxation } from '../../src/transport/relaxation.ts'
import { assemble, functionBuilder, i32, loopWhile, V128, v128 } from '../../src/webassembly/assembler.ts'
import { WebAssembly } from '../../src/webassembly/webassembly.ts'
import { clustered, vectorsOf } from '../similarity/vectors.ts'

/** Runs a generated function of four lanes over many values. */
async function overValues(generate: typeof exponential, relaxed: boolean, values: Float32Array): Promise<Float32Array> {
  const build = functionBuilder(1)
  const [end] = build.parameters
  const at = build.local(0x7f)
  const [x, whole, rest] = Array.from({ length: 3 }, () => build.local(V128))
  const code = build.close([
    ...at.set(i32.const(0)),
    ...loopWhile(
      i32.ltU(at.get, end.get),
      x.set(v128.load(at.get)),
      x.set(generate({ x, whole, rest }, relaxed)),
      v128.store(at.get, x.get),
      at.set(i32.add(at.get, i32.const(16))),
    ),
    ...i32.const(0),
  ])
  const pages = 64
  const functions = [{ name: 'run', parameters: 1, code }]
  const module = await WebAssembly.compile(assemble({ pages, shared: false, imports: [], functions }))
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: false })
  const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
  const view = new Float32Array(memory.buffer, 0, values.length)
  view.set(values)
  ;(exports as { run(end: number): number }).run(4 * values.length)
  return view.slice()
}

describe.each([true, false])('with fused multiply-add allowed: %s', (relaxed) => {
  it('exp is within 2e-7 of the truth, and 0 below its least exponent', async () => {
    const values = Float32Array.from({ length: 200_000 }, (_, i) => -55 + (i * 60) / 200_000)
    const found = await overValues(exponential, relaxed, values)
    let worst = 0
    values.forEach((x, i) => {
      if (x < LEAST_EXPONENT) expect(found[i]).toBe(0)
      else worst = Math.max(worst, Math.abs(found[i] / Math.exp(x) - 1))
    })
    expect(worst).toBeLessThan(2e-7)
    expect([...(await overValues(exponential, relaxed, Float32Array.of(0, -0, -1e30, -Infinity)))]).toEqual([
      1, 1, 0, 0,
    ])
  })

  it('log is within 3e-7 of the truth, also beside 1', async () => {
    const values = Float32Array.from({ length: 200_000 }, (_, i) =>
      i % 2 === 0 ? 2 ** (-120 + (i * 240) / 200_000) : 1 + (i - 100_000) / 200_000,
    )
    const found = await overValues(logarithm, relaxed, values)
    let worst = 0
    values.forEach((x, i) => {
      if (x !== 1) worst = Math.max(worst, Math.abs(found[i] / Math.log(x) - 1))
    })
    expect(worst).toBeLessThan(3e-7)
    expect((await overValues(logarithm, relaxed, new Float32Array(4).fill(1)))[0]).toBe(0)
  })
})

describe('the calibrated gradient', () => {
  const potentials = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 40 })

  it('is each potential less the mean of the others, sums to 0 and does not know of constants', () => {
    fc.assert(
      fc.property(potentials, fc.double({ min: -100, max: 100, noNaN: true }), (values, constant) => {
        const gradient = calibratedGradient(Float64Array.from(values))
        const shifted = calibratedGradient(Float64Array.from(values, (value) => value + constant))
        const total = values.reduce((sum, value) => sum + value, 0)
        gradient.forEach((value, j) => {
          expect(value).toBeCloseTo(values[j] - (total - values[j]) / (values.length - 1), 6)
          expect(shifted[j]).toBeCloseTo(value, 6)
        })
        expect(gradient.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 6)
      }),
    )
  })

  it('takes the mean of the rows that count alone', () => {
    expect([...calibratedGradient(Float64Array.of(1, 3, 100), Uint32Array.of(0, 1))]).toEqual([-2, 2, 196])
    expect([...calibratedGradient(Float64Array.of(5))]).toEqual([0])
    expect([...calibratedGradient(Float64Array.of(5, 7), Uint32Array.of(1))]).toEqual([-2, 0])
  })
})

describe('ranks', () => {
  it('are shared by equal values', () => {
    expect([...ranksOf(Float64Array.of(3, 1, 3, 2))]).toEqual([2.5, 0, 2.5, 1])
  })

  it('correlate as the values are ordered', () => {
    const up = Float64Array.of(1, 2, 30)
    expect(spearman(up, Float64Array.of(0.1, 7, 8))).toBe(1)
    expect(spearman(up, Float64Array.of(9, 8, 7))).toBe(-1)
    // Pearson's correlation of (0, 1, 2, 3) and (0.5, 0.5, 2, 3).
    expect(spearman(Float64Array.of(1, 2, 3, 4), Float64Array.of(5, 5, 6, 7))).toBeCloseTo(0.948683, 6)
    expect(spearman(up, Float64Array.of(4, 4, 4))).toBe(0)
    expect(spearman(Float64Array.of(1, 1), Float64Array.of(4, 4))).toBe(1)
  })
})

describe('sampled costs', () => {
  it('are all pairs where these are few', () => {
    const found = sampleCost(vectorsOf([[0], [1]]), vectorsOf([[0], [3]]), { seed: 1 })
    // 0, 9, 1 and 4.
    expect(found.mean).toBeCloseTo(3.5, 12)
    expect(found.deviation).toBeCloseTo(Math.sqrt((3.5 ** 2 + 5.5 ** 2 + 2.5 ** 2 + 0.5 ** 2) / 4), 12)
  })

  it('are near those of all pairs where these are many, and the same for a seed', () => {
    const [targets, candidates] = [clustered(300, 8, { seed: 1 }), clustered(300, 8, { seed: 2 })]
    const all = sampleCost(targets, candidates, { seed: 0, pairs: 90_000 })
    const some = sampleCost(targets, candidates, { seed: 0, pairs: 20_000 })
    expect(some.deviation / all.deviation).toBeCloseTo(1, 1)
    expect(some).toEqual(sampleCost(targets, candidates, { seed: 0, pairs: 20_000 }))
    expect(some).not.toEqual(sampleCost(targets, candidates, { seed: 1, pairs: 20_000 }))
  })

  it('refuse what has no distance', () => {
    expect(() => sampleCost(vectorsOf([[1]]), vectorsOf([[1, 2]]), { seed: 0 })).toThrow('different dimensions')
    expect(() => sampleCost(vectorsOf([[1]]), vectorsOf([[NaN]]), { seed: 0 })).toThrow('not finite')
    expect(() => sampleCost(vectorsOf([[1]]), vectorsOf([[1]]), { seed: 0, pairs: 0 })).toThrow('pairs')
  })
})

describe('the relaxation', () => {
  /** Feeds it the errors of an iteration whose plain steps shrink the error by `eta`: Young's formula for w below the best, w - 1 beyond. */
  function run(relaxation: ReturnType<typeof fixedRelaxation>, eta: number, iterations: number) {
    let error = 0.1
    for (let i = 0; i < iterations && error > 2e-6; i++) {
      const w = relaxation.value
      const root = w ** 2 * eta - 4 * (w - 1)
      error *= root <= 0 ? w - 1 : ((w * Math.sqrt(eta) + Math.sqrt(root)) / 2) ** 2
      relaxation.observe(error)
    }
    return relaxation.value
  }

  it.each([0.5, 0.9, 0.97])('finds the best w where plain steps shrink the error by %s', (eta) => {
    const best = 2 / (1 + Math.sqrt(1 - eta))
    expect(Math.abs(run(adaptiveRelaxation(), eta, 200) - best)).toBeLessThan(0.03)
  })

  it('steps back, for a while, where it finds no lower error', () => {
    const relaxation = adaptiveRelaxation(1.8)
    for (let i = 0; i < 20; i++) relaxation.observe(i % 2 === 0 ? 0.3 : 0.4)
    expect(relaxation.value).toBe(1.4)
    // Errors that call for more, which it then takes.
    for (let i = 0; i < 15; i++) relaxation.observe(0.1 * 0.97 ** i)
    expect(relaxation.value).toBe(1.4)
    for (let i = 15; i < 30; i++) relaxation.observe(0.1 * 0.97 ** i)
    expect(relaxation.value).toBeGreaterThan(1.5)
  })

  it('stays as given until the iteration diverges', () => {
    const relaxation = fixedRelaxation(1.3)
    for (let i = 0; i < 100; i++) relaxation.observe(0.9 ** i)
    expect(relaxation.value).toBe(1.3)
    relaxation.observe(NaN)
    expect(relaxation.value).toBe(1)
  })
})
