/** The model that a run trains: nano, from scratch, or a pretrained one; with its recipe and how its passes are cut to fit memory. */

import type { Device } from '../engine/session.ts'
import type { TensorMap } from '../engine/tensor.ts'
import { llama } from '../models/llama.ts'
import type { LanguageModel } from '../models/model.ts'
import { type NanoSize, namedSize, nanoInitialParameters, nanoRecipe } from '../models/nano.ts'
import { initialParameters } from '../models/parameters.ts'
import { workerThreads } from '../parallel/threads.ts'
import type { Json } from '../runs/hash.ts'
import type { AdamWOptions } from '../training/adamw.ts'
import { type GraphChoices, trainedParameters } from '../training/graphs.ts'
import type { Recipe } from '../training/loop.ts'
import { activationBytes } from '../training/memory.ts'
import type { TokenRows } from '../training/rows.ts'
import type { TrainingState } from '../training/state.ts'
import { compileTrainer, startingState, type Trainer } from '../training/trainer.ts'
import { scoringTokens } from '../training/trajectories.ts'
import type { BaseOptions } from './context.ts'
import type { ResolvedTrainingOptions } from './model-options.ts'
import type { Pretrained } from './pretrained.ts'

/** What counts of the tokenised rows. */
export type CountedRows = Pick<TokenRows, 'count' | 'lengths' | 'labels'>

export interface TrainedProxy {
  /** `nano`, or as the user named it. */
  name: string
  model: LanguageModel
  recipe: Recipe
  optimiser: AdamWOptions
  choices: GraphChoices
  /** Everything that its losses depend on besides rows, seed and device. */
  identity: Json
  /** The state to start from, `resumed` where there is one, and the weights that stay as they are. */
  start(seed: number, resumed?: TrainingState): Promise<{ state: TrainingState; frozen?: TensorMap }>
}

/** Bytes that logits may take at a time, in scoring and in training. Training computes gradients per chunk too, which larger ones amortise. */
const SCORING_LOGITS = 2 ** 26
const TRAINING_LOGITS = 2 ** 28
/**
 * Bytes of logits that a cache holds: the passes over them are then cheaper (docs/benchmarks/confidence.md). But a
 * product of few rows is slow, so chunks have no fewer positions than this unless memory asks for it.
 */
const CACHED_LOGITS = 2 ** 24
const LEAST_POSITIONS = 512
/** Bytes of activations that a forward and backward pass may keep. Fixed: the parts of a batch decide the last bits of a run. */
const ACTIVATIONS = 2 ** 31

const sum = (values: Uint32Array) => values.reduce((total, value) => total + value, 0)

const chunksFor = (tokens: number, vocabularySize: number, bytes: number) =>
  Math.max(1, Math.ceil((tokens * vocabularySize * 4) / bytes))

/** Chunks of label positions that keep the logits of a scoring batch small. */
export const scoringChunks = (tokens: number, vocabularySize: number): number =>
  Math.max(
    chunksFor(tokens, vocabularySize, SCORING_LOGITS),
    Math.min(chunksFor(tokens, vocabularySize, CACHED_LOGITS), Math.floor(tokens / LEAST_POSITIONS)),
  )

interface ProxyOf {
  rows: CountedRows
  /** Of the tokenizer that gave the rows. */
  vocabularySize: number
  /** `proxy`: `nano`, or with a size. Default `nano`. */
  options: { maxLength: number; training: ResolvedTrainingOptions; proxy?: string }
  pretrained?: BaseModel
}

/** What a pretrained model's training begins from. */
export interface BaseModel extends Pick<Pretrained, 'name' | 'model' | 'hash' | 'weights'> {
  /** Adapters of an earlier stage, with which low-rank training goes on. Default: new ones. */
  adapters?(): Promise<TensorMap>
}

/** The model that is trained on these rows: the pretrained one, or nano. */
export const proxyFor = ({ rows, vocabularySize, options, pretrained }: ProxyOf): TrainedProxy =>
  pretrained === undefined
    ? nanoProxy(rows, vocabularySize, options.maxLength, namedSize(options.proxy ?? 'nano', '--proxy'))
    : pretrainedProxy(pretrained, rows, options.maxLength, options.training)

/** nano, sized from the rows' tokens unless a size is given. */
export function nanoProxy(rows: CountedRows, vocabularySize: number, maxLength: number, size?: NanoSize): TrainedProxy {
  const { config, recipe, optimiser } = nanoRecipe({
    tokens: sum(rows.lengths),
    labels: sum(rows.labels),
    rows: rows.count,
    vocabularySize,
    maxLength,
    size,
  })
  // A row longer than a batch is a batch of its own.
  const tokens = Math.max(scoringTokens(recipe), maxLength)
  const chunks = chunksFor(tokens, vocabularySize, SCORING_LOGITS)
  const choices = { chunks, scoringChunks: scoringChunks(tokens, vocabularySize), maxLength }
  return {
    name: size === undefined ? 'nano' : `nano:${size.hiddenSize}x${size.layers}`,
    model: llama(config),
    recipe,
    optimiser,
    choices,
    identity: { proxy: 'nano', config, recipe, optimiser, choices } as unknown as Json,
    start: async (seed, resumed) => ({ state: resumed ?? startingState(nanoInitialParameters(config, seed)) }),
  }
}

/**
 * A pretrained model with S2L's recipe (docs of `TrainingOptions` say the defaults): AdamW without weight decay, betas 0.9 and 0.999, cosine
 * with 3 % warm-up, gradients clipped at 1. Source: the authors' code, Yang et al. 2024, arXiv 2403.07384.
 */
function pretrainedProxy(
  { name, model, hash, weights, adapters }: BaseModel,
  rows: CountedRows,
  maxLength: number,
  training: ResolvedTrainingOptions,
): TrainedProxy {
  const lora = training.lora === undefined ? undefined : { rank: training.lora }
  const batch = rowsPerStep(training, rows.count)
  const cut = rows.lengths.reduce((total, length) => total + Math.min(length, maxLength), 0)
  const tokensPerBatch = Math.max(maxLength, Math.ceil((batch * cut) / Math.max(1, rows.count)))
  const choices: GraphChoices = { maxLength, lora, recompute: training.recompute }
  const microBatch = Math.max(
    maxLength,
    Math.min(tokensPerBatch, training.microBatch ?? fittingTokens(model, choices, rows, maxLength)),
  )
  const recipe: Recipe = {
    epochs: training.epochs ?? 3,
    tokensPerBatch,
    microBatch,
    maxLength,
    rate: training.learningRate ?? (lora === undefined ? 2e-5 : 2e-4),
    warmupShare: 0.03,
    floorShare: 0,
  }
  const optimiser: AdamWOptions = { beta1: 0.9, beta2: 0.999, weightDecay: 0, maxNorm: 1 }
  choices.chunks = chunksFor(microBatch, model.vocabularySize, TRAINING_LOGITS)
  choices.scoringChunks = scoringChunks(Math.max(scoringTokens(recipe), maxLength), model.vocabularySize)
  return {
    name,
    model,
    recipe,
    optimiser,
    choices,
    identity: { proxy: hash, recipe, optimiser, choices } as unknown as Json,
    async start(seed, resumed) {
      if (lora === undefined) return { state: resumed ?? startingState(await weights()) }
      const initial = async () => (await adapters?.()) ?? initialParameters(trainedParameters(model, lora), seed)
      return { state: resumed ?? startingState(await initial()), frozen: await weights() }
    },
  }
}

/** Rows of an optimiser step on average: as asked, or a hundredth of all, between 8 and 128. */
export const rowsPerStep = ({ batch }: ResolvedTrainingOptions, rows: number): number =>
  batch ?? Math.min(128, Math.max(8, Math.round(rows / 100)))

/** Tokens of a pass whose activations keep within ACTIVATIONS, at the rows' own mean share of labels. */
function fittingTokens(model: LanguageModel, choices: GraphChoices, rows: CountedRows, maxLength: number): number {
  const share = Math.min(1, sum(rows.labels) / Math.max(1, sum(rows.lengths)))
  const bytes = (tokens: number) =>
    activationBytes(model, choices, {
      rows: Math.max(1, Math.round(tokens / maxLength)),
      length: maxLength,
      labels: Math.ceil(share * tokens),
    })
  let tokens = 16_384
  while (tokens > maxLength && bytes(tokens) > ACTIVATIONS) tokens /= 2
  return tokens
}

/** Compiles a proxy and puts it in its starting state, or in the one given. */
export async function startTrainer(
  { model, optimiser, choices, start }: TrainedProxy,
  device: Device,
  options: Pick<BaseOptions, 'seed' | 'threads'>,
  resumed?: TrainingState,
): Promise<Trainer> {
  const { state, frozen } = await start(options.seed, resumed)
  const trainer = await compileTrainer({
    model,
    device,
    optimiser,
    frozen,
    parallel: workerThreads(options.threads),
    ...choices,
  })
  trainer.load(state)
  return trainer
}
