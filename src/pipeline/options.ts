/** What `select` is asked, with its defaults. The command line, the library and a replayed manifest all give this. */

import { type Budget, parseBudget } from '../methods/budget.ts'
import type { Method, SignalNeed } from '../methods/method.ts'
import { parseOptions } from '../methods/options.ts'
import { findMethod } from '../methods/registry.ts'
import { isNano } from '../models/nano.ts'
import type { Json } from '../runs/hash.ts'
import { checkKept } from './checkpoints.ts'
import { checkImports, checkProxy } from './importable.ts'
import {
  type ModelOptions,
  type ResolvedModelOptions,
  type ResolvedTrainingOptions,
  resolveModelOptions,
  resolveTrainingOptions,
  type TrainingOptions,
} from './model-options.ts'
import {
  type PipelineContext,
  type PoolOptions,
  poolName,
  type ResolvedPoolOptions,
  resolvePoolOptions,
} from './pool-options.ts'
import type { Recording } from './recording.ts'
import { type ResolvedTargetOptions, resolveTargetOptions, type TargetOptions } from './target-options.ts'

export interface SelectOptions extends PoolOptions, ModelOptions, TrainingOptions, TargetOptions {
  /** `30%`, `5000`, `2Mtok`. */
  budget: string
  /** Name in the method registry. Default `s2l`. */
  method?: string
  /** The method's own options; its schema checks them and fills in defaults. */
  methodOptions?: Record<string, unknown>
  /** Selected records. Default: `<pool>.selected.<extension>` in the working directory. */
  out?: string
  /** Signals read from files made elsewhere, in place of computing them: `{ trajectories: 'losses.parquet' }` (pipeline/importable.ts). */
  signals?: Record<string, string>
  /** Seed of the method's own choice, where it is another than that of the proxy and the clusters. Default: `seed`. */
  drawSeed?: number
  /** Losses are recorded at more checkpoints than the method reads (pipeline/recording.ts). Default: at as many. */
  recording?: Recording
}

export type SelectContext = PipelineContext

/** Options with every default filled in and checked. */
export interface ResolvedOptions extends ResolvedPoolOptions, ResolvedModelOptions, ResolvedTargetOptions {
  budget: Budget
  method: Method
  methodOptions: Record<string, unknown>
  out: string
  signals: Record<string, string>
  training: ResolvedTrainingOptions
  drawSeed?: number
  recording?: Recording
}

/**
 * Fills in defaults and checks what can be checked without touching a file.
 *
 * @throws {WinnowError} `bad-budget`, `unknown-method`, `bad-option`, `nano-recipe`, `no-pool`, `unknown-signal`, `unneeded-signal`,
 * `two-loss-sources`, `half-imported`, `checkpoint-not-kept`, `no-such-checkpoint`, `no-checkpoints`, `no-target`.
 */
export function resolveOptions(options: SelectOptions): ResolvedOptions {
  const { stem, extension } = poolName(options.pool[0] ?? '')
  const pool = resolvePoolOptions(options, {
    run: `${stem}.winnow`,
    command: 'winnow select',
    example: 'winnow select pool.jsonl --budget 30%',
  })
  const model = resolveModelOptions(options)
  const method = findMethod(options.method ?? 's2l')
  const budget = parseBudget(options.budget)
  const methodOptions = parseOptions(method, options.methodOptions ?? {})
  const signals = options.signals ?? {}
  const needs = needsOf({ method, methodOptions, budget, proxy: model.proxy })
  checkImports(signals, method.name, needs)
  checkProxy(signals, model.proxy)
  if (Object.keys(signals).length === 0) checkKept(needs, { proxy: model.proxy, embedding: options.embedding })
  const target = resolveTargetOptions(options, method.name, needs)
  return {
    ...pool,
    ...model,
    ...target,
    budget,
    method,
    methodOptions,
    out: options.out ?? `${stem}.selected${extension}`,
    signals,
    training: resolveTrainingOptions(options, model.proxy),
    drawSeed: options.drawSeed,
    recording: options.recording,
  }
}

/** The signals that the method needs with these options. */
export const needsOf = ({
  method,
  methodOptions,
  budget,
  proxy,
}: Pick<ResolvedOptions, 'method' | 'methodOptions' | 'budget' | 'proxy'>): SignalNeed[] =>
  method.needs(methodOptions, budget.unit === 'tokens' ? 'tokens' : 'rows', { pretrained: !isNano(proxy) })

/** The options as a manifest keeps them; `select --config` reads them back. */
export function optionsAsConfig(options: ResolvedOptions): Record<string, Json> {
  const { method, budget, signals, training, target, maxLengthAsked: _, ...rest } = options
  const imports = Object.keys(signals).length === 0 ? {} : { signals }
  const toward = target.length === 0 ? {} : { target }
  const config = { ...rest, ...training, ...toward, ...imports, method: method.name, budget: budget.text }
  return JSON.parse(JSON.stringify(config)) as Record<string, Json>
}
