import { describe, expect, it } from 'vitest'
import { selectionCost } from '../../src/report/run.ts'
import { summarise } from '../../src/report/summary.ts'
import { randomRun, sampleRun } from './sample-run.ts'

describe('selectionCost', () => {
  it('is 6 P a trained token and 2 P a token and checkpoint; the break-even saves as much on the tokens left out', () => {
    const data = sampleRun({ rows: 200, clusters: 5, checkpoints: 4 })
    const summary = summarise(data)
    const { parameters, trainedTokens } = data.run.proxy!
    const cost = selectionCost(data, summary)!
    expect(cost.flops).toBe(6 * parameters * trainedTokens! + 8 * parameters * summary.tokens)
    expect(cost.breakEven! * 6 * (summary.tokens - summary.selectedTokens)).toBeCloseTo(cost.flops, -6)
  })

  it('has no break-even where everything was picked, and no cost without a proxy', () => {
    const all = sampleRun({ rows: 50, clusters: 5, budget: 50 })
    expect(selectionCost(all, summarise(all))!.breakEven).toBeUndefined()
    const random = randomRun()
    expect(selectionCost(random, summarise(random))).toBeUndefined()
  })
})
