/** `winnow compare`: every method against random, on the user's own data. */

import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { CompareOptions } from '../comparison/options.ts'
import type { MetricName } from '../evaluation/comparison.ts'
import type { TrainingOptions } from '../pipeline/model-options.ts'
import {
  adder,
  addHub,
  addMachine,
  addPasses,
  addReading,
  type CommonFlags,
  commonOf,
  endings,
  rate,
} from './common-options.ts'
import { renderComparisonPlan } from './comparison-plan.ts'
import { renderComparison } from './comparison-table.ts'
import { addTarget, another } from './select-options.ts'
import { shownPath } from './summary.ts'
import { pairs, terminalOf, writeJson } from './terminal.ts'
import { wholeNumber } from './whole-number.ts'
import { commandLine, finish, work } from './work.ts'

const DESCRIPTION = `Says what selection is worth on your own data: selects with each method at each budget, trains the target model on every pick and scores it on test sets that no method saw, beside a target trained on the whole pool and an untouched one. Differences to random come with a paired bootstrap interval, and where they could be chance it says so.

Signals are computed once and shared by all methods. A killed or stopped comparison goes on cell by cell when the same command is given again; another budget, method or seed in the same run directory adds to what is there.`

const EXAMPLES = `${endings('the report')}
Examples:
  winnow compare pool.jsonl --methods s2l,facility-location --budgets 10%,30% --test test.jsonl
  winnow compare pool.jsonl --methods all --target task.jsonl --budgets 5%,10%,30% --seeds 5 --test a=a.jsonl --test b=b.csv
  winnow compare pool.jsonl --methods s2l:clusters=50,s2l:clusters=200 --budgets 30% --test test.jsonl --target-model HuggingFaceTB/SmolLM2-135M`

interface CompareFlags extends CommonFlags {
  methods?: string
  budgets?: string
  seeds?: number
  test?: string[]
  testFields?: string
  testTemplate?: string
  targetModel?: string
  targetRevision?: string
  steps?: number
  metrics?: string
  maxNewTokens?: number
  programs?: boolean
  testRows?: number
  set?: string[]
  dryRun?: boolean
  keepTargets?: boolean
  signal?: string[]
  price?: number
  currency?: string
  proxyEpochs?: number
  proxyLearningRate?: number
  proxyBatch?: number
  proxyLora?: number
}

/** Fills in the command: its description, options and action. */
export function defineCompare(command: Command): void {
  command.description(DESCRIPTION).argument('[pool...]', 'files and globs').addHelpText('after', EXAMPLES)
  const add = adder(command)
  const what = 'What to compare:'
  add(
    what,
    '-m, --methods <list>',
    'separated by commas; all; name@early or name@3 names the checkpoint that rows are scored with, name:option=value an option. A method that scores with a checkpoint stands for both early and late',
  )
  add(what, '-b, --budgets <list>', 'such as 5%,10%,30%')
  add(what, '--seeds <n>', 'draws of each method and trainings of the target on them (default: 3)', wholeNumber(1))
  add(what, '--seed <n>', 'the first seed, also of what is computed once (default: 0)', wholeNumber(0))
  add(what, '--set <option=value>', 'an option of every method that has it, such as checkpoints=6', another)
  add(what, '--signal <name=file>', 'as for select, for the methods that read it', another)
  const tests = 'What it is measured on:'
  add(tests, '--test <file>', 'records that no method may see, or name=file; may be given several times', another)
  add(tests, '--test-fields <map>', 'as --fields, of the test sets (default: detected)')
  add(tests, '--test-template <text>', 'as --template, of the test sets')
  add(tests, '--test-rows <n>', 'the first rows of each test set (default: all)', wholeNumber(1))
  add(
    tests,
    '--metrics <list>',
    'nll (loss of the responses), or of answers that the target writes: exact-match, rouge-l, bleu, accuracy; the first decides (default: nll)',
  )
  add(tests, '--max-new-tokens <n>', 'of an answer (default: 256)', wholeNumber(1))
  add(tests, '--programs', 'ask for a program first and run it in a sandbox, as MAmmoTH does')
  const target = 'The target model, which is trained on every pick:'
  add(
    target,
    '--target-model <model>',
    'nano (from scratch, larger than the proxy), nano:WIDTHxLAYERS, a hub id or a model directory (default: nano)',
  )
  add(target, '--target-revision <name>', 'branch, tag or commit of a model of the hub (default: main)')
  add(
    target,
    '--steps <n>',
    'optimiser steps of every target (default: what the recipe takes for the largest budget)',
    wholeNumber(1),
  )
  add(target, '--epochs <n>', 'passes over each pick: equal epochs in place of equal steps', wholeNumber(1))
  add(target, '--learning-rate <rate>', 'peak of a cosine schedule (default: 2e-5, with --lora 2e-4)', rate)
  addPasses(add, target)
  add(target, '--keep-targets', 'keep each trained target as a model, so that further tests and metrics train nothing')
  add(target, '--price <money>', 'of a million trained tokens, for the break-even', money)
  add(target, '--currency <name>', 'of the price (default: USD)')
  const proxy = 'The proxy:'
  add(proxy, '--proxy <model>', 'nano, a hub id or a model directory (default: nano)')
  addHub(add, proxy)
  add(proxy, '--proxy-epochs <n>', 'of a pretrained proxy: passes over the pool (default: 3)', wholeNumber(1))
  add(proxy, '--proxy-learning-rate <rate>', 'of a pretrained proxy (default: 2e-5, with --proxy-lora 2e-4)', rate)
  add(proxy, '--proxy-batch <rows>', 'of a pretrained proxy: rows of a step', wholeNumber(1))
  add(proxy, '--proxy-lora <rank>', 'of a pretrained proxy: train low-rank adapters', wholeNumber(1))
  addTarget(add)
  addReading(add)
  const writing = 'Writing:'
  add(
    writing,
    '--run <directory>',
    'signals, picks, scores, report (default: the pool with .compare.winnow in its name, here)',
  )
  add(writing, '--dry-run', 'say what would be done and what it costs; write nothing')
  add(writing, '--json', 'one JSON object on standard output')
  add(writing, '--verbose', 'show where an unexpected error came from')
  addMachine(add)
  command.action(async (pool: string[], flags: CompareFlags) => {
    const asked: Omit<CompareOptions, 'device'> = { ...optionsOf(pool, flags), command: commandLine() }
    const { resolveCompareOptions } = await import('../comparison/options.ts')
    // Wrong usage before a device is looked for; whether that has the precision is known afterwards.
    const { entries, budgets, seeds } = resolveCompareOptions({ ...asked, precision: undefined })
    const terminal = terminalOf(process.stderr)
    const many = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`
    await work(
      {
        title: `${flags.dryRun ? 'plan of ' : ''}${many(entries.length, 'method')}, ${many(budgets.length, 'budget')}, ${many(seeds.length, 'seed')}`,
        device: flags.device ?? 'auto',
        run: async (device, context, progress) => {
          if (flags.dryRun) {
            const { planCompare } = await import('../comparison/plan.ts')
            const plan = await planCompare({ ...asked, device }, context)
            progress.close()
            terminal.write(renderComparisonPlan(plan, terminal))
            if (flags.json) writeJson(plan)
            return
          }
          const { compare } = await import('../comparison/compare.ts')
          const result = await compare({ ...asked, device }, context)
          finish(result, {
            ...{ progress, terminal, json: flags.json },
            render: ({ summary, report }) =>
              `${renderComparison(summary, terminal)}\n${pairs([
                ['report', terminal.style('bold', shownPath(report))],
                ['picks', shownPath(join(result.run, 'picks'))],
                ...(flags.keepTargets
                  ? [['targets', shownPath(join(result.run, 'targets.json'))] as [string, string]]
                  : []),
              ])}\n`,
          })
        },
      },
      terminal,
    )
  })
}

const list = (text: string | undefined): string[] => (text ?? '').split(',').map((word) => word.trim())

function money(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value
  throw new InvalidArgumentError('It takes an amount of money, such as 0.8.')
}

function optionsOf(pool: string[], flags: CompareFlags): Omit<CompareOptions, 'device'> {
  const { proxyEpochs, proxyLearningRate, proxyBatch, proxyLora } = flags
  const { seeds, testFields, testTemplate, targetModel, targetRevision, steps, maxNewTokens } = flags
  const { programs, testRows, price, currency, keepTargets, signal, set = [] } = flags
  const proxyTraining: TrainingOptions = {
    ...{ epochs: proxyEpochs, learningRate: proxyLearningRate, batch: proxyBatch, lora: proxyLora },
  }
  return {
    ...commonOf(flags),
    ...targetFlags(flags as Record<string, unknown>),
    ...{ pool, seeds, testFields, testTemplate, targetModel, targetRevision, steps, maxNewTokens },
    ...{ programs, testRows, price, currency, keepTargets, proxyTraining },
    methods: list(flags.methods),
    budgets: list(flags.budgets),
    test: flags.test ?? [],
    metrics: flags.metrics === undefined ? undefined : (list(flags.metrics) as MetricName[]),
    set: Object.fromEntries(set.map(pairOf)),
    signals: signal && Object.fromEntries(signal.map(pairOf)),
  }
}

const pairOf = (text: string): [string, string] => {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function targetFlags(flags: Record<string, unknown>): Partial<CompareOptions> {
  const names = [
    'target',
    'targetFields',
    'targetTemplate',
    'embedding',
    'pooling',
    'embeddingDimensions',
    'embeddingTokens',
    'embeddingPrefix',
    'normaliseLength',
  ]
  return Object.fromEntries(names.map((name) => [name, flags[name]]))
}
