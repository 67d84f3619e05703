import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import type { Analysis } from '../../src/analysis/data.ts'
import type { SimilarityTest } from '../../src/analysis/gradient-similarity.ts'
import { overlapTable } from '../../src/analysis/overlap.ts'
import { buildAblation } from '../../src/report/ablation.ts'
import { buildAnalysis } from '../../src/report/analysis.ts'

const chance = (found: number) => ({ found, expected: 0.25, low: 0.2, high: 0.3, p: 0.005 })
const test = (within: number): SimilarityTest => ({
  ...{
    within,
    across: 0.01,
    median: { within: 0.005, across: 0.001 },
    difference: within - 0.01,
    interval: [0.001, 0.02],
    p: 0.001,
  },
  ...{ pairs: { within: 10, across: 35 }, groups: 2 },
})

const analysis: Analysis = {
  ...{ method: 's2l', budget: '30%', rows: 10, selected: 4, seed: 0, permutations: 199 },
  topics: {
    names: ['<b>a</b>', 'b & c'],
    ...{ pool: [7, 3], picked: [2, 2], poolEntropy: 0.611, entropy: chance(0.69), variation: chance(0.2) },
  },
  clusters: {
    ...{ top1: chance(0.9), commonest: 0.7 },
    list: [
      { cluster: 0, rows: 2, selected: 2, topic: 'b & c', share: 0.5 },
      { cluster: 1, rows: 8, selected: 2, topic: '<b>a</b>', share: 1 },
    ],
  },
  gradients: {
    ...{ rows: 10, groups: 2, groupedBy: 'clusters', parameters: 1000, dimensions: 512 },
    checkpoints: [
      {
        ...{ checkpoint: 1, step: 10, nll: 3.5, clusters: test(0.03), sources: test(0.04) },
        along: { clusters: chance(0.6) },
      },
      { checkpoint: 2, step: 20, nll: 2.5, clusters: test(0.02), clustersWithinSource: test(0.015) },
    ],
  },
}

const page = (more: Partial<Analysis> = {}) =>
  buildAnalysis({
    ...{ analysis: { ...analysis, ...more }, title: 'pool', command: 'winnow analyse pool.winnow', device: 'cpu' },
    ...{ versions: { node: '24' }, notices: ['<script>'] },
  })
const cells = (html: string, selector: string) =>
  [...parseHTML(html).document.querySelectorAll(`${selector} tbody tr`)].map((row) =>
    [...row.querySelectorAll('th, td')].map((cell) => cell.textContent.replaceAll('\u00a0', ' ')),
  )

describe('the page of an analysis', () => {
  it('has the numbers of every section in tables', () => {
    const html = page()
    expect(cells(html, '#cluster-topics')).toEqual([
      ['1', '8', '2', '<b>a</b>', '100 %'],
      ['0', '2', '2', 'b & c', '50.0 %'],
    ])
    expect(cells(html, '#topics')).toEqual([
      ['<b>a</b>', '7', '70.0 %', '2', '50.0 %'],
      ['b & c', '3', '30.0 %', '2', '50.0 %'],
    ])
    expect(cells(html, '#gradients').map((line) => line.slice(0, 7))).toEqual([
      ['10', '3.500', 'one cluster', '0.0300', '0.0100', '0.00500, 0.00100', '0.0200'],
      ['10', '3.500', 'one source', '0.0400', '0.0100', '0.00500, 0.00100', '0.0300'],
      ['20', '2.500', 'one cluster', '0.0200', '0.0100', '0.00500, 0.00100', '0.0100'],
      ['20', '2.500', 'one cluster, within one source', '0.0150', '0.0100', '0.00500, 0.00100', '0.00500'],
      ['10', 'clusters', '60.0 %', '25.0 %', '20.0 % to 30.0 %', '0.005'],
    ])
  })

  it('draws a dot for each cluster and a line for each kind of pair', () => {
    const { document } = parseHTML(page())
    const figure = (section: string) => document.querySelector(`#${section} .wide svg`)!
    expect(figure('cluster-topics').querySelectorAll('circle')).toHaveLength(2)
    expect(figure('gradients').querySelectorAll('[aria-label="line"] path')).toHaveLength(2)
    expect(figure('topics').querySelectorAll('[aria-label="bar"] rect')).toHaveLength(4)
    for (const circle of figure('cluster-topics').querySelectorAll('circle')) {
      const y = Number(circle.getAttribute('cy'))
      expect(y).toBeGreaterThanOrEqual(0)
      expect(y).toBeLessThanOrEqual(300)
    }
  })

  it('says what is no better than chance, and how sketches err', () => {
    expect(page()).toContain('So trajectories tell topics apart')
    expect(page({ clusters: { ...analysis.clusters!, top1: chance(0.29) } })).toContain('no better than chance')
    expect(page()).toContain('compared as random sketches of 512 numbers')
    const weak = { ...test(0.011), interval: [-0.01, 0.01] as [number, number] }
    const gradients = {
      ...analysis.gradients!,
      checkpoints: [{ ...analysis.gradients!.checkpoints[0], clusters: weak }],
    }
    expect(page({ gradients })).toContain('does not tell them apart')
  })

  it('holds no script and no markup of the data, and leaves out what there is not', () => {
    const html = page({ clusters: undefined, gradients: undefined })
    expect(html).not.toContain('<script>')
    expect(html).not.toContain('<b>a</b>')
    const { document } = parseHTML(html)
    expect([...document.querySelectorAll('section')].map(({ id }) => id)).toEqual(['topics', 'run'])
  })
})

describe('the page of an ablation', () => {
  const picks = [
    { name: 'base', rows: Uint32Array.of(0, 1, 2, 3) },
    { name: 'another draw', rows: Uint32Array.of(0, 4, 5, 6) },
    { name: 'clusters=<3>', rows: Uint32Array.of(0, 1, 2, 9) },
  ]
  const html = buildAblation({
    ...{ title: 'pool', command: 'winnow ablate', device: 'cpu', versions: {}, notices: [] },
    ablation: {
      ...{ budget: '4', rows: 40, overlap: overlapTable(40, picks) },
      picks: picks.map(({ name }, i) => ({
        ...{ name, method: 's2l', also: i === 0 ? ['clusters=5'] : [], selected: 4, tokens: 100, file: 'f' },
        ...{ stages: [{ name: 'clusters', seconds: 2, shared: i === 1 }], seconds: 2 },
        ...(i === 0 ? {} : { agreement: 1 / i }),
      })),
    },
  })

  it('has each pick beside the base and beside chance', () => {
    expect(cells(html, '#overlap')).toEqual([
      ['base, clusters=5', '4', '100', '4', '100 %', '–', '–'],
      ['another draw', '4', '100', '1', '14.3 %', expect.stringMatching(/^5\.\d % ± \d\.\d %$/), '1.00'],
      ['clusters=<3>', '4', '100', '3', '60.0 %', expect.stringMatching(/^5/), '0.500'],
    ])
    const text = parseHTML(html).document.querySelector('#overlap')!.textContent.replaceAll('\u00a0', ' ')
    expect(text).toContain('Another draw from the base’s own signals shares 14.3 % with it')
    expect(parseHTML(html).document.querySelectorAll('#overlap .wide svg [aria-label="cell"] rect')).toHaveLength(9)
  })

  it('has the time of each stage, and marks what was shared', () => {
    expect(cells(html, '#time')).toEqual([
      ['base, clusters=5', 's2l', '2.0 s', '2.0 s'],
      ['another draw', 's2l', '2.0 s*', '2.0 s'],
      ['clusters=<3>', 's2l', '2.0 s', '2.0 s'],
    ])
  })
})
