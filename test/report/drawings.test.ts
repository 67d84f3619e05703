import { parseHTML } from 'linkedom'
import { beforeAll, describe, expect, it } from 'vitest'
import type { ReportData } from '../../src/report/data.ts'
import { buildReport } from '../../src/report/report.ts'

/** Twelve rows in three clusters of 1, 3 and 8, two of each of the larger ones picked, one row beyond reading. */
const run: ReportData = {
  title: 'twelve',
  command: 'winnow select twelve.jsonl --budget 5',
  run: { method: 's2l', budget: '5', seed: 1, timings: [], versions: {}, inputs: [] },
  rows: {
    count: 12,
    lengths: [5, 8, 8, 12, 13, 13, 14, 20, 21, 22, 30, 55],
    selected: [1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    source: { codes: [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1], names: ['a & b', '<c>'] },
  },
  clusters: { count: 4, assignment: [0, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1] },
  trajectories: {
    steps: [10, 20],
    // Two checkpoints a row.
    nll: [
      ...[4, 3.5, 3, 1, 3.1, 1.1, 3.2, 1.2, 2, 1.5, 2.1, 1.6],
      ...[2.2, 1.7, 2.3, 1.8, 2.4, 1.9, 2.5, 2, 2.6, 2.1, Number.NaN, Number.NaN],
    ],
  },
  warnings: [],
  texts: new Map(),
}

describe('drawings, as files to look at', () => {
  let document: ReturnType<typeof parseHTML>['document']
  beforeAll(() => {
    document = parseHTML(buildReport(run)).document
  })

  it.each([
    'trajectory-0',
    'trajectory-2',
    'cluster-sizes-wide',
    'sources-narrow',
    'length-histogram-narrow',
  ])('%s', async (id) => {
    const title = [...document.querySelectorAll('svg title')].find((element) => element.id === `${id}-title`)!
    // One element a line, so that a change shows where it is.
    const svg = title.parentNode!.toString().replaceAll('><', '>\n<')
    await expect(`${svg}\n`).toMatchFileSnapshot(`../fixtures/report/${id}.svg`)
  })
})

describe('figures in the page', () => {
  const cells = (page: string, section: string) =>
    [...parseHTML(page).document.querySelectorAll(`#${section} details tbody tr`)].map((row) =>
      [...row.querySelectorAll('th, td')].map((cell) => cell.textContent.replaceAll('\u00a0', ' ')),
    )
  const page = buildReport(run)

  it('clusters ascend in size, empty ones left out', () => {
    expect(cells(page, 'clusters')).toEqual([
      ['cluster 0', '1', '8.3 %', '1', '100 %', '20.0 %'],
      ['cluster 2', '3', '25.0 %', '2', '66.7 %', '40.0 %'],
      ['cluster 1', '8', '66.7 %', '2', '25.0 %', '40.0 %'],
    ])
  })

  it('sources are counted before and after', () => {
    expect(cells(page, 'composition')).toEqual([
      ['a & b', '7', '58.3 %', '5', '100 %', '71.4 %'],
      ['<c>', '5', '41.7 %', '0', '0 %', '0 %'],
    ])
  })

  it('lengths have lower quantiles', () => {
    expect(cells(page, 'lengths')).toEqual([
      ['shortest', '5', '5'],
      ['5 % are at most', '5', '5'],
      ['25 % are at most', '8', '8'],
      ['median', '13', '12'],
      ['75 % are at most', '21', '13'],
      ['95 % are at most', '55', '13'],
      ['longest', '55', '13'],
      ['all tokens', '221', '51'],
    ])
  })

  it('trajectories: the mean of a cluster leaves out rows without a loss', () => {
    const [mean] = cells(page, 'trajectories')
      .filter(([name]) => name === 'mean')
      .slice(-1)
    // (2 + 2.1 + … + 2.6) / 7 and (1.5 + … + 2.1) / 7: the eighth row is NaN.
    expect(mean.slice(2, 4)).toEqual(['2.300', '1.800'])
  })
})
