import { describe, expect, it } from 'vitest'
import { sampleRows, shownRows, spanningClusters } from '../../src/report/samples.ts'
import { randomRun, sampleRun } from './sample-run.ts'

describe('rows shown in the report', () => {
  const data = sampleRun()
  const shown = sampleRows(data)

  it('are five distinct rows of each of six clusters that span the sizes', () => {
    const sizes = shown.panels.map(
      ({ cluster }) => Array.from(data.clusters!.assignment).filter((assigned) => assigned === cluster).length,
    )
    expect(sizes).toHaveLength(6)
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b))
    for (const { cluster, rows } of shown.panels) {
      expect(new Set(rows).size).toBe(5)
      for (const row of rows) expect(data.clusters!.assignment[row]).toBe(cluster)
    }
  })

  it('are five picked rows and five others', () => {
    expect(Array.from(shown.picked, (row) => data.rows.selected[row])).toEqual([1, 1, 1, 1, 1])
    expect(Array.from(shown.left, (row) => data.rows.selected[row])).toEqual([0, 0, 0, 0, 0])
  })

  it('follow from the seed', () => {
    expect(sampleRows(sampleRun())).toEqual(shown)
    const other = { ...data, run: { ...data.run, seed: data.run.seed + 1 } }
    expect(sampleRows(other).picked).not.toEqual(shown.picked)
  })

  it('are all named by shownRows, ascending, each once', () => {
    const all = new Set([...shown.panels.flatMap(({ rows }) => [...rows]), ...shown.picked, ...shown.left])
    expect([...shownRows(data)]).toEqual([...all].sort((a, b) => a - b))
  })

  it('are few where there are few', () => {
    const run = sampleRun({ rows: 3, clusters: 2, budget: 3 })
    expect([...shownRows(run)]).toEqual([0, 1, 2])
    expect(sampleRows(run).left).toHaveLength(0)
    expect(sampleRows(randomRun()).panels).toHaveLength(0)
  })
})

describe('spanningClusters', () => {
  it('takes the smallest, the largest and even ranks between, without empty clusters', () => {
    expect(spanningClusters([50, 0, 10, 40, 20, 30], 3)).toEqual([2, 5, 0])
    expect(spanningClusters([7, 0, 7], 6)).toEqual([0, 2])
    expect(spanningClusters([], 6)).toEqual([])
  })
})
