/** What `compare` is asked, with its defaults. */

import { parseTestSets, type TestSet } from '../answers/test-sets.ts'
import { WinnowError } from '../errors.ts'
import type { MetricName } from '../evaluation/comparison.ts'
import { type Budget, parseBudget } from '../methods/budget.ts'
import { isNano } from '../models/nano.ts'
import {
  type ResolvedModelOptions,
  type ResolvedTrainingOptions,
  resolveModelOptions,
  resolveTrainingOptions,
  type TrainingOptions,
  wholeNumber,
} from '../pipeline/model-options.ts'
import { needsOf, type ResolvedOptions, resolveOptions, type SelectOptions } from '../pipeline/options.ts'
import type { Asking } from '../pipeline/plan-signals.ts'
import { poolName } from '../pipeline/pool-options.ts'
import type { Json } from '../runs/hash.ts'
import { type Entry, parseMethods } from './specification.ts'

/** The options of `select` are of the pool, the proxy and the target set; those of `TrainingOptions` of the target model. */
export interface CompareOptions
  extends Omit<SelectOptions, 'budget' | 'method' | 'methodOptions' | 'out' | keyof TrainingOptions>,
    TrainingOptions {
  /** As `--methods` takes them (comparison/specification.ts). */
  methods: string[]
  /** `5%`, `5000`, `2Mtok`. */
  budgets: string[]
  /** How many, from `seed` on. Default 3. */
  seeds?: number
  /** Test sets: files, or `name=file`. */
  test: string[]
  testFields?: string
  testTemplate?: string
  /** `nano` (larger than the proxy), `nano:WIDTHxLAYERS`, a hub id or a model directory. Default `nano`. */
  targetModel?: string
  targetRevision?: string
  /** Optimiser steps of every target. Default: what `epochs` over the largest budget take. */
  steps?: number
  /** Passes over each pick: epochs are held equal in place of steps. */
  epochs?: number
  /** What test rows are scored by, the first decides. Default `nll`. */
  metrics?: MetricName[]
  /** Of generated answers. Default 256. */
  maxNewTokens?: number
  /** Ask for a program first and run it, as MAmmoTH does. Default false. */
  programs?: boolean
  /** The first rows of each test set, in place of all. */
  testRows?: number
  /** Seconds of training between two states that a killed cell goes on from. Default 60. */
  stateSeconds?: number
  /** Keep every target that is trained, as a model directory, so that further tests and metrics train nothing. Default false. */
  keepTargets?: boolean
  /** Of a pretrained proxy's fine-tuning. */
  proxyTraining?: TrainingOptions
  /** Options for every method that has them. */
  set?: Record<string, string>
  /** Money for a million trained tokens. */
  price?: number
  currency?: string
}

export interface ResolvedCompareOptions extends ResolvedOptions {
  entries: Entry[]
  leftOut: string[]
  budgets: Budget[]
  seeds: number[]
  tests: TestSet[]
  testFields?: string
  testTemplate?: string
  targetModel: ResolvedModelOptions
  targetTraining: ResolvedTrainingOptions
  steps?: number
  epochs?: number
  metrics: MetricName[]
  maxNewTokens: number
  programs: boolean
  stateSeconds: number
  keepTargets: boolean
  testRows?: number
  price?: { perMillionTokens: number; currency: string }
}

export const METRICS: readonly MetricName[] = ['nll', 'exact-match', 'rouge-l', 'bleu', 'accuracy']

const usage = (
  code: string,
  message: string,
  rest: { path?: string; found?: string; expected?: string; hint?: string },
): WinnowError => new WinnowError('usage', { code, message, ...rest })

/**
 * Fills in defaults and checks what can be checked without touching a file.
 *
 * @throws {WinnowError} `no-test`, `repeated-test`, `two-lengths`, `bad-option`, as `parseMethods`, and as `resolveOptions` of each method.
 */
export function resolveCompareOptions(options: CompareOptions): ResolvedCompareOptions {
  const { methods, budgets: texts, set = {}, proxyTraining = {}, targetModel = 'nano' } = options
  const { entries, leftOut } = parseMethods(methods, set, {
    target: (options.target ?? []).length > 0,
    hidden: options.embedding === 'proxy',
    pretrained: !isNano(options.proxy ?? 'nano'),
  })
  const budgets = texts.map((text) => text.trim()).filter((text) => text !== '')
  if (budgets.length === 0)
    throw usage('no-budget', 'how much to select was not said', {
      path: '--budgets',
      expected: 'budgets separated by commas, such as 5%,10%,30%',
    })
  if (new Set(budgets).size < budgets.length)
    throw usage('repeated-budget', 'a budget is named twice', { path: '--budgets', found: texts.join(',') })
  const { stem } = poolName(options.pool[0] ?? '')
  const base = { ...options, ...noTraining, ...proxyTraining, run: options.run ?? `${stem}.compare.winnow` }
  // Each method as `select` would take it, so that wrong usage is told before hours of work.
  const resolved = budgets.map((text) => atBudgets(() => parseBudget(text)))
  const own = entries.map((entry) => ofEntry(base, entry, budgets[0]))
  const first = own[0]
  const { epochs, learningRate, batch, microBatch, recompute, lora } = options
  if (options.steps !== undefined && epochs !== undefined)
    throw usage('two-lengths', 'targets are trained for equal steps or for equal epochs', {
      path: '--epochs',
      found: '--steps and --epochs',
      expected: 'one of the two',
    })
  const nano = isNano(targetModel)
  const metrics = options.metrics ?? ['nll']
  for (const name of metrics)
    if (!METRICS.includes(name))
      throw usage('bad-option', 'there is no such metric', {
        path: '--metrics',
        found: name,
        expected: METRICS.join(', '),
      })
  if (options.price !== undefined && !(Number.isFinite(options.price) && options.price >= 0))
    throw usage('bad-option', 'the price is no amount of money', {
      path: '--price',
      found: String(options.price),
      expected: 'a number of 0 or more',
    })
  const seed = wholeNumber(options.seed, 0, '--seed', 0)
  const count = wholeNumber(options.seeds, 3, '--seeds', 1)
  return {
    ...first,
    ...targetOf(own),
    // Of the methods that read one; the first may not.
    embedding: options.embedding,
    command: options.command ?? 'winnow compare',
    entries,
    leftOut,
    budgets: resolved,
    seeds: Array.from({ length: count }, (_, i) => seed + i),
    tests: parseTestSets(options.test, 'a file of records that no method may see'),
    testFields: options.testFields,
    testTemplate: options.testTemplate,
    targetModel: resolveModelOptions({ ...options, proxy: targetModel, revision: options.targetRevision }),
    targetTraining: nano
      ? resolveTrainingOptions({ learningRate, batch, microBatch, recompute, lora }, 'nano')
      : resolveTrainingOptions({ epochs, learningRate, batch, microBatch, recompute, lora }, targetModel),
    steps: options.steps === undefined ? undefined : wholeNumber(options.steps, 1, '--steps', 1),
    epochs: epochs === undefined ? undefined : wholeNumber(epochs, 1, '--epochs', 1),
    metrics: [...new Set(metrics)],
    maxNewTokens: wholeNumber(options.maxNewTokens, 256, '--max-new-tokens', 1),
    programs: options.programs ?? false,
    stateSeconds: options.stateSeconds ?? 60,
    keepTargets: options.keepTargets ?? false,
    testRows: options.testRows === undefined ? undefined : wholeNumber(options.testRows, 1, '--test-rows', 1),
    price:
      options.price === undefined
        ? undefined
        : { perMillionTokens: options.price, currency: options.currency ?? 'USD' },
  }
}

const noTraining = {
  ...{ epochs: undefined, learningRate: undefined, batch: undefined },
  ...{ microBatch: undefined, recompute: undefined, lora: undefined },
} satisfies TrainingOptions

/** The options of `select` for one method. Those that the method reads nothing of are left out, as there. */
function ofEntry(base: Omit<SelectOptions, 'budget'>, { method, options }: Entry, budget: string): ResolvedOptions {
  const { signals = {} } = base
  const needs = method.needs(options, 'rows')
  // Of imported signals each method gets those that it reads.
  const read = needs.map(({ signal }) => signal as string)
  const own = Object.entries(signals).filter(([name]) => read.includes(name.replace(/^target-/, '')))
  return resolveOptions({
    ...base,
    budget,
    method: method.name,
    methodOptions: options,
    signals: Object.fromEntries(own),
  })
}

/** Options of the target set and the embedding, of the methods that read them. */
function targetOf(own: readonly ResolvedOptions[]): Partial<ResolvedOptions> {
  const reading = own.filter(({ target }) => target.length > 0)
  return Object.assign(
    {},
    ...reading.map(({ target, targetFields, targetTemplate }) => ({ target, targetFields, targetTemplate })),
  )
}

/** The options of one entry at one budget, for the stages of `select`. */
export function entryOptions(
  options: ResolvedCompareOptions,
  asked: CompareOptions,
  entry: Entry,
  budget: Budget,
): ResolvedOptions {
  const base = { ...asked, ...noTraining, ...asked.proxyTraining, run: options.run, command: options.command }
  const own = ofEntry(base, entry, budget.text)
  // What opening the proxy has found.
  return { ...own, maxLength: options.maxLength, revision: options.revision }
}

/** An entry with what it needs. */
export function askingOf(...of: Parameters<typeof entryOptions>): Asking {
  const options = entryOptions(...of)
  return { options, needs: needsOf(options) }
}

/** What reads a budget, whose faults are those of `--budgets` here. */
export function atBudgets<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof WinnowError) || error.fault.path !== '--budget') throw error
    throw new WinnowError('usage', { ...error.fault, path: '--budgets' })
  }
}

/** The options as a manifest keeps them. */
export function compareConfig(options: ResolvedCompareOptions): Record<string, Json> {
  const { entries, budgets, method: _method, methodOptions: _own, out: _out, budget: _budget, ...rest } = options
  return JSON.parse(
    JSON.stringify({
      ...rest,
      methods: entries.map(({ label, method, options: own }) => ({ label, method: method.name, options: own })),
      budgets: budgets.map(({ text }) => text),
    }),
  ) as Record<string, Json>
}
