import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import type { ReportData } from '../../src/report/data.ts'
import { visibleText } from '../../src/report/html.ts'
import { buildReport } from '../../src/report/report.ts'
import { randomRun, sampleRun, withTexts } from './sample-run.ts'

const read = (page: string) => parseHTML(page).document
const sections = (page: string) => [...read(page).querySelectorAll('section')].map((section) => section.id)
const text = (page: string) =>
  read(page).querySelector('main')!.textContent.replaceAll('\u00a0', ' ').replace(/\s+/g, ' ')

describe('the report', () => {
  const data = sampleRun()
  const page = buildReport(data)

  it('has a section for everything that the run has', () => {
    expect(sections(page)).toEqual(['trajectories', 'clusters', 'composition', 'lengths', 'examples', 'run'])
  })

  it('says what was kept, in words', () => {
    expect(text(page)).toContain('450 of 1,500 rows (30.0 %) were picked by s2l for a budget of 30%')
  })

  it('draws one panel a cluster, with five rows, the mean of the cluster and the mean of the pool', () => {
    const panels = [...read(page).querySelectorAll('.panels figure')]
    expect(panels).toHaveLength(6)
    for (const panel of panels) expect(panel.querySelectorAll('[aria-label="line"] path')).toHaveLength(7)
  })

  it('gives the same page for the same data', () => {
    expect(buildReport(sampleRun())).toBe(page)
  })

  it('asks for nothing outside itself and runs no script', () => {
    const document = read(page)
    expect(document.querySelectorAll('script, iframe, img, object, embed, video, audio, base, form')).toHaveLength(0)
    for (const element of document.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on/)
        if (name === 'href' && element.localName !== 'a') expect(value).toBe('data:,')
        if (['src', 'srcset', 'xlink:href', 'action', 'data'].includes(name)) throw new Error(`${name}=${value}`)
      }
    }
    expect(/url\(|@import/.test(page)).toBe(false)
    expect(page.includes("default-src 'none'")).toBe(true)
  })

  it('describes each drawing by a title and a description with ids of its own', () => {
    const document = read(page)
    const drawings = [...document.querySelectorAll('svg[role="img"]')]
    expect(drawings.length).toBeGreaterThanOrEqual(12)
    for (const drawing of drawings) {
      for (const id of drawing.getAttribute('aria-labelledby')!.split(' ')) {
        const named = [...document.querySelectorAll('title, desc')].filter((element) => element.id === id)
        expect(named).toHaveLength(1)
        expect(named[0].textContent).not.toBe('')
      }
    }
  })

  it('repeats the charts as tables', () => {
    const tables = [...read(page).querySelectorAll('#clusters details tbody tr')]
    expect(tables).toHaveLength(38)
    const picked = tables.map((row) => Number(row.querySelectorAll('td')[2].textContent))
    expect(picked.reduce((sum, n) => sum + n, 0)).toBe(450)
  })

  it('tells the reason of each example', () => {
    const reasons = [...read(page).querySelectorAll('.example header')].map((header) => header.textContent)
    expect(reasons).toHaveLength(10)
    for (const reason of reasons) expect(reason).toMatch(/cluster \d+: (taken whole|\d+ of its)/)
  })

  it('counts in agreement with the columns', () => {
    const tokens = Array.from(data.rows.lengths).filter((_, row) => data.rows.selected[row])
    const sum = tokens.reduce((total, length) => total + length, 0)
    expect(text(page)).toContain(`They hold ${sum.toLocaleString('en-US')} of`)
  })

  it('is refused data whose columns disagree', () => {
    const broken = { ...data, rows: { ...data.rows, lengths: new Uint32Array(3) } }
    expect(() => buildReport(broken)).toThrow(WinnowError)
    expect(() => buildReport(broken)).toThrow('rows.lengths')
  })
})

describe('warnings', () => {
  const warningsOf = (page: string) => [...read(page).querySelectorAll('.warnings li')].map((item) => item.textContent)
  const withLosses = (nll: number, bigramNll: number): ReportData => {
    const data = sampleRun()
    return { ...data, run: { ...data.run, proxy: { ...data.run.proxy!, nll, bigramNll } } }
  }

  it('say that a proxy no better than bigrams tells nothing', () => {
    expect(warningsOf(buildReport(withLosses(3.1, 2.9)))).toHaveLength(1)
    expect(warningsOf(buildReport(withLosses(2.9, 2.9)))).toHaveLength(1)
    expect(warningsOf(buildReport(withLosses(Number.NaN, 2.9)))).toHaveLength(1)
    expect(warningsOf(buildReport(withLosses(2.8, 2.9)))).toHaveLength(0)
  })

  it('repeat those of the run', () => {
    expect(warningsOf(buildReport({ ...sampleRun(), warnings: ['12 duplicates'] }))).toEqual(['12 duplicates'])
  })
})

describe('what a run does not have is left out', () => {
  it('random: no clusters, no trajectories', () => {
    const page = buildReport(randomRun())
    expect(sections(page)).toEqual(['composition', 'lengths', 'examples', 'run'])
    expect(text(page)).not.toContain('luster')
  })

  it('no source field: no composition', () => {
    const { rows, ...data } = sampleRun()
    const { source: _source, ...columns } = rows
    expect(sections(buildReport({ ...data, rows: columns }))).not.toContain('composition')
  })

  it('clusters without trajectories (of another method): no trajectories', () => {
    const { trajectories: _trajectories, ...data } = sampleRun()
    expect(sections(buildReport(data))).toEqual(['clusters', 'composition', 'lengths', 'examples', 'run'])
  })
})

describe('small and odd runs', () => {
  const clean = (page: string) => expect(text(page)).not.toMatch(/NaN|Infinity|undefined|\[object/)

  it('one row', () => {
    const page = buildReport(sampleRun({ rows: 1, clusters: 1, budget: 1 }))
    clean(page)
    expect(text(page)).toContain('1 of 1 row (100 %)')
  })

  it('one cluster, one checkpoint', () => {
    const page = buildReport(sampleRun({ rows: 40, clusters: 1, checkpoints: 1 }))
    clean(page)
    expect(text(page)).toContain('All rows are in one cluster; 12 of 40 were picked.')
  })

  it('nothing picked, everything picked', () => {
    clean(buildReport(sampleRun({ rows: 60, clusters: 4, budget: 0 })))
    const page = buildReport(sampleRun({ rows: 60, clusters: 4, budget: 60 }))
    clean(page)
    expect(text(page)).toContain('All 4 clusters were taken whole.')
  })

  it('no rows', () => {
    clean(buildReport(sampleRun({ rows: 0, clusters: 1, budget: 0 })))
  })

  it('more clusters than rows to give them: some have no pick', () => {
    const page = buildReport(sampleRun({ rows: 1000, clusters: 100, budget: 50 }))
    clean(page)
    expect(read(page).querySelector('#cluster-sizes-wide-title')).not.toBeNull()
  })

  it('rows that could not be scored are counted, listed, in no cluster and out of the means', () => {
    const data = sampleRun()
    const assignment = Int32Array.from(data.clusters!.assignment)
    const row = data.rows.selected.length - 1
    const before = buildReport(data)
    assignment[row] = -1
    const nll = Float32Array.from(data.trajectories!.nll).fill(Number.NaN, row * 12)
    const page = buildReport({
      ...data,
      clusters: { ...data.clusters!, assignment },
      trajectories: { ...data.trajectories!, nll },
      quarantined: {
        count: 1,
        shown: [{ row, reason: 'the prompt fills the window', file: 'pool.jsonl', line: 1500 }],
      },
      bad: { count: 30, shown: [{ code: 'wrong-shape', message: 'answer is missing', file: 'pool.jsonl', line: 3 }] },
    })
    clean(page)
    expect(sections(page)).toContain('quarantine')
    expect(sections(before)).not.toContain('quarantine')
    expect(text(page)).toContain('pool.jsonl:1500')
    expect(text(page)).toContain('30 records of the input could not be read')
    expect(text(page)).toContain('pool.jsonl:3: answer is missing')
  })

  it('rows that could not be scored and were asked for all the same are said to be picked', () => {
    const data = sampleRun({ rows: 60, clusters: 4 })
    const assignment = Uint32Array.from(data.clusters!.assignment)
    const row = Array.from(data.rows.selected).indexOf(1)
    assignment[row] = 0xffffffff
    const page = buildReport({ ...data, clusters: { ...data.clusters!, assignment } })
    expect(text(page)).toContain('1 row (1.7 % of the pool) could not be scored')
    expect(text(page)).toContain('1 of them were picked because the run asked for that')
  })

  it('rows without a source are counted as such, and many sources are drawn together', () => {
    const data = sampleRun()
    const names = Array.from({ length: 300 }, (_, i) => `source ${i}`)
    const codes = Int32Array.from({ length: data.rows.count }, (_, row) => (row % 10 === 0 ? -1 : row % 300))
    const page = buildReport({ ...data, rows: { ...data.rows, source: { codes, names } } })
    clean(page)
    expect(text(page)).toContain('(no source)')
    expect(text(page)).toContain('other sources')
  })
})

describe('a large pool', () => {
  it('makes a page of the same size', () => {
    const small = buildReport(sampleRun({ rows: 3000, clusters: 100 })).length
    const page = buildReport(repeated(sampleRun({ rows: 3000, clusters: 100 }), 100))
    expect(text(page)).toContain('of 300,000 rows')
    expect(page.length).toBeLessThan(1.1 * small)
  })

  it('with very many clusters and sources stays under a megabyte', () => {
    const data = sampleRun({ rows: 30_000, clusters: 20_000 })
    const names = Array.from({ length: 30_000 }, (_, i) => `source ${i}`)
    const codes = Uint32Array.from(names.keys())
    expect(buildReport({ ...data, rows: { ...data.rows, source: { codes, names } } }).length).toBeLessThan(1e6)
  })
})

/** Every column `times` over. */
function repeated(data: ReportData, times: number): ReportData {
  const { rows, clusters, trajectories } = data
  const repeat = (column: ArrayLike<number>, type: Uint32ArrayConstructor | Float32ArrayConstructor) => {
    const all = new type(column.length * times)
    for (let i = 0; i < times; i++) all.set(column, i * column.length)
    return all
  }
  return withTexts(
    {
      ...data,
      rows: {
        count: rows.count * times,
        lengths: repeat(rows.lengths, Uint32Array),
        selected: repeat(rows.selected, Uint32Array),
        source: { ...rows.source!, codes: repeat(rows.source!.codes, Uint32Array) },
      },
      clusters: { ...clusters!, assignment: repeat(clusters!.assignment, Uint32Array) },
      trajectories: { ...trajectories!, nll: repeat(trajectories!.nll, Float32Array) },
    },
    (row) => data.texts.get(row % rows.count) ?? 'text',
  )
}

describe('strings of the data are text, never markup', () => {
  /** Every string of the report's data replaced, so that each place that shows one is tried. */
  const poisoned = (hostile: string): ReportData => {
    const data = sampleRun({ rows: 60, clusters: 8 })
    return withTexts(
      {
        ...data,
        title: hostile,
        command: hostile,
        finishedAt: hostile,
        run: {
          ...data.run,
          method: hostile,
          options: { [`option ${hostile}`]: hostile },
          budget: hostile,
          device: hostile,
          proxy: { ...data.run.proxy!, name: hostile, tokenizer: hostile },
          timings: [{ stage: hostile, seconds: 1 }],
          versions: { [`of ${hostile}`]: hostile },
          inputs: [{ file: hostile, sha256: hostile }],
        },
        rows: { ...data.rows, source: { ...data.rows.source!, names: [hostile, `${hostile}b`, `c${hostile}`] } },
        clusters: { ...data.clusters!, labels: Array.from({ length: 8 }, () => hostile) },
        quarantined: { count: 1, shown: [{ row: 3, reason: hostile, file: hostile, line: 1 }] },
        bad: { count: 1, shown: [{ code: 'x', message: hostile, file: hostile, found: hostile, hint: hostile }] },
        warnings: [hostile],
      },
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
    "' onmouseover='alert(1)",
    '</style><script>alert(1)</script>',
    '</title></svg><b>out</b>',
    '<!-- open comment',
    ']]><![CDATA[',
    '&lt;script&gt; &amp;amp;',
    'javascript:alert(1)',
  ])('%s', (hostile) => {
    const page = buildReport(poisoned(hostile))
    expect(structure(page)).toEqual(harmless)
    expect(read(page).querySelector('h1')!.textContent).toBe(hostile)
    expect(page.includes('<script')).toBe(false)
    expect(page.includes('<img')).toBe(false)
  })

  it('shows controls that would reorder the text around them', () => {
    const page = buildReport(poisoned('safe\u202eexe.gpj\u2066'))
    expect(/[\u202a-\u202e\u2066-\u2069]/.test(page)).toBe(false)
    expect(text(page)).toContain('safe[U+202E]exe.gpj[U+2066]')
  })

  it('whatever the string', () => {
    const any = fc.array(fc.nat(0xffff), { minLength: 1, maxLength: 40 }).map((units) => String.fromCharCode(...units))
    const markup = fc
      .array(fc.constantFrom('<', '>', '"', "'", '&', '/', '=', ' ', 'a', 'svg', 'script', '--', '!', '\n', '`'), {
        minLength: 1,
      })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.oneof(any, markup), (hostile) => {
        const page = buildReport(poisoned(hostile))
        expect(structure(page)).toEqual(harmless)
        expect(read(page).querySelector('.example .text')!.textContent).toBe(visibleText(hostile))
      }),
      { numRuns: 15 },
    )
  })
})
