/** Whole comparisons on small real pools. */

import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../../src/answers/evaluate.ts'
import { compare } from '../../src/comparison/compare.ts'
import type { CompareOptions } from '../../src/comparison/options.ts'
import type { MetricName } from '../../src/evaluation/comparison.ts'
import { readNpy } from '../../src/signals/npy.ts'
import { tinyModel } from '../pipeline/models.ts'
import { poolLines, writePool } from '../pipeline/pools.ts'
import { setting } from './settings.ts'

const done = (run: string) =>
  readFileSync(join(run, 'journal.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ event }) => event === 'done')

describe('compare', () => {
  it('trains a target on every pick, on everything and on nothing, and sums that up', async () => {
    const options = setting()
    const { summary } = await compare(options, { ort })
    expect(summary.rows.map(({ method, budget }) => `${method} ${budget}`)).toEqual([
      ...['random 0', 's2l 0', 'random 1', 's2l 1', 'full -1', 'none -1'],
    ])
    expect(summary.steps).toBe(3)
    const [random, s2l, , , full, none] = summary.rows
    expect(random.selected.rows).toBe(13)
    expect(full.selected.rows).toBe(66)
    expect(none.training).toMatchObject({ steps: 0, tokens: 0 })
    expect(s2l.training.steps).toBe(3)
    expect(s2l.scores[0].toRandom?.verdict).toMatch(/random$/)
    // Three steps teach more than none.
    expect(full.scores[0].mean).toBeLessThan(none.scores[0].mean)
    // An untouched target has the first weights of its seed.
    expect(none.scores[0].values[0]).not.toBe(none.scores[0].values[1])
    expect(random.scores[0].toNone?.mean).toBeCloseTo(random.scores[0].mean - none.scores[0].mean, 6)
    const pick = readNpy(readFileSync(join(options.run, 'picks/s2l/20%/seed-0.npy')))
    expect(pick.data).toHaveLength(13)
    expect(summary.costs.methods.find(({ method }) => method === 's2l')?.flops).toBeGreaterThan(0)
    expect(summary.costs.methods.find(({ method }) => method === 'random')?.flops).toBe(0)
  })

  it('computes each signal once for all methods, budgets and seeds, and says so in the manifest', async () => {
    const options = setting({ methods: ['random', 's2l', 's2l:clusters=5', 's2l:normalise=standard'] })
    await compare(options, { ort })
    const { facts } = JSON.parse(readFileSync(join(options.run, 'manifest.json'), 'utf8'))
    expect(facts.signals.trajectories).toEqual({
      results: 1,
      executions: 1,
      readBy: ['s2l', 's2l:clusters=5', 's2l:normalise=standard'],
    })
    expect(facts.signals.clusters).toMatchObject({ results: 3, executions: 3 })
    expect(facts.signals.cell.executions).toBe(facts.signals.cell.results)
  })

  it('adds to what is there: a further seed and budget train only their own cells', async () => {
    const options = setting({ seeds: 1, budgets: ['20%'] })
    const first = await compare(options, { ort })
    const before = done(options.run).filter(({ stage }) => stage === 'cell').length
    const second = await compare({ ...options, seeds: 2, budgets: ['20%', '50%'] }, { ort })
    const after = done(options.run).filter(({ stage }) => stage === 'cell').length
    expect([before, after]).toEqual([4, 12])
    expect(second.summary.rows[1].scores[0].values[0]).toBe(first.summary.rows[1].scores[0].values[0])
  })

  it('gives the same scores with one thread and two', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'] })
    const scores = async (threads: number, run: string) => {
      await compare({ ...options, threads, run }, { ort })
      return readdirSync(join(run, 'cells'))
        .sort()
        .map((cell) => readFileSync(join(run, 'cells', cell, 'nll-test1.npy')).toString('base64'))
    }
    expect(await scores(2, `${options.run}-2`)).toEqual(await scores(1, options.run))
  })

  it('holds epochs equal where asked: a larger pick trains more', async () => {
    const options = setting({ seeds: 1, steps: undefined, epochs: 2 })
    const { summary } = await compare(options, { ort })
    const steps = summary.rows.filter(({ method }) => method === 'random').map(({ training }) => training.steps)
    expect(steps[1]).toBeGreaterThan(steps[0])
    expect(summary.training).toBe('epochs')
    expect(summary.rows[0].training.epochs).toBe(2)
  })

  it('fine-tunes a pretrained target in its own tokens, and scores the untouched one once', async () => {
    const options = setting({ seeds: 2, budgets: ['50%'] })
    const targetModel = join(options.home, 'model')
    tinyModel(targetModel)
    const { summary } = await compare({ ...options, targetModel, learningRate: 1e-3 }, { ort })
    expect(summary.target.pretrained).toBe(true)
    const none = summary.rows.find(({ method }) => method === 'none')
    expect(none?.scores[0].values[0]).toBe(none?.scores[0].values[1])
    const cells = done(options.run).filter(({ stage }) => stage === 'cell')
    expect(cells).toHaveLength(2 * 3 + 1)
    expect(existsSync(join(options.run, 'target/tokens.bin'))).toBe(true)
  })

  it('trains adapters of a pretrained target, and lets the target write with them', async () => {
    const options = setting({ seeds: 2, budgets: ['50%'], methods: ['random'], set: {}, steps: 40 })
    const targetModel = join(options.home, 'model')
    tinyModel(targetModel)
    const asked = { ...options, targetModel, lora: 4, learningRate: 2e-2, metrics: ['nll', 'rouge-l'] as const }
    const { summary } = await compare({ ...asked, metrics: [...asked.metrics], maxNewTokens: 8 }, { ort })
    const { parameters, trained } = summary.target
    expect(trained).toBeLessThan(parameters / 2)
    const [random, full, none] = summary.rows
    const [nll, written] = [0, 2]
    for (const row of [random, full]) expect(row.scores[nll].mean).toBeLessThan(none.scores[nll].mean - 0.2)
    // Another seed begins with other adapters; the untouched model has none.
    expect(full.scores[nll].values[0]).not.toBe(full.scores[nll].values[1])
    expect(none.scores[nll].values[0]).toBe(none.scores[nll].values[1])
    expect(summary.rows.map(({ scores }) => scores[written].metric)).toEqual(Array(3).fill('rouge-l'))
  })

  it.each([
    ['whole', {}],
    ['with adapters', { lora: 2 }],
  ])('keeps pretrained targets that were trained %s: a further test and metric train nothing', async (_, more) => {
    const options = setting({ seeds: 1, budgets: ['50%'], methods: ['random'], set: {}, steps: 30 })
    const targetModel = join(options.home, 'model')
    tinyModel(targetModel)
    const asked = { ...options, ...more, targetModel, learningRate: 1e-2, keepTargets: true }
    const first = await compare(asked, { ort })
    const trained = () => done(options.run).filter(({ stage }) => stage === 'trained')
    // The pick and the whole pool; an untouched model is there already.
    expect(trained()).toHaveLength(2)
    const targets = JSON.parse(readFileSync(join(options.run, 'targets.json'), 'utf8'))
    expect(targets).toMatchObject([
      { method: 'full', budget: null },
      { method: 'random', budget: '50%', seed: 0 },
    ])
    const other = join(options.home, 'other.jsonl')
    writePool(other, poolLines({ svamp: 99, gsm8k: 0 }).slice(91))
    const test = [options.test[0], `other=${other}`]
    const wider = { test, metrics: ['nll', 'rouge-l'] as MetricName[], maxNewTokens: 6 }
    // Also where it is not asked for any more.
    const second = await compare({ ...asked, ...wider, keepTargets: false }, { ort })
    expect(trained()).toHaveLength(2)
    const fresh = await compare({ ...asked, ...wider, keepTargets: false, run: `${options.run}-fresh` }, { ort })
    expect(second.summary.rows.map(({ scores }) => scores)).toEqual(fresh.summary.rows.map(({ scores }) => scores))
    expect(second.summary.rows[0].scores[0].mean).toBe(first.summary.rows[0].scores[0].mean)
    expect(second.summary.rows.map(({ training }) => training)).toEqual(
      first.summary.rows.map(({ training }) => training),
    )
    // A kept target is a model like any other.
    const model = join(options.run, targets[1].directory)
    const { tests } = await evaluate(
      { model, test: options.test, metrics: ['nll'], run: join(options.home, 'e'), out: join(options.home, 'e.jsonl') },
      { ort },
    )
    expect(tests).toHaveLength(1)
  })

  it('keeps a nano target with the tokenizer of the pool, and trains it again where a file is torn', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'], methods: ['random'], set: {}, keepTargets: true })
    const first = await compare(options, { ort })
    const targets = JSON.parse(readFileSync(join(options.run, 'targets.json'), 'utf8'))
    for (const { directory } of targets) truncateSync(join(options.run, directory, 'model.safetensors'), 1000)
    const other = join(options.home, 'other.jsonl')
    writePool(other, poolLines({ svamp: 99, gsm8k: 0 }).slice(91))
    const second = await compare({ ...options, test: [options.test[0], `other=${other}`] }, { ort })
    expect(done(options.run).filter(({ stage }) => stage === 'trained')).toHaveLength(4)
    expect(second.summary.rows[0].scores[0].mean).toBe(first.summary.rows[0].scores[0].mean)
  })

  it('keeps what was not kept before, and trains nothing unasked where kept targets were deleted', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'], methods: ['random'], set: {} })
    const targets = () => JSON.parse(readFileSync(join(options.run, 'targets.json'), 'utf8'))
    const trained = () => done(options.run).filter(({ stage }) => stage === 'trained').length
    const first = await compare(options, { ort })
    expect(existsSync(join(options.run, 'targets.json'))).toBe(false)
    const second = await compare({ ...options, keepTargets: true }, { ort })
    expect([targets().length, trained()]).toEqual([2, 2])
    expect(second.summary.rows.map(({ scores }) => scores)).toEqual(first.summary.rows.map(({ scores }) => scores))
    // Another budget alone: those of before are still there and still named.
    await compare({ ...options, budgets: ['20%'], steps: 3, keepTargets: true }, { ort })
    expect(targets().map(({ method, budget }: { method: string; budget: string }) => [method, budget])).toEqual([
      ['random', '50%'],
      ['full', null],
      ['random', '20%'],
    ])
    rmSync(join(options.run, 'targets'), { recursive: true })
    const other = join(options.home, 'other.jsonl')
    writePool(other, poolLines({ svamp: 99, gsm8k: 0 }).slice(91))
    await compare({ ...options, test: [options.test[0], `other=${other}`] }, { ort })
    expect(existsSync(join(options.run, 'targets'))).toBe(false)
    expect(targets()).toEqual([])
  })

  it('says that rows of a test set are in the pool', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'] })
    writePool(join(options.home, 'test.jsonl'), poolLines({ svamp: 62, gsm8k: 0 }).slice(58))
    const { notices } = await compare(options, { ort })
    expect(notices.map(({ message }) => message)).toContainEqual(
      '2 of 4 rows of the test set test are in the pool: models trained on them have seen the answers',
    )
  })

  it('reads several test sets of different forms, by name', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'] })
    const other = join(options.home, 'other.jsonl')
    writeFileSync(other, `${JSON.stringify({ prompt: 'Say two.', completion: 'Two it is.' })}\n`)
    const { summary } = await compare({ ...options, test: [`sums=${options.test[0]}`, `words=${other}`] }, { ort })
    expect(summary.tests.map(({ name, rows }) => [name, rows])).toEqual([
      ['sums', 10],
      ['words', 1],
    ])
    expect(summary.rows[0].scores.map(({ test }) => test)).toEqual(['sums', 'words', null])
  })

  it('reads a test set before it computes signals', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'] })
    writeFileSync(options.test[0], '{"question": "no answer follows", "answer": 3}\n{broken\n')
    await expect(compare(options, { ort })).rejects.toMatchObject({ fault: { file: options.test[0] } })
    expect(existsSync(join(options.run, 'checkpoints'))).toBe(false)
  })

  it('trains the proxy once where its hidden states are read at two checkpoints', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'], methods: ['facility-location'], set: {}, embedding: 'proxy' })
    const { summary } = await compare(options, { ort })
    const { facts } = JSON.parse(readFileSync(join(options.run, 'manifest.json'), 'utf8'))
    expect(facts.signals.trajectories).toMatchObject({ results: 1, executions: 1 })
    expect(summary.rows.map(({ method }) => method)).toEqual(
      expect.arrayContaining(['facility-location@early', 'facility-location@late']),
    )
    const [, early] = summary.costs.methods
    expect(summary.costs.formula?.checkpoints).toBe(12)
    expect(early.flops).toBeGreaterThan(0)
  })

  it('refuses the run directory of another pool', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'], methods: ['random'], set: {} })
    await compare(options, { ort })
    const other = join(options.home, 'other.jsonl')
    writePool(other, poolLines({ svamp: 40, gsm8k: 0 }))
    await expect(compare({ ...options, pool: [other] }, { ort })).rejects.toMatchObject({
      fault: { code: 'other-pool' },
    })
  })

  it('scores the answers that each target writes, beside its loss, and keeps them with the cell', async () => {
    const options = setting({ seeds: 1, budgets: ['50%'], metrics: ['exact-match', 'nll', 'rouge-l'], maxNewTokens: 6 })
    const first = await compare({ ...options, testRows: 3 }, { ort })
    expect(first.summary.metrics.map(({ name, better }) => [name, better])).toEqual([
      ['exact-match', 'higher'],
      ['nll', 'lower'],
      ['rouge-l', 'higher'],
    ])
    expect(first.summary.tests[0].rows).toBe(3)
    const before = done(options.run).length
    const again = await compare({ ...options, testRows: 3 }, { ort })
    expect(done(options.run)).toHaveLength(before)
    expect(again.summary.rows[0].scores).toEqual(first.summary.rows[0].scores)
    const longer = await compare({ ...options, testRows: 3, maxNewTokens: 7, programs: true }, { ort })
    expect(done(options.run).length).toBeGreaterThan(before)
    expect(longer.summary.rows[0].scores[1].mean).toBe(first.summary.rows[0].scores[1].mean)
    const wider = await compare({ ...options, testRows: 4 }, { ort })
    expect(wider.summary.tests[0].rows).toBe(4)
  })

  it.each([
    ['no test set', { test: [] }, 'no-test'],
    ['no budget', { budgets: [''] }, 'no-budget'],
    ['a budget that is none', { budgets: ['0'] }, 'bad-budget'],
    ['a price that is none', { price: Number.NaN }, 'bad-option'],
    ['steps and epochs at once', { epochs: 1 }, 'two-lengths'],
    ['a size that is none', { targetModel: 'nano:100x2' }, 'bad-option'],
    ['a target set that is missing', { methods: ['got-d', 's2l'] }, 'no-target'],
    ['a recipe for nano', { learningRate: 1e-3 }, 'nano-recipe'],
  ])('refuses %s before any work', async (_, more, code) => {
    const options = setting(more as Partial<CompareOptions>)
    await expect(compare(options, { ort })).rejects.toMatchObject({ fault: { code } })
    expect(existsSync(options.run)).toBe(false)
  })
})
