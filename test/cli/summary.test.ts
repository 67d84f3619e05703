import { expect, it } from 'vitest'
import { renderPlan, renderSummary } from '../../src/cli/summary.ts'
import type { SelectPlan, SelectResult } from '../../src/pipeline/result.ts'
import { screen } from './screen.ts'

const result: SelectResult = {
  rows: 1500,
  selected: 450,
  tokens: { pool: 280_000, selected: 70_000 },
  out: { path: 'math.selected.jsonl', bytes: 228_000, sha256: 'ab' },
  run: 'math.winnow',
  report: 'math.winnow/report.html',
  selectionFile: 'math.winnow/selection.parquet',
  nll: { proxy: 2.1, bigram: 3.4554 },
  groups: [],
  notices: [],
  device: 'cpu',
  seconds: 134,
  stages: [],
}

it('a run ends with what was picked, where it is, how well the proxy learned, and what to do next', () => {
  expect(renderSummary(result, screen({ columns: 120 }))).toBe(`
Selected 450 of 1,500 rows (30.0 %), 70,000 of 280,000 tokens (25.0 %).

  records  math.selected.jsonl (228 kB)
  report   math.winnow/report.html
  reasons  math.winnow/selection.parquet (a row for each row of the pool)
  time     2 min 14 s on cpu
  proxy    2.100 nats a token, 1.355 lower than a bigram model (3.455)

Next: open the report in a browser, then fine-tune on math.selected.jsonl. Another --budget takes
seconds, with an --out of its own: the losses are kept in math.winnow.
`)
})

it('warns where the proxy is not better than word pairs, equal included', () => {
  for (const proxy of [3.4554, 5, Number.NaN]) {
    const text = renderSummary({ ...result, nll: { proxy, bigram: 3.4554 } }, screen({}))
    expect(text).toContain('warning: the proxy predicts the pool no better than word pairs')
    expect(text).toContain('not lower than a bigram model (3.455)')
  }
  expect(renderSummary(result, screen({}))).not.toContain('warning')
})

it('says where losses came from that no proxy was trained for, before and after', () => {
  const imported = { file: 'losses.parquet', sha256: 'ab', rows: 1500, columns: 12, steps: [], used: [], incomplete: 0 }
  const text = renderSummary({ ...result, nll: undefined, imported }, screen({ columns: 120 }))
  expect(text).toContain('  losses   imported from losses.parquet (1,500 rows x 12 checkpoints), no proxy trained\n')
  expect(text).not.toMatch(/nats|bigram/)
})

it('sentences are wrapped to the terminal', () => {
  const text = renderSummary({ ...result, nll: { proxy: 5, bigram: 3 } }, screen({ columns: 72 }))
  for (const line of text.split('\n').filter((line) => !line.startsWith(' '))) expect(line.length).toBeLessThan(72)
})

it('a plan has rows, tokens, FLOPs, disk and time by stage, and says what is an estimate', () => {
  const plan: SelectPlan = {
    rows: 2_000_000,
    budget: { unit: 'tokens', amount: 2e6 },
    tokens: { count: 3.1e8, exact: false },
    format: { name: 'messages', reason: '`messages` in 64 of the first 64 rows' },
    method: 's2l',
    device: 'cpu',
    proxy: {
      ...{ name: 'nano', parameters: 5.3e6, vocabularySize: 4096, epochs: 1, steps: 40_000, checkpoints: 12 },
      ...{ trained: 5.3e6, memoryBytes: 2.1e8 },
    },
    flops: { training: 9.9e15, scoring: 3.96e16, total: 4.95e16 },
    diskBytes: 1.4e9,
    seconds: [
      { stage: 'read', seconds: 41 },
      { stage: 'train the proxy', seconds: 90_000 },
    ],
    secondsTotal: 90_041,
    run: 'pool.winnow',
    out: 'pool.selected.jsonl',
  }
  expect(renderPlan(plan, screen({}))).toBe(`
Plan (nothing was written)

  pool      2,000,000 rows, about 310,000,000 tokens
  format    messages (\`messages\` in 64 of the first 64 rows)
  budget    2,000,000 tokens
  method    s2l
  proxy     nano, 5.3 M parameters, vocabulary 4,096
  training  1 epoch, 40,000 steps, 12 checkpoints
  memory    at least 210 MB to train: weights, gradients, moments, activations
  work      49.5 PFLOP: 9.9 PFLOP training, 39.6 PFLOP scoring
  disk      1.4 GB in pool.winnow
  time      about 25 h 1 min on cpu
                    41 s  read
              25 h 0 min  train the proxy
  output    pool.selected.jsonl
`)
})
