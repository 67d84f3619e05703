/** `train`: fine-tunes a model on a file and saves it in the Hugging Face layout. */

import { openDataset } from '../dataset/dataset.ts'
import { WinnowError } from '../errors.ts'
import type { Notice } from '../methods/method.ts'
import type { SavedFormat } from '../models/float-formats.ts'
import { isRun } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import { planTrajectories, trainableRows } from '../training/trajectories.ts'
import { type Context, ending, openContext } from './context.ts'
import {
  type ModelOptions,
  type ResolvedModelOptions,
  type ResolvedTrainingOptions,
  resolveModelOptions,
  resolveTrainingOptions,
  type TrainingOptions,
  wholeNumber,
} from './model-options.ts'
import { checkModelOutput } from './model-output.ts'
import { readPool, type Tokens, tokenisePool } from './pool.ts'
import {
  type PipelineContext,
  type PoolOptions,
  poolName,
  type ResolvedPoolOptions,
  resolvePoolOptions,
} from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'
import { proxyFor, type TrainedProxy } from './proxy.ts'
import { type SavedModel, saveModel } from './saved-model.ts'
import { type TrainedFacts, trainModel } from './training-stage.ts'
import { nothingToTrain } from './trajectories.ts'

/** `proxy` is the model to fine-tune. */
export interface TrainOptions extends PoolOptions, ModelOptions, TrainingOptions {
  /** Directory of the tuned model. Default `<pool>.model` in the working directory. */
  out?: string
  /** States kept along the way, evenly spaced; a killed run goes on from the last one. Default 10. */
  checkpoints?: number
  /** What the weights are saved in. Default F32. */
  saveAs?: SavedFormat
}

export interface ResolvedTrainOptions extends ResolvedPoolOptions, ResolvedModelOptions {
  out: string
  checkpoints: number
  saveAs: SavedFormat
  training: ResolvedTrainingOptions
}

export interface TrainResult {
  rows: number
  /** Rows with a trained token inside the window. */
  trainedRows: number
  /** Tokens inside the window, and those that were processed in all epochs. */
  tokens: { pool: number; processed: number }
  steps: number
  epochs: number
  /** Mean NLL of the first and of the last tenth of all steps, nats a trained token. */
  loss: { first: number; last: number }
  out: { path: string; bytes: number; files: string[] }
  /** Adapters in PEFT's layout, beside the merged weights. */
  adapters?: string
  run: string
  /** JSON Lines: step, rate, loss, tokens. */
  curve: string
  model: { name: string; revision?: string; parameters: number; trained: number }
  notices: Notice[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}

/**
 * Fine-tunes a model on the records of a file, and saves weights, config.json and tokenizer to `out`, where transformers finds them. The same
 * loop that records S2L's trajectories; a killed run goes on from its last checkpoint with the same bits.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function train(asked: TrainOptions, pipeline: PipelineContext): Promise<TrainResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveTrainOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  // Before anything is downloaded, where it can be known.
  if (!(await isRun(resolved.run))) await checkModelOutput(resolved)
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  const { training, maxLengthAsked: _, ...rest } = options
  const config = JSON.parse(JSON.stringify({ ...rest, ...training })) as Record<string, Json>
  await checkModelOutput(options, { config, pretrained })
  const context = await openContext(options, config, pipeline)
  await using run = context.run
  try {
    const tokenizer = pretrained === undefined ? (['tokenizer'] as const) : []
    onEvent({ kind: 'plan', stages: ['read', ...tokenizer, 'tokens', 'train', 'save'] })
    const pool = await readPool(context, dataset)
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const { store } = tokens
    const { vocabularySize } = tokens.tokenizer
    const proxy = proxyFor({ rows: store, vocabularySize, options, pretrained })
    const trainOn = trainableRows(store, options.maxLength)
    if (trainOn.length === 0) throw nothingToTrain(options.maxLength, store.count)
    const plan = planTrajectories(store, proxy.recipe, options.checkpoints, options.seed, trainOn)
    const trained = await trainModel(context, { tokens, proxy, trainOn, plan })
    const saved = await saveModel(context, {
      ...{ directory: options.out, dtype: options.saveAs, state: run.path(trained.state) },
      ...{ proxy, pretrained, tokenizer: tokens.tokenizer },
    })
    await run.update({
      status: 'done',
      counts: { steps: plan.steps },
      facts: {
        training: trained.facts as unknown as Json,
        source: (pretrained?.files.source ?? 'nano') as unknown as Json,
      },
    })
    return result(context, { store, proxy, pretrained, plan, trained, saved, trainOn, started })
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

interface Finished {
  store: Tokens['store']
  proxy: TrainedProxy
  pretrained?: Pretrained
  plan: ReturnType<typeof planTrajectories>
  trained: { facts: TrainedFacts; curve: string }
  saved: SavedModel
  trainOn: Uint32Array
  started: number
}

function result(
  context: Context<ResolvedTrainOptions>,
  { store, proxy, pretrained, plan, trained, saved, trainOn, started }: Finished,
): TrainResult {
  const { options, run } = context
  return {
    rows: store.count,
    trainedRows: trainOn.length,
    tokens: { pool: plan.scoreTokens, processed: proxy.recipe.epochs * plan.epochTokens },
    steps: plan.steps,
    epochs: proxy.recipe.epochs,
    loss: trained.facts.loss,
    out: { path: options.out, bytes: saved.bytes, files: saved.files },
    adapters: saved.adapters,
    curve: run.path(trained.curve),
    model: {
      name: proxy.name,
      revision: pretrained?.files.source.revision,
      parameters: trained.facts.parameters,
      trained: trained.facts.trained,
    },
    ...ending(context, started),
  }
}

/** @throws {WinnowError} `no-model`, and as the options' own checks. */
export function resolveTrainOptions(options: TrainOptions): ResolvedTrainOptions {
  if (options.proxy === undefined)
    throw new WinnowError('usage', {
      code: 'no-model',
      message: 'a model to train was not named',
      path: '--model',
      expected: 'a hub id, a directory in the Hugging Face layout, or nano',
      hint: 'For example: winnow train pool.selected.jsonl --model HuggingFaceTB/SmolLM2-135M.',
    })
  const { stem } = poolName(options.pool[0] ?? '')
  const model = resolveModelOptions(options)
  return {
    ...resolvePoolOptions(options, {
      run: `${stem}.train.winnow`,
      command: 'winnow train',
      example: 'winnow train pool.selected.jsonl --model HuggingFaceTB/SmolLM2-135M',
    }),
    ...model,
    out: options.out ?? `${stem}.model`,
    checkpoints: wholeNumber(options.checkpoints, 10, '--checkpoints', 1),
    saveAs: options.saveAs ?? 'F32',
    training: resolveTrainingOptions(options, model.proxy),
  }
}
