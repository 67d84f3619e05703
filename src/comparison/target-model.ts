/** The model that is trained on every pick: what it is, how long it trains, and the pool in its tokens. */

import type { Dataset } from '../dataset/dataset.ts'
import type { TensorMap } from '../engine/tensor.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import { isNano, type NanoSize, namedSize, nanoSize } from '../models/nano.ts'
import type { BaseOptions, Context } from '../pipeline/context.ts'
import type { ResolvedModelOptions } from '../pipeline/model-options.ts'
import { type Pool, type Tokens, tokenisePool } from '../pipeline/pool.ts'
import type { OpeningOptions, Pretrained } from '../pipeline/pretrained.ts'
import { maybePretrained, withModel } from '../pipeline/pretrained.ts'
import { type CountedRows, nanoProxy, proxyFor, rowsPerStep, type TrainedProxy } from '../pipeline/proxy.ts'
import { planBatches } from '../training/batches.ts'
import { mergeLora } from '../training/lora.ts'
import { trainableRows } from '../training/trajectories.ts'
import type { ResolvedCompareOptions } from './options.ts'

/** The opened target: a pretrained model, or the size of one that is trained from scratch. */
export type OpenedTarget = { name: string; pretrained?: Pretrained; size?: NanoSize; options: ResolvedModelOptions }

/**
 * Opens the target model. `nano:WIDTHxLAYERS` is trained from scratch with the tokenizer of the pool.
 *
 * @throws {WinnowError} `bad-option` for a size that is none; as `maybePretrained`.
 */
export async function openTargetModel(options: ResolvedModelOptions, opening: OpeningOptions): Promise<OpenedTarget> {
  if (isNano(options.proxy)) return { name: options.proxy, size: namedSize(options.proxy, '--target-model'), options }
  const pretrained = await maybePretrained(options, opening)
  return { name: options.proxy, pretrained, options: withModel(options, pretrained) }
}

/** What all targets of a comparison have in common. */
export interface TargetModel extends Disposable {
  name: string
  proxy: TrainedProxy
  pretrained?: Pretrained
  /** The pool as the target reads it. */
  tokens: Tokens
  /** Rows that it can be trained on. */
  trainable: Uint32Array
  /** 1 for each of them, [N]. */
  isTrainable: Uint8Array
  /** Optimiser steps of every target, where steps are held equal. */
  steps?: number
  /** Passes over each pick, where epochs are. */
  epochs?: number
  maxLength: number
}

interface Planned {
  dataset: Dataset
  pool: Pool
  /** The proxy's, and its tokens. */
  shared: { pretrained?: Pretrained; tokens: Tokens }
  target: OpenedTarget
  /** Rows of the largest budget. */
  mostRows: number
}

/** Tokenises the pool for the target, where the proxy reads it otherwise, and plans its training. */
export async function planTarget(
  context: Context<ResolvedCompareOptions>,
  { dataset, pool, shared, target, mostRows }: Planned,
): Promise<TargetModel> {
  const { maxLength } = target.options
  const same = target.pretrained?.tokenizer.hash === shared.pretrained?.tokenizer.hash
  const tokens = same
    ? shared.tokens
    : await tokenisePool(sectionOf(context, 'target', target.options), dataset, pool, target.pretrained)
  const { store, tokenizer } = tokens
  const length = planLength(context.options, target, {
    rows: store,
    vocabularySize: tokenizer.vocabularySize,
    mostRows,
  })
  const trainable = trainableRows(store, maxLength)
  const isTrainable = new Uint8Array(store.count)
  for (const row of trainable) isTrainable[row] = 1
  return {
    name: target.name,
    ...length,
    pretrained: target.pretrained,
    tokens,
    ...{ trainable, isTrainable },
    maxLength,
    [Symbol.dispose]: () => {
      if (!same) tokens[Symbol.dispose]()
    },
  }
}

/** The weights of a trained target, adapters added in. */
export async function targetWeights(
  { proxy: { model, choices }, pretrained }: TargetModel,
  parameters: TensorMap,
): Promise<TensorMap> {
  if (choices.lora === undefined || pretrained === undefined) return parameters
  return mergeLora(model, await pretrained.weights(), parameters, choices.lora)
}

interface LengthOf {
  /** The pool in the target's tokens. */
  rows: CountedRows
  vocabularySize: number
  mostRows: number
}

/** The model and recipe of every target, as picks of the largest budget will look, and how long each is trained. */
export function planLength(
  { targetTraining, steps, epochs }: ResolvedCompareOptions,
  { pretrained, size, options: { maxLength } }: OpenedTarget,
  { rows, vocabularySize, mostRows }: LengthOf,
): Pick<TargetModel, 'proxy' | 'steps' | 'epochs'> {
  const counted = thinned(rows, mostRows)
  const training = { ...targetTraining, batch: rowsPerStep(targetTraining, mostRows) }
  const proxy = pretrained
    ? proxyFor({ rows, vocabularySize, options: { maxLength, training }, pretrained })
    : nanoProxy(counted, vocabularySize, maxLength, size ?? larger(rows))
  if (epochs !== undefined) return { proxy, epochs }
  const perEpoch = planBatches(counted.lengths, proxy.recipe).batches.length
  return { proxy, steps: steps ?? proxy.recipe.epochs * perEpoch }
}

/** Rows of a pick, about, by budget: of the budgets and not of the picks, so that a further method leaves the recipe as it is. */
export const pickRows = (budgets: readonly ResolvedBudget[], pool: { rows: number; tokens: number }): number[] =>
  budgets.map((budget) => (budget.unit === 'rows' ? budget.rows : Math.ceil((budget.tokens * pool.rows) / pool.tokens)))

/** The context of one section: its model's options in place of the proxy's. */
export const sectionOf = <O extends BaseOptions>(
  context: Context<O>,
  section: Context['section'],
  { maxLength }: Pick<ResolvedModelOptions, 'maxLength'>,
): Context<O> => ({ ...context, section, options: { ...context.options, maxLength } })

/** Twice as wide and one layer deeper than the proxy that the pool would get: six times its parameters in the layers. */
function larger({ lengths }: CountedRows): NanoSize {
  const { hiddenSize, layers } = nanoSize(lengths.reduce((total, length) => total + length, 0))
  return { hiddenSize: 2 * hiddenSize, layers: layers + 1 }
}

/** As many rows as a budget has, evenly spaced: what training on a pick of that size will be like. */
export function thinned({ count, lengths, labels }: CountedRows, rows: number): CountedRows {
  const take = (values: Uint32Array) =>
    Uint32Array.from(
      { length: Math.min(rows, count) },
      (_, i) => values[Math.floor((i * count) / Math.min(rows, count))],
    )
  return { count: Math.min(rows, count), lengths: take(lengths), labels: take(labels) }
}
