import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { buildReport } from '../../src/report/report.ts'
import { gotdRun } from './target-run.ts'

describe('drawings of a run with a target, as files to look at', () => {
  const { document } = parseHTML(buildReport(gotdRun({ rows: 400, targets: 30, budget: 40 })))

  it.each(['domain-distances-wide', 'score-histogram-narrow', 'target-coverage-narrow'])('%s', async (id) => {
    const title = [...document.querySelectorAll('svg title')].find((element) => element.id === `${id}-title`)!
    // One element a line, so that a change shows where it is.
    const svg = title.parentNode!.toString().replaceAll('><', '>\n<')
    await expect(`${svg}\n`).toMatchFileSnapshot(`../fixtures/report/${id}.svg`)
  })
})
