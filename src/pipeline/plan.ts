/** `select --dry-run`: what a run would do and cost, without writing anything. */

import { openDataset } from '../dataset/dataset.ts'
import type { Device } from '../engine/session.ts'
import { resolveBudget } from '../methods/budget.ts'
import { isRun } from '../runs/directory.ts'
import { countTokens, readTexts } from './counted.ts'
import { needsOf, resolveOptions, type SelectContext, type SelectOptions } from './options.ts'
import { planSignals } from './plan-signals.ts'
import { maybePretrained, withModel } from './pretrained.ts'
import type { SelectPlan } from './result.ts'
import { mayWrite } from './select.ts'
import { checkNeeds, shortestRow } from './signals.ts'

/** Passes that a run makes over its input: read, tokenizer, tokens, write, report. */
const PASSES = 5

/**
 * Reads the pool, tokenises it (a sample, where it is large), plans every batch, runs a few training and scoring steps to learn this
 * machine's rate, and adds up. Writes nothing. Stages that a run directory already holds are not taken off.
 */
export async function planSelect(
  asked: SelectOptions,
  { ort, onEvent = () => {}, signal }: SelectContext,
): Promise<SelectPlan> {
  const resolved = resolveOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  if (!(await isRun(resolved.run))) await mayWrite(resolved, dataset)
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  await mayWrite(options, dataset)
  const texts = await readTexts(dataset, signal)
  const { rows } = texts
  const { tokenizer } = pretrained ?? {}
  const { maxLength, onBadRow } = options
  const counted = await countTokens(dataset, texts, { tokenizer, ...{ maxLength, onBadRow }, signal })
  const { cut } = counted
  const needs = needsOf(options)
  checkNeeds(options.method.name, needs, texts)
  const device: Device = { ort, name: options.device, threads: options.threads, precision: options.precision }
  const plan = await planSignals([{ options, needs }], { dataset, counted, device, pretrained, signal })
  const { proxy, imported, target, embedding, flops } = plan
  const seconds = [
    { stage: 'read, tokenise and write', seconds: PASSES * texts.seconds + counted.secondsForPool },
    ...plan.seconds,
  ]
  const shortest = shortestRow(counted.lengths, options.maxLength)
  const budget = resolveBudget(options.budget, { rows, tokens: cut, ...(counted.exact && { shortest }) })
  const share = budget.unit === 'rows' ? budget.rows / rows : budget.tokens / cut
  const inputBytes = dataset.inputs.reduce((total, input) => total + input.bytes, 0)
  return {
    rows,
    budget: { unit: budget.unit, amount: budget.unit === 'rows' ? budget.rows : budget.tokens },
    tokens: { count: cut, exact: counted.exact },
    format: { name: dataset.format.name, reason: dataset.format.reason },
    method: options.method.name,
    device: options.device,
    ...{ proxy, imported, target, embedding, flops },
    // Tokens with their index, the selection twice (in the run and where it was asked for), the page, and what signals leave.
    diskBytes: Math.round(4 * counted.tokens + 40 * rows + 2 * share * inputBytes + 300_000 + plan.diskBytes),
    seconds,
    secondsTotal: seconds.reduce((total, stage) => total + stage.seconds, 0),
    run: options.run,
    out: options.out,
  }
}
