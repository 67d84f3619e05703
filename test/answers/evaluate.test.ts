/** Whole evaluations of small real models. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../../src/answers/evaluate.ts'
import type { DrawnText } from '../../src/answers/instruments.ts'
import type { AnswerLine } from '../../src/answers/lines.ts'
import { type EvaluateOptions, resolveEvaluateOptions } from '../../src/answers/options.ts'
import { compare } from '../../src/comparison/compare.ts'
import { openTextClassifier } from '../../src/embedding/classifier.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { score } from '../../src/pipeline/score.ts'
import { train } from '../../src/pipeline/train.ts'
import { labelGraph, TINY, variant } from '../embedding/encoders.ts'
import { CHAT_TEMPLATE, storiesDirectory, tinyModel } from '../pipeline/models.ts'
import { directory, poolLines, writePool } from '../pipeline/pools.ts'

const readJson = <T>(path: string): T[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

const write = (path: string, rows: object[]) => {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  return path
}

/** How stories260K goes on. */
const STORY = 'Once upon a time, there was a little girl named'
const TEMPLATE = '{prompt}{completion*}'

function prepared(rows: object[] | undefined = undefined) {
  const home = directory()
  const test = join(home, 'test.jsonl')
  if (rows) write(test, rows)
  else writePool(test, poolLines({ svamp: 5, gsm8k: 1 }))
  const model = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 512 } })
  const out = join(home, 'answers.jsonl')
  const run = (
    more: Partial<EvaluateOptions> = {},
    context: { onEvent?: (event: PipelineEvent) => void; signal?: AbortSignal } = {},
  ) =>
    evaluate(
      { ...{ model, test: [test], out, run: join(home, 'run'), threads: 1, maxNewTokens: 6 }, ...more },
      { ort, ...context },
    )
  return { home, test, model, out, run }
}

describe('evaluate', () => {
  it('scores the answers that stories260K gives, to numbers counted by hand', async () => {
    const rows = [' Lily loved a big park.', ' Lily. She loved to play outside in the park. One day'].map(
      (completion) => ({
        ...{ prompt: STORY, completion },
      }),
    )
    const { home, run, out, test } = prepared(rows)
    const model = storiesDirectory(join(home, 'stories'))
    const result = await run({
      ...{ model, template: TEMPLATE, maxNewTokens: 20 },
      metrics: ['rouge-l', 'accuracy', 'f1', 'bert-score'],
      bertEncoder: TINY,
    })
    const lines = readJson<AnswerLine>(out)
    expect(lines[0]).toMatchObject({
      ...{ test: 'test', row: 0, file: test, line: 1, tokens: 20, ended: 'length', right: false },
      answer: 'Lily. She loved to play outside in the park. One day',
      reference: rows[0].completion,
    })
    // 3 words in common in order, of 11 and 5: 2 * 3 / 16.
    expect(lines[0].scores['rouge-l']).toBeCloseTo(37.5, 10)
    expect(lines[1].scores).toMatchObject({ 'rouge-l': 100, accuracy: 100 })
    expect(lines[1].scores['bert-score']).toBeCloseTo(100, 3)
    expect(lines[1].right).toBe(true)
    const [{ scores, answers, perLabel }] = result.tests
    expect(scores).toMatchObject({ accuracy: 50, 'rouge-l': 68.75 })
    // Of two labels one is found twice, rightly once: F1 2/3 and 0.
    expect(scores['macro-f1']).toBeCloseTo(100 / 3, 10)
    expect(Object.keys(perLabel ?? {})).toHaveLength(2)
    expect(answers).toEqual({ texts: 2, tokens: 40, window: 0, unended: 2 })
    expect(result).toMatchObject({
      encoder: TINY,
      averages: [],
      scores: [...['rouge-l', 'accuracy', 'micro-f1', 'macro-f1', 'bert-score']],
    })
    expect(result.notices).toContainEqual(
      expect.objectContaining({ code: 'length', message: 'test: 2 of 2 answers were not at an end after 20 tokens' }),
    )
    expect(JSON.parse(readFileSync(join(home, 'run/manifest.json'), 'utf8'))).toMatchObject({
      ...{ status: 'done', counts: { rows: 2 }, config: { proxy: model, maxNewTokens: 20 } },
    })
  })

  it('gives the losses that winnow score gives, and averages test sets by group', async () => {
    const { home, test, model, run, out } = prepared()
    const other = write(join(home, 'other.jsonl'), [{ prompt: 'Say two.', completion: 'Two it is.' }])
    const result = await run({ test: [`in:sums=${test}`, `out:words=${other}`], testRows: 4 })
    const rows = join(home, 'few.jsonl')
    writeFileSync(rows, readFileSync(test, 'utf8').split('\n').slice(0, 4).join('\n'))
    const asked = {
      pool: [rows],
      proxy: model,
      out: join(home, 'scores.parquet'),
      run: join(home, 'score'),
      threads: 1,
    }
    const scored = await score(asked, { ort })
    const [sums, words] = result.tests
    expect(sums.scores.perplexity).toBeCloseTo(scored.perplexity, 8)
    expect(sums.loss).toEqual({ tokens: scored.tokens.scored, unscored: 0 })
    const lines = readJson<AnswerLine>(out)
    expect(lines.map(({ test: name, row }) => `${name} ${row}`)).toEqual([
      'sums 0',
      'sums 1',
      'sums 2',
      'sums 3',
      'words 0',
    ])
    expect(lines[0]).not.toHaveProperty('answer')
    const own = lines.slice(0, 4).map(({ scores }) => scores.nll as number)
    expect(sums.scores.nll).toBeCloseTo(own.reduce((a, b) => a + b, 0) / 4, 12)
    expect(result.averages.map(({ name, tests }) => [name, tests])).toEqual([
      ['in', ['sums']],
      ['out', ['words']],
      ['all', ['sums', 'words']],
    ])
    expect(result.averages[2].scores.nll).toBeCloseTo(
      ((sums.scores.nll as number) + (words.scores.nll as number)) / 2,
      12,
    )
  })

  it('goes on after the last finished part when it was stopped, to the same bytes, whatever the threads', async () => {
    const { home, run, out, test } = prepared()
    writePool(test, poolLines({ svamp: 20, gsm8k: 0 }))
    const asked = { metrics: ['exact-match', 'nll'], programs: true, batch: 1, seed: 3 } as const
    await run({
      ...asked,
      metrics: [...asked.metrics],
      out: join(home, 'whole.jsonl'),
      run: join(home, 'whole'),
      threads: 2,
    })
    const stop = new AbortController()
    const stopped = run(
      { ...asked, metrics: [...asked.metrics] },
      {
        signal: stop.signal,
        onEvent: (event) => {
          if (event.kind === 'stage-progress' && event.stage === 'test1-generate' && event.progress.fraction > 0.5)
            stop.abort(new Error('enough'))
        },
      },
    )
    await expect(stopped).rejects.toThrow('enough')
    expect(existsSync(out)).toBe(false)
    const resumed: number[] = []
    await run(
      { ...asked, metrics: [...asked.metrics] },
      {
        onEvent: (event) => {
          if (event.kind === 'stage-start' && event.stage === 'test1-generate') resumed.push(event.resumedParts)
        },
      },
    )
    // Of the pass that asks for programs one part was there; the second pass begins.
    expect(resumed).toEqual([1, 0])
    expect(readFileSync(out, 'utf8')).toBe(readFileSync(join(home, 'whole.jsonl'), 'utf8'))
    const { programs } = (await run({ ...asked, metrics: [...asked.metrics] })).tests[0].answers ?? {}
    expect(programs).toEqual({ ran: 0, timeout: 0, memory: 0, error: 0, forbidden: 0 })
  })

  it(
    'asks for a program, runs what is one, and asks again where it printed nothing',
    { timeout: 300_000 },
    async () => {
      // A model that knows two questions by heart, with the sentence that asks for a program and without.
      const asks = (question: string) => `${question} Let's write a program.`
      const lessons = [
        { question: asks('What is 6 times 7?'), answer: 'print(6*7)' },
        { question: 'What is 6 times 7?', answer: 'The answer is 41.' },
        { question: asks('And 9?'), answer: 'print(9/0)' },
        { question: 'And 9?', answer: 'The answer is 9.' },
      ]
      const { home, run, out, test } = prepared([
        { question: 'What is 6 times 7?', answer: '#### 42' },
        { question: 'And 9?', answer: '#### 9.2' },
      ])
      const pool = write(join(home, 'lessons.jsonl'), Array.from({ length: 2 }, () => lessons).flat())
      const model = join(home, 'taught')
      const recipe = { epochs: 60, learningRate: 1e-2, batch: 8, threads: 1, checkpoints: 1 }
      const proxy = storiesDirectory(join(home, 'stories'))
      await train({ ...{ pool: [pool], proxy, out: model, run: join(home, 'train') }, ...recipe }, { ort })
      const metrics: EvaluateOptions['metrics'] = ['exact-match']
      const tolerance = { test: 0.04 }
      const plain = await run({ ...{ model, metrics, tolerance }, maxNewTokens: 30, out: join(home, 'plain.jsonl') })
      expect(plain.tests[0].scores).toEqual({ 'exact-match': 50 })
      const result = await run({
        ...{ model, metrics, tolerance },
        maxNewTokens: 30,
        programs: true,
        programSeconds: 60,
      })
      expect(result.tests[0].scores).toEqual({ 'exact-match': 100 })
      expect(result.tests[0].answers?.programs).toMatchObject({ ran: 2, error: 1, timeout: 0 })
      const lines = readJson<AnswerLine>(out)
      expect(lines.map(({ answer, extracted, truth, right }) => [answer, extracted, truth, right])).toEqual([
        ['The answer is 42', '42', '42', true],
        ['The answer is 9.', '9', '9.2', true],
      ])
      expect(lines[1].program).toMatchObject({ text: 'print(9/0)', fault: 'error' })
      const compared = await run({
        ...{ model, metrics, tolerance, programs: true, programSeconds: 60, maxNewTokens: 30, test: [test] },
        against: join(home, 'plain.jsonl'),
      })
      expect(compared.against?.differences).toMatchObject([{ score: 'exact-match', rows: 2, mean: 50, better: null }])
    },
  )

  it('scores an untouched model as winnow compare does', async () => {
    const { home, test, run, out } = prepared([
      { prompt: STORY, completion: 'Lily. She loved to play in the park with her dog.' },
      { prompt: 'The cat sat', completion: 'on the mat and was happy.' },
    ])
    const model = storiesDirectory(join(home, 'stories'))
    const pool = join(home, 'pool.jsonl')
    writePool(pool, poolLines({ svamp: 24, gsm8k: 0 }).slice(10))
    const metrics: EvaluateOptions['metrics'] = ['nll', 'rouge-l', 'bleu']
    const { summary } = await compare(
      {
        ...{
          pool: [pool],
          test: [test],
          targetModel: model,
          proxy: 'nano:64x1',
          run: join(home, 'compare'),
          threads: 1,
        },
        ...{ methods: ['random'], budgets: ['50%'], seeds: 1, steps: 1, metrics: ['nll', 'rouge-l', 'bleu'] },
        ...{ maxNewTokens: 24 },
      },
      { ort },
    )
    await run({ model, metrics, maxNewTokens: 24 })
    const lines = readJson<AnswerLine>(out)
    const none = summary.rows.find(({ method }) => method === 'none')
    expect(lines.some(({ scores }) => (scores['rouge-l'] as number) > 0)).toBe(true)
    for (const metric of ['nll', 'rouge-l', 'bleu'] as const) {
      const own = lines.map(({ scores }) => scores[metric] as number)
      const score = none?.scores.find((one) => one.metric === metric && one.test === 'test')
      expect(score?.mean).toBeCloseTo(own.reduce((a, b) => a + b, 0) / own.length, 4)
    }
  })

  it('subtracts the answers of another evaluation, or another model', async () => {
    const { home, run, out } = prepared()
    const base = join(home, 'base.jsonl')
    const other = tinyModel(join(home, 'other'), { seed: 1, config: { max_position_embeddings: 512 } })
    const theirs = await run({ model: other, out: base, run: join(home, 'base') })
    const ours = await run({ against: base })
    const [difference] = ours.against?.differences ?? []
    expect(difference).toMatchObject({ score: 'nll', test: 'test', rows: 6 })
    const expected = (ours.tests[0].scores.nll as number) - (theirs.tests[0].scores.nll as number)
    expect(difference.mean).toBeCloseTo(expected, 5)
    expect(difference.low).toBeLessThanOrEqual(difference.mean)
    const live = await run({ against: other })
    expect(live.against?.differences).toEqual(ours.against?.differences)
    expect(readFileSync(live.against?.answers as string, 'utf8')).toBe(readFileSync(base, 'utf8'))
    await expect(run({ against: out, metrics: ['rouge-l'] })).rejects.toMatchObject({
      fault: { code: 'output-is-input' },
    })
    writeFileSync(base, '{"row":0}\n')
    await expect(run({ against: base })).rejects.toMatchObject({ fault: { code: 'bad-answers', file: base, line: 1 } })
  })

  it('draws texts and takes the worst of each prompt; without a scorer it says what to score', async () => {
    const { run } = prepared([{ text: STORY }, { text: 'The dog' }])
    const asked = { metrics: ['toxicity' as const], toxicitySamples: 3 }
    const without = await run(asked)
    expect(without.tests[0].scores).toEqual({ toxicity: null, 'toxicity-probability': null })
    expect(without.notices).toContainEqual(expect.objectContaining({ code: 'no-scorer' }))
    const drawn = readJson<DrawnText>(without.generations as string)
    expect(drawn.map(({ row, sample }) => `${row} ${sample}`)).toEqual([...['0 0', '0 1', '0 2', '1 0', '1 1', '1 2']])
    const toxicityScorer = async (texts: readonly string[]) => texts.map((text) => (text.length % 10) / 10)
    const scored = await run({ ...asked, toxicityScorer })
    const worst = [0, 1].map((row) =>
      Math.max(...drawn.filter((one) => one.row === row).map(({ text }) => (text.length % 10) / 10)),
    )
    expect(scored.tests[0].scores).toEqual({
      toxicity: (worst[0] + worst[1]) / 2,
      'toxicity-probability': worst.filter((one) => one >= 0.5).length / 2,
    })
    // The same texts, now from a file.
    const file = write(join(directory(), 'scores.jsonl'), readJson<DrawnText>(scored.generations as string))
    const again = await run({ ...asked, toxicityScores: file, overwrite: true })
    expect(again.tests[0].scores).toEqual(scored.tests[0].scores)
    // And by a classifier.
    const config = { model_type: 'bert', max_position_embeddings: 48, id2label: { 0: 'fine', 1: 'toxic' } }
    const toxicityClassifier = await variant({ 'onnx/model.onnx': labelGraph(), 'config.json': config })
    const classified = await run({ ...asked, toxicityClassifier, overwrite: true })
    await using classifier = await openTextClassifier({ model: toxicityClassifier })
    const found = await classifier.probabilities(drawn.map(({ text }) => text))
    const highest = [0, 3].map((first) => Math.max(...[0, 1, 2].map((i) => found[2 * (first + i) + 1])))
    expect(classified.tests[0].scores.toxicity).toBeCloseTo((highest[0] + highest[1]) / 2, 6)
    expect(classified.toxicityBy).toBe(toxicityClassifier)
    const unknown = run({ ...asked, toxicityClassifier, toxicityLabel: 'rude', overwrite: true })
    await expect(unknown).rejects.toMatchObject({ fault: { code: 'unknown-label' } })
  })

  it('answers the last question of a conversation, and leaves out what the chat template refuses', async () => {
    const chat = (...contents: string[]) => ({
      messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
    })
    const { home, run, out } = prepared([chat('One?', 'Yes.', 'Two?', '#### 2'), chat('the unspeakable', 'no')])
    const model = tinyModel(join(home, 'chat'), { template: CHAT_TEMPLATE, config: { max_position_embeddings: 512 } })
    const result = await run({ model, metrics: ['exact-match'], onBadRow: 'skip' })
    expect(readJson<AnswerLine>(out)).toMatchObject([{ row: 0, reference: '#### 2', truth: '2' }])
    expect(result.tests[0].rows).toBe(1)
  })

  it('has the defaults of its protocol with programs, and a tolerance by set', () => {
    const resolved = resolveEvaluateOptions({
      ...{ model: './tuned', test: ['in:math=m.jsonl', 'data/gsm8k.jsonl'], programs: true, tolerance: { math: 0.04 } },
    })
    expect(resolved).toMatchObject({
      ...{ metrics: ['exact-match'], maxNewTokens: 1024, programSeconds: 5, toxicitySamples: 25 },
      ...{ out: 'm.answers.jsonl', run: 'm.evaluated.winnow', proxy: './tuned' },
    })
    expect(resolved.tests).toEqual([
      { name: 'math', file: 'm.jsonl', group: 'in', tolerance: 0.04 },
      { name: 'gsm8k', file: 'data/gsm8k.jsonl', tolerance: 0 },
    ])
    expect(resolveEvaluateOptions({ model: './tuned', test: ['a.jsonl'] })).toMatchObject({
      ...{ metrics: ['nll'], maxNewTokens: 256 },
    })
  })

  it.each([
    ['no model', { model: undefined as never }, 'no-model', '--model'],
    ['no test set', { test: [] }, 'no-test', '--test'],
    ['a metric that is none', { metrics: ['blue' as never] }, 'bad-option', '--metrics'],
    ['BERTScore without an encoder', { metrics: ['bert-score' as const] }, 'no-encoder', '--bert-encoder'],
    ['a tolerance of a set that is none', { tolerance: { math: 0.04 } }, 'bad-option', '--tolerance'],
    ['a tolerance of all', { tolerance: 1 }, 'bad-option', '--tolerance'],
    ['two scorers', { toxicityScores: 'a', toxicityClassifier: 'b' }, 'two-scorers', '--toxicity-classifier'],
    ['a table of answers', { out: 'answers.parquet' }, 'unknown-output', '--out'],
    ['other answers that are not there', { against: 'nowhere.jsonl' }, 'missing-file', undefined],
    [
      'scores that are not there',
      { metrics: ['toxicity' as const], toxicityScores: 'no.jsonl' },
      'missing-file',
      undefined,
    ],
  ])('refuses %s before any work', async (_, more, code, path) => {
    const { home, run } = prepared()
    await expect(run(more)).rejects.toMatchObject({ fault: { code, ...(path && { path }) } })
    expect(existsSync(join(home, 'run'))).toBe(false)
  })
})
