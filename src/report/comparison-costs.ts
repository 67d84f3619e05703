/** What selection cost beside what training costs, what was shared, and from where on a pick pays. */

import * as Plot from '@observablehq/plot'
import type { BudgetCost, MethodCost } from '../evaluation/costs.ts'
import type { Summary } from '../evaluation/summary.ts'
import { legend, responsiveChart } from './chart.ts'
import {
  costSentences,
  paysAbove,
  paysAfter,
  TRAINING_HEADS,
  type TrainingLine,
  trainingLines,
} from './comparison-payback.ts'
import { type Html, html } from './html.ts'
import { axisLabel, labelWidth, shortenMiddle } from './labels.ts'
import { count, counted, duration, figure, scaled } from './numbers.ts'
import { disclosure, table } from './table.ts'
import { COLOUR } from './theme.ts'

const LINE = 20

export function costSection(summary: Summary): Html | undefined {
  const { costs } = summary
  if (costs.methods.length === 0) return undefined
  const rows = costs.methods.flatMap((cost) => cost.budgets.map((at) => ({ cost, at })))
  return html`<section id="costs"><h2>What it cost, and when it pays</h2>
<ul class="findings">${costSentences(summary).map((sentence) => html`<li>${sentence}</li>\n`)}</ul>
${costFigure(summary)}
${payTable(summary)}
${disclosure('Training of the targets: tokens, FLOPs, time', trainingTable(summary))}
${disclosure('Cost and savings of every pick', savings(summary, rows))}
${costs.signals.length > 0 && signalTable(summary)}
</section>`
}

/** Bars: the selection of each method. Lines: one training of the target on the pool and on the smallest pick. */
function costFigure({ costs, pool, device }: Summary): Html {
  const { methods, epochs } = costs
  const picked = methods.flatMap(({ budgets: at }) => at.map(({ selected }) => selected.tokens))
  const smallest = Math.min(...picked)
  const perToken = { seconds: costs.target.secondsPerToken, flops: costs.target.formulaFlopsPerToken }
  const draw = (unit: 'seconds' | 'flops', rate: number, write: (value: number) => string) => {
    const [whole, least] = [rate * epochs * pool.tokens, rate * epochs * smallest]
    const most = Math.max(whole, ...methods.map((cost) => cost[unit])) || 1
    const of = unit === 'seconds' ? 'Time' : 'FLOPs'
    return html`<h3>${of} of selection and of ${counted(epochs, 'epoch')} of training${unit === 'seconds' && `, on ${device}`}</h3>
${legend([
  { label: 'selection, all signals included', colour: COLOUR.picked, mark: 'box' },
  { label: `training the target on the whole pool: ${write(whole)}`, colour: COLOUR.ink, mark: 'dashed' },
  { label: `on the smallest pick: ${write(least)}`, colour: COLOUR.muted, mark: 'dashed' },
])}
<figure>${responsiveChart(
      {
        id: `cost-${unit}`,
        title: `${of} of selection, and of training the target`,
        description: `A bar a method: ${methods.map((cost) => `${cost.method} ${write(cost[unit])}`).join('; ')}. Training on the whole pool takes ${write(whole)}, on the smallest pick ${write(least)}.`,
      },
      (width, narrow) => {
        const labels = new Map(
          methods.map(({ method }) => [method, shortenMiddle(axisLabel(method), narrow ? 130 : 260)]),
        )
        return {
          ...{ width, height: LINE * methods.length + 40, marginTop: 4, marginBottom: 32, marginRight: 24 },
          marginLeft: 12 + Math.max(...[...labels.values()].map(labelWidth)),
          x: { domain: [0, 1.02 * most], grid: true, label: null, ticks: narrow ? 3 : 6, tickFormat: write },
          y: {
            ...{ domain: methods.map(({ method }) => method), label: null, tickSize: 0, padding: 0.25 },
            tickFormat: (method: string) => labels.get(method)!,
          },
          marks: [
            Plot.barX(methods, { y: 'method', x: unit, fill: COLOUR.picked }),
            Plot.ruleX([least], { stroke: COLOUR.muted, strokeDasharray: '4,3', strokeWidth: 1.5 }),
            Plot.ruleX([whole], { stroke: COLOUR.ink, strokeDasharray: '4,3', strokeWidth: 1.5 }),
            Plot.ruleX([0], { stroke: COLOUR.muted }),
          ],
        }
      },
    )}</figure>`
  }
  return html`${draw('flops', perToken.flops, (value) => scaled(value, 'FLOP'))}
${perToken.seconds !== undefined && draw('seconds', perToken.seconds, duration)}`
}

/** The size of target from which each pick pays. */
function payTable({ costs, budgets, price }: Summary): Html {
  const priced = costs.methods.some(({ money }) => money !== undefined)
  const at = (cost: MethodCost, budget: number) => cost.budgets.find((one) => one.budget === budget)
  return table(
    `Selection as if each method had been run alone, and how many parameters the target must have for the pick to save more FLOPs than it cost (${counted(costs.epochs, 'epoch')})`,
    [
      { head: 'method', cell: (cost: MethodCost) => cost.method, kind: 'head' },
      { head: 'time', cell: (cost) => duration(cost.seconds), kind: 'number' },
      { head: 'FLOPs', cell: (cost) => scaled(cost.flops), kind: 'number' },
      { head: 'as tokens of the target', cell: (cost) => scaled(Math.round(cost.tokens)), kind: 'number' },
      ...(priced
        ? [
            {
              head: price!.currency,
              cell: (cost: MethodCost) => figure(cost.money ?? Number.NaN),
              kind: 'number' as const,
            },
          ]
        : []),
      ...budgets.map(({ text }, budget) => ({
        head: `pays above, at ${text}`,
        cell: (cost: MethodCost) => paysAbove(cost, at(cost, budget)),
        kind: 'number' as const,
      })),
    ],
    costs.methods,
  )
}

function trainingTable(summary: Summary): Html {
  const names = Object.keys(TRAINING_HEADS) as (keyof TrainingLine)[]
  return table(
    'A target of each row, on average over its seeds',
    names.map((name) => ({
      head: TRAINING_HEADS[name],
      cell: (line: TrainingLine) => line[name],
      ...(name === 'method' ? { kind: 'head' as const } : name === 'budget' ? {} : { kind: 'number' as const }),
    })),
    trainingLines(summary),
  )
}

function savings({ budgets, costs, price }: Summary, rows: readonly { cost: MethodCost; at: BudgetCost }[]): Html {
  type Row = (typeof rows)[number]
  const priced = rows.some(({ at }) => at.saved.money !== undefined)
  const seconds = (value: number | undefined) => (value === undefined ? '–' : duration(value))
  return table(
    `Savings against ${counted(costs.epochs, 'epoch')} on the whole pool, and after how many epochs they reach the cost`,
    [
      { head: 'method', cell: ({ cost }: Row) => cost.method, kind: 'head' },
      { head: 'budget', cell: ({ at }) => budgets[at.budget].text },
      { head: 'tokens picked', cell: ({ at }) => count(at.selected.tokens), kind: 'number' },
      { head: 'tokens saved', cell: ({ at }) => count(at.saved.tokens), kind: 'number' },
      { head: 'FLOPs saved', cell: ({ at }) => scaled(at.saved.flops), kind: 'number' },
      { head: 'time saved', cell: ({ at }) => seconds(at.saved.seconds), kind: 'number' },
      ...(priced
        ? [
            {
              head: `${price!.currency} saved`,
              cell: ({ at }: Row) => figure(at.saved.money ?? Number.NaN),
              kind: 'number' as const,
            },
          ]
        : []),
      { head: 'epochs, by FLOPs', cell: ({ cost, at }) => paysAfter(cost, at), kind: 'number' },
      { head: 'epochs, by the clock', cell: ({ at }) => (at.clock ? figure(at.clock.epochs) : '–'), kind: 'number' },
      {
        head: 'pays below tokens picked',
        cell: ({ at }) =>
          at.breakEven === undefined ? '–' : at.breakEven.tokens === undefined ? 'never' : count(at.breakEven.tokens),
        kind: 'number',
      },
    ],
    rows,
  )
}

function signalTable({ costs }: Summary): Html {
  return table(
    'Computed once, and read by',
    [
      { head: 'signal', cell: (signal: (typeof costs.signals)[number]) => signal.name, kind: 'head' },
      { head: 'time', cell: ({ seconds }) => duration(seconds), kind: 'number' },
      { head: 'FLOPs', cell: ({ flops }) => scaled(flops), kind: 'number' },
      { head: 'methods', cell: ({ methods }) => methods.join(', '), kind: 'text' },
    ],
    costs.signals,
  )
}
