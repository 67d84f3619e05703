/** What `select` says at its end, and what `--dry-run` says instead of working. */

import { relative } from 'node:path'
import type { SelectPlan, SelectResult, TargetResult } from '../pipeline/result.ts'
import { bytes, count, counted, duration, nats, percent, scaled } from './numbers.ts'
import { pairs, plain, type Terminal, wrap } from './terminal.ts'

/** A path as one would type it here: relative where that is shorter. */
export function shownPath(path: string): string {
  const near = relative('.', path)
  return plain(near !== '' && near.length < path.length ? near : path)
}

const sentence = (terminal: Terminal, text: string) =>
  `${wrap(text, Math.min(100, terminal.columns() - 1)).join('\n')}\n`

const importedLosses = ({ file, rows, columns }: { file: string; rows: number; columns: number }) =>
  `imported from ${shownPath(file)} (${counted(rows, 'row')} x ${counted(columns, 'checkpoint')})`

/** The end of a run: what was picked, where it is, how well the proxy learned, what to do next. */
export function renderSummary(result: SelectResult, terminal: Terminal): string {
  const { rows, selected, tokens, nll, imported, target, embedding } = result
  const bold = (text: string) => terminal.style('bold', text)
  const share = `, ${count(tokens.selected)} of ${count(tokens.pool)} tokens (${percent(tokens.selected / tokens.pool)})`
  const head = `Selected ${count(selected)} of ${counted(rows, 'row')} (${percent(selected / rows)})${share}`
  const learned = nll && (nll.bigram === undefined || nll.proxy < nll.bigram)
  const facts: [string, string][] = [
    ['records', `${bold(shownPath(result.out.path))} (${bytes(result.out.bytes)})`],
    ['report', bold(shownPath(result.report))],
    ['reasons', `${shownPath(result.selectionFile)} (a row for each row of the pool)`],
    ['time', `${duration(result.seconds)} on ${result.device}`],
  ]
  if (nll && nll.bigram === undefined) facts.push(['proxy', `${nats(nll.proxy)} nats a token`])
  else if (nll?.bigram !== undefined) {
    const gap = learned ? `${nats(nll.bigram - nll.proxy)} lower` : 'not lower'
    facts.push(['proxy', `${nats(nll.proxy)} nats a token, ${gap} than a bigram model (${nats(nll.bigram)})`])
  }
  if (imported) facts.push(['losses', `${importedLosses(imported)}, no proxy trained`])
  if (target) facts.push(...targetFacts(target))
  if (embedding) facts.push(['vectors', comparedBy(embedding)])
  const warning =
    nll && !learned
      ? `\n${sentence(
          terminal,
          `${terminal.style('yellow', 'warning:')} the proxy predicts the pool no better than word pairs do, so its losses say little about the rows and this selection is close to a random one. The pool is probably too small or too short for it.`,
        )}`
      : ''
  const kept = nll || imported ? 'losses' : target?.embedding || embedding ? 'vectors' : undefined
  const again =
    kept === undefined
      ? ''
      : ` Another --budget${target ? ' or --target' : ''} takes seconds, with an --out of its own: the ${kept} are kept in ${shownPath(result.run)}.`
  const out = shownPath(result.out.path)
  const then = target
    ? `warm a model up on the pick before the task: winnow warmup --model <model> --pool-pick ${out} --task <file>`
    : `fine-tune on ${out}`
  const next = `Next: open the report in a browser, then ${then}.${again}`
  return `\n${bold(sentence(terminal, `${head}.`).trimEnd())}\n\n${pairs(facts)}${warning}\n${sentence(terminal, next)}`
}

const comparedBy = ({ name, dimensions }: { name: string; dimensions: number }) =>
  `${plain(name)} in ${count(dimensions)} dimensions`

function targetFacts({ rows, embedding, domains, transport, nearDuplicates }: TargetResult): [string, string][] {
  const compared = embedding && `, compared by ${comparedBy(embedding)}`
  const facts: [string, string][] = [['target', `${counted(rows, 'row')}${compared ?? ''}`]]
  if (domains && domains.length > 1) {
    const nearest = domains
      .slice(0, 3)
      .map(({ name, distance }) => `${plain(name) || '(none)'} ${distance?.toFixed(3) ?? '–'}`)
    facts.push(['nearest', `${nearest.join(', ')} (transport cost of ${count(domains.length)} sources)`])
  }
  if (transport)
    facts.push([
      'transport',
      `${counted(transport.iterations, 'iteration')} on ${counted(transport.candidates, 'candidate')}, marginal error ${transport.marginalError.toExponential(1)}`,
    ])
  if (nearDuplicates && nearDuplicates.near > 0)
    facts.push([
      'alike',
      `${count(nearDuplicates.near)} of ${count(nearDuplicates.compared)} picked rows are near another one`,
    ])
  return facts
}

type Facts = [string, string][]

/** The proxy of a plan. */
export function proxyFacts({ proxy }: Pick<SelectPlan, 'proxy'>): Facts {
  if (proxy === undefined) return []
  const some = proxy.trained === proxy.parameters ? '' : `, ${scaled(proxy.trained)} trained parameters`
  return [
    [
      'proxy',
      `${plain(proxy.name)}, ${scaled(proxy.parameters)} parameters, vocabulary ${count(proxy.vocabularySize)}`,
    ],
    [
      'training',
      `${counted(proxy.epochs, 'epoch')}, ${counted(proxy.steps, 'step')}, ${counted(proxy.checkpoints, 'checkpoint')}${some}`,
    ],
    ['memory', `at least ${bytes(proxy.memoryBytes)} to train: weights, gradients, moments, activations`],
  ]
}

/** Losses that a plan reads from a file. */
export const importFacts = ({ imported, proxy }: Pick<SelectPlan, 'imported' | 'proxy'>): Facts =>
  imported ? [['losses', `${importedLosses(imported)}${proxy ? '' : ', no proxy to train'}`]] : []

/** The target set of a plan, and what rows are compared in. */
export function vectorFacts({ target, embedding }: Pick<SelectPlan, 'target' | 'embedding'>): Facts {
  const compared = target?.embedding && `, compared by ${comparedBy(target.embedding)}`
  return [
    ...(target ? ([['target', `${counted(target.rows, 'row')}${compared ?? ''}`]] as Facts) : []),
    ...(embedding ? ([['vectors', comparedBy(embedding)]] as Facts) : []),
  ]
}

/** The time of a plan, and of its stages. */
export const stageTimes = ({
  secondsTotal,
  seconds: stages,
  device,
}: Pick<SelectPlan, 'secondsTotal' | 'seconds' | 'device'>): Facts => [
  ['time', `about ${duration(secondsTotal)} on ${device}`],
  ...stages.map(({ stage, seconds }): [string, string] => ['', `${duration(seconds).padStart(12)}  ${stage}`]),
]

/** A plan, for `--dry-run`. */
export function renderPlan(plan: SelectPlan, terminal: Terminal): string {
  const { budget, tokens, flops } = plan
  const about = tokens.exact ? '' : 'about '
  const rows: [string, string][] = [
    ['pool', `${counted(plan.rows, 'row')}, ${about}${counted(tokens.count, 'token')}`],
    ['format', `${plan.format.name} (${plan.format.reason})`],
    ['budget', budget.unit === 'rows' ? counted(budget.amount, 'row') : counted(budget.amount, 'token')],
    ['method', plan.method],
  ]
  rows.push(...proxyFacts(plan), ...vectorFacts(plan), ...importFacts(plan))
  if (flops.total > 0) {
    const parts = `${scaled(flops.training, 'FLOP')} training, ${scaled(flops.scoring, 'FLOP')} scoring`
    rows.push(['work', `${scaled(flops.total, 'FLOP')}: ${parts}`])
  }
  rows.push(['disk', `${bytes(plan.diskBytes)} in ${shownPath(plan.run)}`], ...stageTimes(plan))
  rows.push(['output', shownPath(plan.out)])
  return `\n${terminal.style('bold', 'Plan')} (nothing was written)\n\n${pairs(rows)}`
}
