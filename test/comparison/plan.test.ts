/** What a comparison will do, told before it is done. */

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { renderComparisonPlan } from '../../src/cli/comparison-plan.ts'
import { compare } from '../../src/comparison/compare.ts'
import { planCompare } from '../../src/comparison/plan.ts'
import { screen } from '../cli/screen.ts'
import { tinyModel } from '../pipeline/models.ts'
import { poolLines, writePool } from '../pipeline/pools.ts'
import { setting } from './settings.ts'

const stages = ({ seconds }: { seconds: { stage: string }[] }) => seconds.map(({ stage }) => stage)

describe('the plan of a comparison', () => {
  it('has the targets, steps, proxy and tokens that the comparison then has, and writes nothing', async () => {
    const options = setting({ steps: undefined })
    const plan = await planCompare(options, { ort })
    expect(readdirSync(options.home).sort()).toEqual(['pool.jsonl', 'test.jsonl'])
    const { summary } = await compare(options, { ort })
    expect(plan.tokens).toEqual({ count: summary.pool.tokens, exact: true })
    expect(plan.tests).toEqual(summary.tests)
    expect(plan.methods).toEqual(['random', 's2l'])
    expect(plan.budgets.map(({ amount }) => amount)).toEqual([13, 33])
    expect(plan.targets).toMatchObject({
      steps: summary.steps,
      parameters: summary.target.parameters,
      count: 2 * (2 * 2 + 1),
      untouched: 2,
    })
    expect(plan.proxy).toMatchObject({
      parameters: summary.proxy?.parameters,
      epochs: summary.proxy?.epochs,
      checkpoints: 2,
    })
    const { signals, training, scoring, total } = plan.flops
    expect(total).toBe(signals + training + scoring)
    const trained = summary.rows.flatMap((row) => (row.method === 'none' ? [] : [row.training.flops * 2]))
    const counted = trained.reduce((sum, flops) => sum + flops, 0)
    // Labels of batches as small as these are padded, which the plan does not count.
    expect(training / counted).toBeGreaterThan(0.5)
    expect(training / counted).toBeLessThan(1.1)
    expect(plan.answers).toBeUndefined()
    expect(plan.secondsTotal).toBeGreaterThan(0)
  }, 60_000)

  it('counts each signal once, whichever methods read it', async () => {
    const methods = [
      's2l',
      's2l:clusters=5',
      'least-confidence',
      'facility-location',
      'k-center',
      'got-d',
      'rds',
      'dsir',
    ]
    const options = setting({ methods })
    const target = join(options.home, 'target.jsonl')
    writePool(target, poolLines({ svamp: 5, gsm8k: 0 }))
    const plan = await planCompare({ ...options, target: [target] }, { ort })
    const count = (name: RegExp) => stages(plan).filter((stage) => name.test(stage)).length
    expect(count(/^train the proxy$/)).toBe(1)
    expect(count(/^score the pool 12 times$/)).toBe(0)
    expect(count(/^cluster$/)).toBe(2)
    // n-grams for all that compare rows by them, and hidden states for rds.
    expect(count(/^embed/)).toBe(2)
    expect(count(/^weigh n-grams$/)).toBe(1)
    expect(plan.target?.rows).toBe(5)
    // random, and both checkpoints of least-confidence.
    expect(plan.methods).toHaveLength(methods.length + 2)
    expect(plan.targets.count).toBe(2 * (10 * 2 + 1))
  }, 60_000)

  it('leaves methods by source out of all where the pool names none, and refuses one that was named', async () => {
    const options = setting({ methods: ['all'], budgets: ['20%'], seeds: 1, set: {} })
    writeFileSync(
      options.pool[0],
      Array.from({ length: 40 }, (_, i) => `${JSON.stringify({ text: `row ${i} of the pool` })}\n`).join(''),
    )
    writeFileSync(options.test[0], '{"text":"a text"}\n')
    const plan = await planCompare(options, { ort })
    expect(plan.leftOut).toContain('random-balanced')
    expect(plan.methods).not.toContain('random-balanced')
    await expect(planCompare({ ...options, methods: ['random-balanced'] }, { ort })).rejects.toThrow(
      /no row of the pool/,
    )
  }, 60_000)

  it('tells of answers that its time does not hold, and scores an untouched pretrained target once', async () => {
    const options = setting({
      metrics: ['exact-match', 'nll'],
      seeds: 3,
      budgets: ['20%'],
      methods: ['random'],
      set: {},
    })
    const targetModel = join(options.home, 'model')
    tinyModel(targetModel)
    const plan = await planCompare(
      { ...options, targetModel, steps: undefined, epochs: 2, learningRate: 1e-3 },
      { ort },
    )
    expect(plan.targets).toMatchObject({ epochs: 2, untouched: 1, count: 6 })
    expect(plan.targets.steps).toBeUndefined()
    expect(plan.answers).toEqual({ metrics: ['exact-match'], texts: 10 * 7, maxNewTokens: 256 })
    const shown = renderComparisonPlan(plan, screen({ columns: 200 }))
    expect(shown).toContain('70 answers of at most 256 tokens for exact-match')
    expect(shown).toContain('6 of')
    expect(shown).toContain('nothing was written')
  }, 60_000)
})
