import { describe, expect, it } from 'vitest'
import { renderComparison } from '../../src/cli/comparison-table.ts'
import { summarise } from '../../src/evaluation/summary.ts'
import { EXACT, type MadeUp, madeUp, NLL, threeErrors } from '../evaluation/comparisons.ts'
import { screen } from './screen.ts'

const shown = (options: MadeUp, terminal: Parameters<typeof screen>[0] = { columns: 120 }) =>
  renderComparison(summarise(madeUp(options), { compareWith: threeErrors }), screen(terminal))

const methods = {
  ...{ random: 0, s2l: -0.1, 'confidence-curriculum@early': 0, 'confidence-curriculum@late': 0.1 },
  'a-method-of-somebody-with-a-name-that-goes-on-and-on': 0,
}

describe('renderComparison', () => {
  it('is a table of methods by budgets, what it says, what it cost', async () => {
    await expect(shown({ methods })).toMatchFileSnapshot('../fixtures/cli/comparison.txt')
  })

  it.each([120, 100, 80, 60])('keeps within %i columns, with every method and budget', (columns) => {
    const text = shown({ methods }, { columns })
    for (const line of text.split('\n')) expect([...line].length, line).toBeLessThanOrEqual(Math.min(100, columns))
    expect(text).toMatch(/^ +5%/m)
    expect(text).toMatch(/ 30%$/m)
    const rows = text.slice(0, text.indexOf('First line')).match(/^s2l +\d/gm)
    expect(rows).toHaveLength(columns >= 100 ? 1 : columns === 80 ? 2 : 3)
  })

  it('says it in ASCII where a terminal has no more', () => {
    const text = shown({ methods: { random: 0, s2l: -0.1 } }, { unicode: false })
    expect([...text].every((character) => character.charCodeAt(0) < 128)).toBe(true)
    expect(text).toMatch(/-0\.\d+ \[-0\.\d+,-0\.\d+\] \^/)
    expect(text).toContain('^ better than random')
  })

  it('marks each verdict, and says so where nothing beat random', () => {
    const text = shown({ methods: { random: 0, worse: 0.1, same: 0 } })
    expect(text).toMatch(/\+0\.\d+ \[0\.\d+,0\.\d+\] ▼/)
    expect(text).toMatch(/\] ·/)
    expect(text).toContain('At 5%, none of 2 methods beat random')
    expect(text).toContain('none was worth its cost')
    expect(text).not.toContain(' pays once ')
  })

  it('of one seed shows no spread, and warns', () => {
    const text = shown({ seeds: [1], tests: { gsm8k: 40 } })
    expect(text).not.toContain('±')
    expect(text).toContain('on gsm8k, lower is better')
    expect(text).toMatch(/Beware\nEvery target was trained under one seed/)
  })

  it('names what is missing and shows a gap for it', () => {
    const comparison = madeUp()
    comparison.cells = comparison.cells.filter(({ method, budget }) => !(method === 's2l' && budget === 0))
    const text = renderComparison(summarise(comparison, { compareWith: threeErrors }), screen({ columns: 120 }))
    expect(text).toMatch(/^s2l +– +\d/m)
    expect(text.replace(/\s+/g, ' ')).toContain('3 trained targets are missing: s2l at 5% (seed 1, 2, 3).')
  })

  it('a table is about the first metric; the others are named', () => {
    const text = shown({ metrics: [EXACT, NLL] })
    expect(text).toContain('Exact match (%) on average over 2 tests, higher is better')
    expect(text).toContain('Also measured, and shown in the report and by --json: test loss.')
  })

  it('obeys nothing that stands in a name', () => {
    const text = shown({ methods: { random: 0, 'a\u001b[2J\nb': 0 }, rest: { notices: ['see \u001b]8;;x\u0007this'] } })
    for (const control of ['\u001b', '\u0007']) expect(text).not.toContain(control)
  })

  it('counts money where a price is given', () => {
    const text = shown({ rest: { price: { perMillionTokens: 8, currency: 'EUR' } } })
    expect(text).toMatch(/^selection .*money, EUR/m)
    // 3.8e12 FLOPs are 63,333 tokens of a target of 10 M parameters.
    expect(text).toMatch(/^s2l .*0\.507 /m)
  })
})
