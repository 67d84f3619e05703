/** What a comparison will do, told before it is done. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { renderComparisonPlan } from '../../src/cli/comparison-plan.ts'
import { compare } from '../../src/comparison/compare.ts'
import { planCompare } from '../../src/comparison/plan.ts'
import type { MetricName } from '../../src/evaluation/comparison.ts'
import { writeNpy } from '../../src/signals/npy.ts'
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

  it.each([
    ['a test set whose responses begin behind the window', 'nothing-to-score', { maxLength: 16 }],
    ['more clusters than rows', 'too-many-clusters', { methods: ['s2l:clusters=500'], set: {} }],
    ['the run directory of another pool', 'other-pool', {}],
    ['a test set without answers to compare with', 'no-response', { metrics: ['exact-match'] as MetricName[] }],
    ['a missing target', 'no-target', { methods: ['got-d'], set: {} }],
  ])(
    'refuses %s, as the comparison does',
    async (_, code, more) => {
      const options = setting({ seeds: 1, budgets: ['20%'], ...more })
      if (code === 'no-response') writeFileSync(options.test[0], '{"text":"a text that nobody answers"}\n')
      if (code === 'other-pool') {
        const other = join(options.home, 'other.jsonl')
        writePool(other, poolLines({ svamp: 30, gsm8k: 0 }))
        await compare({ ...options, pool: [other], methods: ['random'], set: {}, steps: 1 }, { ort })
      }
      await expect(planCompare(options, { ort })).rejects.toMatchObject({ fault: { code } })
      await expect(compare(options, { ort })).rejects.toMatchObject({ fault: { code } })
    },
    60_000,
  )

  it('counts the rows and tokens of a test set that lie in the window', async () => {
    const options = setting({ seeds: 1, budgets: ['20%'], methods: ['random'], set: {}, maxLength: 60, steps: 1 })
    const plan = await planCompare(options, { ort })
    const { summary } = await compare(options, { ort })
    expect(plan.tests).toEqual(summary.tests)
    expect(summary.tests[0].rows).toBeLessThan(10)
  }, 60_000)

  it('takes budgets in tokens, and a pretrained target with adapters', async () => {
    const options = setting({ seeds: 1, budgets: ['50%', '500tok'], methods: ['random'], set: {}, keepTargets: true })
    const targetModel = join(options.home, 'model')
    tinyModel(targetModel)
    const asked = { ...options, targetModel, lora: 2, learningRate: 1e-3 }
    const plan = await planCompare(asked, { ort })
    expect(plan.budgets).toMatchObject([
      { unit: 'rows', amount: 33 },
      { unit: 'tokens', amount: 500 },
    ])
    expect(plan.targets.trained).toBeLessThan(plan.targets.parameters / 2)
    const without = await planCompare({ ...asked, keepTargets: false }, { ort })
    const { parameters, trained, count, keptBytes } = plan.targets
    expect(keptBytes).toBe(4 * count * (parameters + trained))
    expect(plan.diskBytes - without.diskBytes).toBe(keptBytes)
  }, 60_000)

  it('covers the pool once for each checkpoint whose hidden states it compares', async () => {
    const methods = ['facility-location']
    const nano = await planCompare(setting({ methods, set: {}, embedding: 'proxy' }), { ort })
    expect(nano.methods).toEqual(['random', 'facility-location@early', 'facility-location@late'])
    expect(stages(nano).filter((stage) => stage === 'cover the pool')).toHaveLength(2)
    expect(nano.proxy?.checkpoints).toBe(12)
    const ngrams = await planCompare(setting({ methods, set: {} }), { ort })
    expect(stages(ngrams).filter((stage) => stage === 'cover the pool')).toHaveLength(1)
    expect(ngrams.proxy).toBeUndefined()
  }, 60_000)

  it('trains no proxy for what is imported, and records no more than the others ask for', async () => {
    const methods = ['s2l:checkpoints=6', 'least-confidence@late:checkpoints=2']
    const options = setting({ methods, set: { clusters: '3' }, seeds: 1, budgets: ['20%'], steps: 1, proxy: undefined })
    const file = join(options.home, 'losses.npy')
    const losses = Float32Array.from({ length: 66 * 6 }, (_, i) => 1 + Math.sin(i))
    writeFileSync(file, writeNpy({ shape: [66, 6], data: losses }))
    const asked = { ...options, signals: { trajectories: file } }
    const plan = await planCompare(asked, { ort })
    expect(plan.imported).toMatchObject({ rows: 66, columns: 6 })
    expect(plan.proxy?.checkpoints).toBe(2)
    await compare(asked, { ort })
    const { facts } = JSON.parse(readFileSync(join(options.run, 'manifest.json'), 'utf8'))
    expect(facts.proxy.steps).toHaveLength(2)
    const alone = await planCompare({ ...asked, methods: ['s2l:checkpoints=6'] }, { ort })
    expect(alone.proxy).toBeUndefined()
    expect(renderComparisonPlan(alone, screen({ columns: 200 }))).toContain('no proxy to train')
  }, 60_000)
})
