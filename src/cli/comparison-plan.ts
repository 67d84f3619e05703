/** What `compare --dry-run` says instead of working. */

import type { ComparePlan } from '../comparison/plan.ts'
import { bytes, count, counted, scaled } from './numbers.ts'
import { importFacts, proxyFacts, shownPath, stageTimes, vectorFacts } from './summary.ts'
import { pairs, plain, type Terminal } from './terminal.ts'

/** A plan of a comparison. */
export function renderComparisonPlan(plan: ComparePlan, terminal: Terminal): string {
  const { rows, tokens, methods, leftOut, budgets, seeds, tests, targets, flops, answers } = plan
  const each = targets.steps === undefined ? counted(targets.epochs ?? 0, 'epoch') : counted(targets.steps, 'step')
  const lora = targets.trained === targets.parameters ? '' : `, ${scaled(targets.trained)} of adapters trained`
  const kept = targets.keptBytes === undefined ? '' : `, ${bytes(targets.keptBytes)} of it kept targets`
  const facts: [string, string][] = [
    ['pool', `${counted(rows, 'row')}, ${tokens.exact ? '' : 'about '}${counted(tokens.count, 'token')}`],
    ['methods', `${count(methods.length)}: ${methods.map(plain).join(', ')}`],
    ...(leftOut.length > 0 ? [['left out', leftOut.map(plain).join(', ')] as [string, string]] : []),
    [
      'budgets',
      budgets.map(({ text, unit, amount }) => `${plain(text)} (${counted(amount, unit.slice(0, -1))})`).join(', '),
    ],
    ['seeds', seeds.join(', ')],
    ...tests.map((test): [string, string] => [
      'test',
      `${plain(test.name)}, ${counted(test.rows, 'row')}, ${counted(test.tokens, 'scored token')}`,
    ]),
    ...proxyFacts(plan),
    ...importFacts(plan),
    ...vectorFacts(plan),
    [
      'targets',
      `${count(targets.count)} of ${plain(targets.name)}, ${scaled(targets.parameters)} parameters${lora}, ${each} each; ${count(targets.untouched)} untouched`,
    ],
    ['of each', `at least ${bytes(targets.memoryBytes)} of memory to train: weights, gradients, moments, activations`],
    [
      'work',
      `${scaled(flops.total, 'FLOP')}: ${scaled(flops.signals, 'FLOP')} signals, ${scaled(flops.training, 'FLOP')} training targets, ${scaled(flops.scoring, 'FLOP')} scoring them`,
    ],
    ['disk', `${bytes(plan.diskBytes)} in ${shownPath(plan.run)}${kept}`],
    ...stageTimes(plan),
  ]
  if (answers)
    facts.push([
      'not in it',
      `${counted(answers.texts, 'answer')} of at most ${counted(answers.maxNewTokens, 'token')} for ${answers.metrics.join(', ')}`,
    ])
  return `\n${terminal.style('bold', 'Plan')} (nothing was written)\n\n${pairs(facts)}`
}
