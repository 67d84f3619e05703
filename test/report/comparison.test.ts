import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { type Summary, summarise } from '../../src/evaluation/summary.ts'
import { buildComparisonReport } from '../../src/report/comparison.ts'
import { spreadOut } from '../../src/report/comparison-curves.ts'
import { comparisonMarkdown } from '../../src/report/comparison-markdown.ts'
import { decimalsOf, findings, fixed, listed, signed } from '../../src/report/comparison-words.ts'
import { visibleText } from '../../src/report/html.ts'
import { labelWidth, shortenMiddle } from '../../src/report/labels.ts'
import { EXACT, type MadeUp, madeUp, NLL, threeErrors } from '../evaluation/comparisons.ts'

const summaryOf = (options: MadeUp = {}): Summary => summarise(madeUp(options), { compareWith: threeErrors })
const read = (page: string) => parseHTML(page).document
const sections = (page: string) => [...read(page).querySelectorAll('section')].map((section) => section.id)
const text = (page: string) =>
  read(page).querySelector('main')!.textContent.replaceAll('\u00a0', ' ').replace(/\s+/g, ' ')

const methods = { random: 0, s2l: -0.1, 'ifd@early': 0, 'ifd@late': 0, longest: 0.1 }

describe('the page of a comparison', () => {
  const summary = summaryOf({ methods, metrics: [NLL, EXACT] })
  const page = buildComparisonReport(summary)

  it('has results, differences, curves, costs, how to read it and how to repeat it', () => {
    expect(sections(page)).toEqual(['results', 'differences', 'curves', 'costs', 'reading', 'repeat'])
  })

  it('begins with what the data say', () => {
    expect(read(page).querySelector('.lead')!.textContent).toBe(findings(summary)[0])
    expect(findings(summary)[0]).toMatch(
      /^At 5%, 1 of 4\u00a0methods beats random in test loss on average over 2 tests \(s2l\); 1 is worse \(longest\); 2 are/,
    )
  })

  it('shows every score with its difference, interval and verdict, full and none below', () => {
    const rows = [...read(page).querySelector('#results table')!.querySelectorAll('tbody tr')]
    expect(rows.map((row) => row.querySelector('th')!.textContent)).toEqual([
      ...['random', 's2l', 'ifd@early', 'ifd@late', 'longest', 'full (the whole pool)', 'none (untouched)'],
    ])
    const s2l = [...rows[1].querySelectorAll('td')]
    expect(s2l).toHaveLength(3)
    expect(s2l[0].getAttribute('class')).toBe('better')
    const score = summary.rows.find(({ method }) => method === 's2l')!.scores[2]
    const { mean, low, high } = score.toRandom!
    const [a, b, c] = [mean, low, high].map((value) => `−${Math.abs(value).toFixed(3)}`)
    expect(s2l[0].textContent.replace(/\s+/g, ' ')).toBe(
      `${score.mean.toFixed(3)} ± ${score.deviation!.toFixed(3)}${a} [${b}, ${c}] ▲ better`,
    )
    expect(rows[4].querySelector('td')!.getAttribute('class')).toBe('worse')
    expect(rows[2].querySelector('td')!.textContent).toContain('· not distinguishable')
  })

  it('draws a dot and an interval a method for each budget, best first, on one axis', () => {
    const figures = [...read(page).querySelectorAll('#differences figure')]
    expect(figures).toHaveLength(3)
    for (const [i, figure] of figures.entries()) {
      for (const drawing of figure.querySelectorAll('svg'))
        expect(drawing.querySelectorAll('[aria-label="dot"] circle')).toHaveLength(4)
      const labels = [...figure.querySelectorAll('svg')[0].querySelectorAll('[aria-label="y-axis tick label"] text')]
      expect([labels[0].textContent, labels[3].textContent]).toEqual(['s2l', 'longest'])
      expect(figure.querySelector('desc')!.textContent, `budget ${i}`).toMatch(
        /s2l .*, better than random; .*longest .*, worse than random\.$/,
      )
    }
    const axes = figures.map((figure) => figure.querySelector('[aria-label="x-axis tick label"]')!.textContent)
    expect(new Set(axes).size).toBe(1)
  })

  it('draws a curve a method, and names the model that lies outside', () => {
    const drawing = read(page).querySelector('#curves svg[role="img"]')!
    expect(drawing.querySelectorAll('[aria-label="line"] path')).toHaveLength(5)
    expect(drawing.querySelectorAll('[aria-label="rule"] line')).toHaveLength(1)
    expect(text(page)).toMatch(/The untouched model lies outside, at 4\.\d+\./)
  })

  it('tells what was shared, and where cost and savings meet', () => {
    const signal = [...read(page).querySelectorAll('#costs th[scope="row"]')].find(
      (head) => head.textContent === 'trajectories',
    )!
    expect([...signal.parentNode!.querySelectorAll('td')].map((cell) => cell.textContent)).toEqual([
      ...['1\u00a0min 0\u00a0s', '3.8\u00a0T', 's2l, ifd@early, ifd@late, longest'],
    ])
    expect(text(page)).toContain(
      's2l pays against training on the pool, at 1 epoch, once the target has more parameters than 6.67 M at 5%, 7.04 M at 10% and 9.05 M at 30%',
    )
    expect(text(page)).not.toContain('longest pays against')
  })

  it('asks for nothing outside itself and runs no script', () => {
    const document = read(page)
    expect(document.querySelectorAll('script, iframe, img, object, embed, video, audio, base, form')).toHaveLength(0)
    expect(/url\(|@import|https?:\/\/(?!www\.w3\.org)/.test(page)).toBe(false)
    expect(page).toContain("default-src 'none'")
    for (const element of document.querySelectorAll('*'))
      for (const { name } of element.attributes) expect(name).not.toMatch(/^on/)
  })

  it('describes each drawing by a title and a description with ids of its own', () => {
    const drawings = [...read(page).querySelectorAll('svg[role="img"]')]
    expect(drawings).toHaveLength(2 * (3 + 1 + 2))
    const ids = drawings.flatMap((drawing) => drawing.getAttribute('aria-labelledby')!.split(' '))
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('gives the same page for the same data, and no NaN', () => {
    expect(buildComparisonReport(summaryOf({ methods, metrics: [NLL, EXACT] }))).toBe(page)
    expect(page).not.toMatch(/NaN|undefined|Infinity/)
  })

  it.each<[string, MadeUp]>([
    ['one seed, one test, one budget', { seeds: [1], tests: { a: 20 }, budgets: ['10%'] }],
    ['random alone', { methods: { random: 0 } }],
    ['no references', { references: false }],
    ['identical scores', { score: (_value, _cell, _test, row) => row }],
    ['scores that are all 0', { score: () => 0, metrics: [EXACT] }],
    ['no proxy, no cost', { rest: { proxy: undefined, costs: [] } }],
    ['equal epochs', { rest: { training: 'epochs', epochs: 3, steps: undefined } }],
    ['a price', { rest: { price: { perFlop: 1e-15, currency: 'EUR' } } }],
  ])('stands with %s', (_, options) => {
    const made = buildComparisonReport(summaryOf(options))
    expect(made).not.toMatch(/NaN|undefined|Infinity/)
    expect(sections(made)).toContain('results')
    expect(comparisonMarkdown(summaryOf(options))).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('says that one seed and missing targets limit what can be said', () => {
    const comparison = madeUp({ seeds: [1] })
    comparison.cells = comparison.cells.filter(({ method, budget }) => !(method === 's2l' && budget === 1))
    const made = buildComparisonReport(summarise(comparison, { compareWith: threeErrors }))
    const warnings = read(made).querySelector('.warnings')!.textContent
    expect(warnings).toContain('under one seed')
    expect(warnings).toContain('missing: s2l at 10% (seed 1)')
  })

  it('names and notices are text, never markup', () => {
    const any = fc.array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(any, (units) => {
        const label = `<b>${String.fromCharCode(...units)}`
        const made = buildComparisonReport(
          summaryOf({ methods: { random: 0, [label]: 0 }, rest: { title: label, notices: [label], command: label } }),
        )
        expect(read(made).querySelectorAll('b')).toHaveLength(0)
        expect(read(made).querySelector('h1')!.textContent).toBe(visibleText(label))
      }),
      { numRuns: 8 },
    )
  })

  it.each(['difference-1-wide', 'score-curves-narrow', 'cost-flops-wide'])('%s, as a file to look at', async (id) => {
    const title = [...read(page).querySelectorAll('svg title')].find((element) => element.id === `${id}-title`)!
    const svg = title.parentNode!.toString().replaceAll('><', '>\n<')
    await expect(`${svg}\n`).toMatchFileSnapshot(`../fixtures/report/${id}.svg`)
  })
})

describe('the read-out', () => {
  it('is Markdown with every table, as a file to look at', async () => {
    await expect(comparisonMarkdown(summaryOf({ methods, metrics: [NLL, EXACT] }))).toMatchFileSnapshot(
      '../fixtures/report/comparison.md',
    )
  })

  it('keeps names out of the markup', () => {
    const made = comparisonMarkdown(summaryOf({ methods: { random: 0, 'a|b\n# <i>*c*': 0 } }))
    expect(made).toContain('| a\\|b \\# \\<i\\>\\*c\\* |')
    const rows = made.split('\n').filter((line) => line.startsWith('|'))
    for (const row of rows.slice(0, 5)) expect(row.match(/(?<!\\)\|/g)).toHaveLength(5)
  })
})

describe('words', () => {
  it('signs and digits', () => {
    expect([signed(0.0123, 3), signed(-0.0123, 3), signed(0.0001, 3), fixed(-0.0001, 3)]).toEqual([
      '+0.012',
      '−0.012',
      '0.000',
      '0.000',
    ])
  })

  it('lists end with how many were left out', () => {
    expect([listed([]), listed(['a']), listed(['a', 'b']), listed(['a', 'b', 'c', 'd'], 3)]).toEqual([
      '',
      'a',
      'a and b',
      'a, b and 2 more',
    ])
  })

  it('decimals follow the width of intervals', () => {
    const within = (width: number) => {
      const summary = summarise(madeUp(), {
        compareWith: (differences) => ({
          mean: 0,
          low: -width / 2,
          high: width / 2,
          distinguishable: false,
          seeds: 1,
          rows: differences[0].length,
        }),
      })
      return decimalsOf(summary, NLL)
    }
    expect([5, 0.3, 0.02, 0.003, 1e-7, 0].map(within)).toEqual([2, 2, 3, 4, 4, 2])
  })

  it('labels keep their ends', () => {
    const cut = shortenMiddle('confidence-curriculum@early', 110)
    expect(cut).toMatch(/^con.*…m?@?.*early$/)
    expect(labelWidth(cut)).toBeLessThanOrEqual(110)
    expect(shortenMiddle('s2l', 110)).toBe('s2l')
  })

  it('names beside curves keep their order and stand apart, within the frame where there is room', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { maxLength: 20 }), (heights) => {
        const placed = spreadOut(heights, 300)
        const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b] || a - b)
        for (let n = 1; n < order.length; n++)
          expect(placed[order[n]] - placed[order[n - 1]]).toBeGreaterThanOrEqual(14 - 1e-9)
        if (heights.length > 0 && heights.length <= 20) expect(Math.max(...placed)).toBeLessThanOrEqual(300)
      }),
    )
  })
})
