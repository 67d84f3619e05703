import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import type { ReportData } from '../../src/report/data.ts'
import { buildReport } from '../../src/report/report.ts'
import { shownRows, shownTargets } from '../../src/report/samples.ts'
import { daptRun, dsirRun, gotdRun, poolText, taptRun, targetText, withTarget } from './target-run.ts'

const read = (page: string) => parseHTML(page).document
const sections = (page: string) => [...read(page).querySelectorAll('section')].map((section) => section.id)
const plain = (text: string) => text.replaceAll('\u00a0', ' ').replace(/\s+/g, ' ').trim()
const text = (page: string, of = 'main') => plain(read(page).querySelector(of)!.textContent)
const cells = (page: string, section: string) =>
  [...read(page).querySelectorAll(`#${section} details tbody tr`)].map((row) =>
    [...row.querySelectorAll('th, td')].map((cell) => plain(cell.textContent)),
  )

describe('the report of a run with a target', () => {
  const data = gotdRun()
  const page = buildReport(data)

  it('has sections for the domains, the scores and the target', () => {
    expect(sections(page)).toEqual(['domains', 'scores', 'target', 'composition', 'lengths', 'examples', 'run'])
  })

  it('says what the target is, at the top and where the run is described', () => {
    expect(text(page)).toContain('for a budget of 30%, to move a model toward the 60 rows of task.jsonl.')
    expect(text(page, '#run')).toContain('Target60 rows of task.jsonl')
    expect(text(page, '#run')).toContain('Embeddingngrams, 384 dimensions')
    expect(text(page, 'footer')).toContain('texts of the pool and of the target')
  })

  it('counts every candidate and every picked row in the bins of the scores', () => {
    const bins = cells(page, 'scores')
    const sum = (column: number) => bins.reduce((total, bin) => total + Number(bin[column].replace(',', '')), 0)
    const candidates = Array.from(data.scores!.candidates!).reduce((total, flag) => total + flag, 0)
    expect([sum(2), sum(3)]).toEqual([candidates, 100])
    expect(text(page, '#scores')).toContain('The lowest were taken.')
    expect(text(page, '#scores')).toContain(`The axis leaves out the far ends`)
  })

  it('lists the domains, nearest first, with where they lie between the yardsticks', () => {
    const { names, codes } = data.rows.source!
    const last = names.length - 1
    const held = Array.from(codes).filter((code) => code === last).length
    const rows = cells(page, 'domains')
    expect(rows.map(([name]) => name)).toEqual([...names])
    expect(rows[0].slice(1, 4)).toEqual(['0.500', '10 %', 'yes'])
    expect(rows[last].slice(1, 6)).toEqual(['1.00', '60 %', 'no', held.toLocaleString('en-US'), '0'])
  })

  it('counts the target rows that no picked row is near to', () => {
    const reached = new Set(Array.from(data.target!.nearest!).filter((_, row) => data.rows.selected[row]))
    expect(text(page, '#target')).toContain(`${60 - reached.size} target rows`)
    expect(text(page, '.facts')).toContain(`Target rows with a pick${reached.size} of 60`)
  })

  it('gives each example its score, its place and its nearest target row', () => {
    const examples = [...read(page).querySelectorAll('#examples .example')].map((example) => plain(example.textContent))
    expect(examples.length).toBeGreaterThanOrEqual(15)
    expect(examples[0]).toMatch(/calibrated gradient −0\.\d+, place \d+ of 1,\d+ pool text \d+ nearest target row \d+/)
    for (const example of examples) expect(example).toMatch(/nearest target row (\d+): target text \1$/)
    const heads = [...read(page).querySelectorAll('#examples h3')].map((head) => head.textContent)
    expect(heads.map((head) => head.replace(/[\d,]+/, 'n'))).toEqual([
      'Picked first',
      'Just inside the pick',
      'Just outside the pick',
      'Others left out by their scores (n in all)',
      'Left out in spite of their scores (n in all)',
      'Others left out: domain not kept (n in all)',
      'Others left out: repeat an earlier row (n in all)',
    ])
  })

  it('shows the texts that it asked for, each of them and no other', () => {
    const shown = text(page)
    for (const target of shownTargets(data)) expect(shown).toContain(targetText(target))
    for (const row of shownRows(data)) expect(shown).toContain(poolText(row))
    const numbers = [...shown.matchAll(/target row (\d+)(?! ?\d)/g)].map(([, target]) => Number(target))
    expect(new Set(numbers)).toEqual(new Set(shownTargets(data)))
  })

  it('gives the same page for the same data', () => {
    expect(buildReport(gotdRun())).toBe(page)
  })

  it('does without texts', () => {
    const bare = buildReport({ ...data, texts: new Map(), target: { ...data.target!, texts: new Map() } })
    expect(text(bare)).not.toMatch(/undefined|(target|pool) text/)
  })

  it('is refused columns of the wrong length', () => {
    const { scores, target } = data
    expect(() => buildReport({ ...data, scores: { ...scores!, values: [1] } })).toThrow('scores.values')
    expect(() => buildReport({ ...data, scores: { ...scores!, candidates: [1] } })).toThrow('scores.candidates')
    expect(() => buildReport({ ...data, target: { ...target!, nearest: [1] } })).toThrow('target.nearest')
  })
})

describe('other methods with a target', () => {
  it('contrast: the highest are taken, and the words are the other way round', () => {
    const page = buildReport(gotdRun({ contrast: true }))
    expect(text(page)).toContain('to move a model away from the 60 rows')
    expect(text(page, '#scores')).toContain('the highest were taken')
    expect(text(page, '#target')).toContain('Where the pick lies beside the target')
  })

  it('a pick that goes past 0 is said to', () => {
    expect(text(buildReport(gotdRun({ budget: 30 })), '#scores')).not.toContain('goes past 0')
    expect(text(buildReport(gotdRun({ budget: 1000 })), '#scores')).toMatch(/goes past 0: \d+ picked rows/)
    expect(text(buildReport(gotdRun({ budget: 1000, contrast: true })), '#scores')).toMatch(/goes past 0: \d+ picked/)
  })

  it('dsir: weights without an edge', () => {
    const page = buildReport(dsirRun())
    expect(sections(page)).toEqual(['scores', 'composition', 'lengths', 'examples', 'run'])
    expect(text(page, '#scores')).toContain('Gumbel')
    expect(text(page, '#scores')).not.toContain('edge of the pick')
    expect(text(page, '#examples')).toContain('Picked with the highest scores')
    expect(text(page, '#examples')).toMatch(/log importance weight −?\d\S* nats, place 1 of 1,500/)
  })

  it('tapt-knn: an order alone has no histogram', () => {
    const page = buildReport(taptRun())
    expect(sections(page)).toEqual(['target', 'composition', 'lengths', 'examples', 'run'])
    expect(text(page, '#examples')).toContain('picked as number 1 of 100 rows')
    expect(text(page, '#examples')).toContain('the budget was full before it was reached')
  })

  it('dapt: the domains alone, with examples drawn at random', () => {
    const page = buildReport(daptRun())
    expect(sections(page)).toEqual(['domains', 'composition', 'lengths', 'examples', 'run'])
    expect(text(page, '#examples')).toContain('Drawn at random by the run’s seed')
    expect(shownTargets(daptRun())).toHaveLength(0)
  })
})

describe('small and odd runs with a target', () => {
  const clean = (page: string) => {
    const shown = text(page)
    expect(shown).not.toMatch(/NaN|Infinity|undefined|\[object/)
    return shown
  }

  it('one row, one target row', () => {
    clean(buildReport(gotdRun({ rows: 1, targets: 1, budget: 1 })))
    clean(buildReport(gotdRun({ rows: 1, targets: 1, budget: 0 })))
    clean(buildReport(gotdRun({ rows: 0, targets: 1, budget: 0 })))
  })

  it('nothing picked, everything picked', () => {
    expect(clean(buildReport(gotdRun({ budget: 0 })))).toContain('No row was picked.')
    clean(buildReport(gotdRun({ budget: 1500 })))
  })

  it('an empty target', () => {
    const data = gotdRun({ targets: 1 })
    clean(buildReport({ ...data, target: { ...data.target!, rows: 0 } }))
  })

  it('no score at all, equal scores, infinite scores', () => {
    const data = gotdRun()
    for (const value of [Number.NaN, 0, 2.5, Number.NEGATIVE_INFINITY]) {
      const values = new Float64Array(1500).fill(value)
      const page = buildReport(withTarget({ ...data, scores: { ...data.scores!, values, boundary: undefined } }))
      clean(page)
      expect(sections(page).includes('scores')).toBe(Number.isFinite(value))
    }
  })

  it('domains that were not measured, equal distances, no yardstick, very many', () => {
    const data = gotdRun()
    const row = { name: 'a', rows: 10, distance: 0.5, kept: true, selected: 0 }
    const page = (rows: ReportData['domains'] extends infer D | undefined ? D : never) =>
      clean(buildReport({ ...data, domains: rows }))
    expect(page({ rows: [{ ...row, distance: Number.NaN }] })).not.toContain('The nearest is')
    expect(page({ rows: [row, row] })).toContain('all were kept')
    expect(page({ rows: [row], self: 0.5, unrelated: 0.5 })).not.toContain('of the way')
    const many = Array.from({ length: 2000 }, (_, i) => ({ ...row, name: `domain ${i}`, distance: i, kept: i < 2 }))
    expect(page({ rows: many })).toContain('The nearest 24 of 2,000 domains are drawn.')
  })
})

describe('a large pool and target', () => {
  it('makes a page of bounded size', () => {
    const small = buildReport(gotdRun({ rows: 3000, targets: 200 })).length
    const large = buildReport(gotdRun({ rows: 60_000, targets: 20_000, budget: 10_000 })).length
    expect(large).toBeLessThan(1.3 * small)
  })
})

describe('strings of a target are text, never markup', () => {
  const poisoned = (hostile: string): ReportData => {
    const data = gotdRun({ rows: 300, budget: 30 })
    const { names, codes } = data.rows.source!
    return withTarget(
      {
        ...data,
        run: { ...data.run, facts: [[`fact ${hostile}`, hostile]] },
        rows: { ...data.rows, source: { codes, names: names.map((name) => `${name}${hostile}`) } },
        scores: { ...data.scores!, name: hostile, unit: hostile },
        target: { ...data.target!, files: [hostile, hostile] },
        domains: { rows: data.domains!.rows.map((domain) => ({ ...domain, name: `${domain.name}${hostile}` })) },
      },
      () => hostile,
      () => hostile,
    )
  }
  /** Every element of the page with the names of its attributes, in order. */
  const structure = (page: string) =>
    [...read(page).querySelectorAll('*')].map(
      (element) => `${element.localName} ${[...element.attributes].map(({ name }) => name).sort()}`,
    )
  const harmless = structure(buildReport(poisoned('harmless')))

  it.each([
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    '</title></svg><b>out</b>',
    '&lt;b&gt;',
    '-->',
  ])('%s', (hostile) => {
    const page = buildReport(poisoned(hostile))
    expect(structure(page)).toEqual(harmless)
    expect(/<script|<img/.test(page)).toBe(false)
    expect(read(page).querySelector('#target .text')!.textContent).toBe(hostile)
    expect(plain(read(page).querySelector('#examples .near bdi')!.textContent)).toBe(hostile)
  })

  it('shows controls that would reorder the text around them', () => {
    expect(/[\u202a-\u202e\u2066-\u2069]/.test(buildReport(poisoned('safe\u202eexe.gpj\u2066')))).toBe(false)
  })
})
