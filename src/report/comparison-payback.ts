/** Costs and break-even in words. */

import type { BudgetCost, MethodCost } from '../evaluation/costs.ts'
import type { Summary } from '../evaluation/summary.ts'
import { listed, scoreOf } from './comparison-words.ts'
import { count, counted, duration, figure, scaled } from './numbers.ts'

/** What selection cost here and when it pays, a sentence each. */
export function costSentences(summary: Summary): string[] {
  const { costs, target, training, pool, chance } = summary
  const { whole, formula, epochs } = costs
  const each = counted(epochs, 'epoch')
  const sentences = [
    `The whole comparison took ${duration(whole.selection.seconds)} of selection and ${duration(whole.training.seconds)} of training ` +
      `(${counted(whole.training.targets, 'target')}, ${scaled(whole.training.tokens)} tokens). Each signal was computed once for all methods that read it: ` +
      `one by one, selection would have taken ${duration(whole.alone.seconds)}.`,
  ]
  if (formula)
    sentences.push(
      `By the formula 6 E P D + 2 T P D, training a proxy of P = ${scaled(formula.parameters)} parameters for E = ${counted(formula.epochs, 'epoch')} ` +
        `on D = ${scaled(formula.tokens)} tokens and scoring them at T = ${count(formula.checkpoints)} checkpoints takes ${scaled(formula.flops, 'FLOP')}; the table has what was counted.`,
    )
  sentences.push(
    `Training a target of P = ${scaled(target.parameters)} parameters on a pick instead of the pool for E = ${each} saves 6 P E (D − D_selected) FLOPs.` +
      (training === 'steps'
        ? ` Here every target did the same steps, so nothing was saved: this is for those who train ${each} on the pick in place of ${epochs === 1 ? 'one' : 'as many'} on the ${scaled(pool.tokens)} tokens of the pool.`
        : ''),
    'A random pick of the same size saves as much and costs nothing: what selection buys is only what its model is better by.',
  )
  if (chance.better > 0) sentences.push(...paying(summary))
  const rule = ratioSentence(summary)
  return rule === undefined ? sentences : [...sentences, rule]
}

/** Most methods whose break-even is told in words; the table has all. */
const TOLD = 4

/** Of the methods that beat random somewhere: where cost and savings meet, at the budgets where they did. */
function paying({ rows, costs, budgets, metrics, target, methods }: Summary): string[] {
  const won = rows.filter((row) => scoreOf(row, metrics[0].name, null)?.toRandom?.verdict === 'better than random')
  return methods
    .flatMap(({ label }) => {
      const cost = costs.methods.find(({ method }) => method === label)
      const at = won
        .filter((row) => row.method === label)
        .flatMap((row) => cost?.budgets.filter(({ budget, breakEven }) => budget === row.budget && breakEven) ?? [])
      if (!cost || at.length === 0) return []
      const each = (of: (one: BudgetCost) => string) =>
        listed(at.map((one) => `${of(one)} at ${budgets[one.budget].text}`))
      const clock =
        at.every((one) => one.clock) && `; by the clock of this machine ${each(({ clock }) => figure(clock!.epochs))}`
      // Nothing that is counted as arithmetic: it pays wherever a pick saves anything.
      if (cost.flops === 0)
        return [
          `${label} trains no model to select: it cost ${duration(cost.seconds)}, and no arithmetic that is counted here (n-grams, encoders, neighbours and transport are told in time alone).`,
        ]
      return [
        `${label} pays against training on the pool, at ${counted(costs.epochs, 'epoch')}, once the target has more parameters than ${each((one) => paysAbove(cost, one))}. ` +
          `With this target of ${scaled(target.parameters)} it pays after these epochs: ${each((one) => paysAfter(cost, one))}${clock || ''}.`,
      ]
    })
    .slice(0, TOLD)
}

function ratioSentence({ costs, proxy }: Summary): string | undefined {
  const { ratio, published, methods } = costs
  if (ratio === undefined || proxy === undefined) return undefined
  const ruled = methods.filter(({ rule }) => rule).map(({ method }) => method)
  const here =
    ruled.length === 0
      ? 'none of the methods here is one of these'
      : `here this is about ${listed(ruled)}, and ${ratio > published.perplexity ? 'the ratio is above it' : 'the ratio is not above it'}`
  return (
    `The target has ${scaled(ratio)} times the parameters of the proxy (${proxy.name}). Published rule of thumb (arXiv 2410.16208): scorers by perplexity ` +
    `pay above ${published.perplexity} times, scorers by gradients above ${published.gradients}; ${here}.`
  )
}

/** From which size of the target on a pick pays: `7.04 M`, `any` where selection costs no arithmetic, `never`. */
export function paysAbove(cost: MethodCost, at: BudgetCost | undefined): string {
  if (at === undefined) return '–'
  if (cost.flops === 0) return 'any'
  return at.breakEven === undefined ? 'never' : scaled(at.breakEven.parameters)
}

/** After how many epochs: of the target in FLOPs, or by the clock. */
export function paysAfter(cost: { flops: number }, at: BudgetCost | undefined): string {
  if (at === undefined) return '–'
  if (cost.flops === 0) return 'any'
  return at.breakEven === undefined ? 'never' : figure(at.breakEven.epochs)
}

/** What the targets of one row were trained on, on average over seeds: `trainingColumns` of a table. */
export interface TrainingLine {
  method: string
  budget: string
  rows: string
  steps: string
  epochs: string
  tokens: string
  flops: string
  time: string
}

/** A line for every row of the summary that trained something. */
export const trainingLines = ({ rows, budgets }: Summary): TrainingLine[] =>
  rows
    .filter(({ training }) => training.tokens > 0)
    .map(({ method, budget, selected, training }) => ({
      method,
      budget: budget < 0 ? 'everything' : budgets[budget].text,
      rows: count(Math.round(selected.rows)),
      steps: count(Math.round(training.steps)),
      epochs: figure(training.epochs),
      tokens: count(Math.round(training.tokens)),
      flops: scaled(training.flops),
      time: duration(training.seconds),
    }))

/** Heads of the columns of `TrainingLine`, in order. */
export const TRAINING_HEADS: Record<keyof TrainingLine, string> = {
  ...{ method: 'method', budget: 'budget', rows: 'rows picked', steps: 'steps', epochs: 'epochs begun' },
  ...{ tokens: 'tokens trained', flops: 'FLOPs', time: 'time' },
}
