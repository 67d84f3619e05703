/** Comparisons made up for tests, and an interval that is plain to work out in place of the bootstrap. */

import type { Cell, Comparison, ComparisonMetric } from '../../src/evaluation/comparison.ts'
import type { CompareWith } from '../../src/evaluation/summary.ts'
import { randomStream } from '../../src/random/philox.ts'

/** The mean of all differences, and three standard errors of it over rows averaged over seeds. */
export const threeErrors: CompareWith = (differences) => {
  const rows = differences[0].length
  const means = Array.from(
    { length: rows },
    (_, row) => differences.reduce((sum, seed) => sum + seed[row], 0) / differences.length,
  )
  const mean = means.reduce((sum, one) => sum + one, 0) / rows
  const variance = means.reduce((sum, one) => sum + (one - mean) ** 2, 0) / Math.max(1, rows - 1)
  const error = 3 * Math.sqrt(variance / rows)
  const [low, high] = [mean - error, mean + error]
  return { mean, low, high, distinguishable: low > 0 || high < 0, seeds: differences.length, rows }
}

export const NLL: ComparisonMetric = { name: 'nll', title: 'test loss', unit: 'nats a token', better: 'lower' }
export const EXACT: ComparisonMetric = { name: 'exact-match', title: 'exact match', unit: '%', better: 'higher' }

export interface MadeUp {
  /** Label of a method, and how far its scores lie from random's, the better being below 0. */
  methods?: Record<string, number>
  budgets?: string[]
  seeds?: number[]
  tests?: Record<string, number>
  metrics?: ComparisonMetric[]
  references?: boolean
  /** Changes every score before it is kept. */
  score?: (score: number, cell: Pick<Cell, 'method' | 'budget' | 'seed'>, test: string, row: number) => number
  rest?: Partial<Comparison>
}

/**
 * A comparison whose losses fall with the budget, with noise common to all cells of a test row and noise of each cell's own: a
 * thousand rows of 100 tokens, a proxy of 1 M and a target of 10 M parameters.
 */
export function madeUp(options: MadeUp = {}): Comparison {
  const {
    methods = { random: 0, s2l: -0.1, longest: 0.1 },
    budgets = ['5%', '10%', '30%'],
    seeds = [1, 2, 3],
    tests = { gsm8k: 40, svamp: 20 },
    metrics = [NLL],
    references = true,
    score = (value) => value,
  } = options
  const shares = budgets.map((text) => Number.parseFloat(text) / 100)
  const scoresOf = (cell: Pick<Cell, 'method' | 'budget' | 'seed'>, level: number) =>
    Object.fromEntries(
      metrics.map((metric) => [
        metric.name,
        Object.fromEntries(
          Object.entries(tests).map(([test, rows]) => {
            const difficulty = randomStream(7, `difficulty ${test}`)
            const own = randomStream(cell.seed, `${cell.method} ${cell.budget} ${metric.name} ${test}`)
            return [
              test,
              Float32Array.from({ length: rows }, (_, row) => {
                const loss = level + difficulty.uniform() - 0.5 + 0.1 * (own.uniform() - 0.5)
                return score(metric.better === 'lower' ? loss : 100 * Math.exp(-loss), cell, test, row)
              }),
            ]
          }),
        ),
      ]),
    )
  const cell = (method: string, budget: number, seed: number, share: number, level: number): Cell => {
    const steps = method === 'none' ? 0 : 500
    const tokens = steps * 1000
    return {
      ...{ method, budget, seed },
      selected: { rows: Math.round(1000 * share), tokens: Math.round(100_000 * share) },
      training: {
        ...{ steps, epochs: method === 'none' ? 0 : tokens / (100_000 * share), tokens },
        ...{ flops: 6e7 * tokens, seconds: 2e-4 * tokens, loss: steps === 0 ? Number.NaN : level - 0.3 },
      },
      scores: scoresOf({ method, budget, seed }, level),
    }
  }
  const labels = Object.keys(methods)
  const cells = seeds.flatMap((seed) => [
    ...shares.flatMap((share, budget) =>
      labels.map((label) => cell(label, budget, seed, share, 2.5 - 0.15 * Math.log(share / 0.01) + methods[label])),
    ),
    ...(references ? [cell('full', -1, seed, 1, 1.75)] : []),
  ])
  if (references) cells.push(cell('none', -1, seeds[0], 0, 4.2))
  const named = labels.map((label) => ({
    ...{
      name: label.split('@')[0],
      label,
      title: `the method ${label}`,
      options: {},
      deterministic: label !== 'random',
    },
  }))
  const trajectories = labels.filter((label) => label !== 'random')
  return {
    title: 'math.jsonl',
    command:
      'winnow compare math.jsonl --methods s2l,longest --budgets 5%,10%,30% --seeds 3 --test gsm8k.jsonl,svamp.jsonl',
    finishedAt: '2026-11-25T12:00:00Z',
    pool: { files: ['math.jsonl'], rows: 1000, tokens: 100_000 },
    tests: Object.entries(tests).map(([name, rows]) => ({ name, rows, tokens: rows * 100 })),
    metrics,
    methods: named,
    budgets: budgets.map((text, i) => ({ text, rows: Math.round(1000 * shares[i]) })),
    seeds,
    ...{ training: 'steps', steps: 500 },
    proxy: { name: 'nano', parameters: 1e6, epochs: 3, checkpoints: 10 },
    target: { name: 'stories15M', parameters: 10e6, trained: 10e6, pretrained: true },
    cells,
    costs: labels.map((method) => ({
      method,
      ...(method === 'random' ? { seconds: 0.01, flops: 0 } : { seconds: 61, flops: 3.8e12 }),
      signals:
        method === 'random'
          ? []
          : [
              {
                name: 'trajectories',
                seconds: 60,
                flops: 3.8e12,
                sharedWith: trajectories.filter((one) => one !== method),
              },
            ],
    })),
    notices: [],
    versions: { 'winnow-llm': '0.1.0', node: '24.21.0' },
    device: 'cpu',
    ...options.rest,
  }
}
