/**
 * The proxy run of S2L: train a proxy on the pool, record every row's mean NLL and confidence at T evenly spaced steps. Yields each checkpoint as
 * soon as it is known, with the state to go on from, so that the caller can keep both.
 */

import { planBatches } from './batches.ts'
import { collate } from './collate.ts'
import { type Recipe, trainSteps } from './loop.ts'
import type { TokenRows } from './rows.ts'
import { checkpointSteps } from './schedule.ts'
import type { RowScorer, RowScores } from './scorer.ts'
import type { TrainingState } from './state.ts'
import type { Trainer } from './trainer.ts'

export interface TrainingProgress {
  stage: 'train' | 'score'
  step: number
  steps: number
  /** Checkpoints recorded so far, and T. */
  checkpoints: number
  checkpointsTotal: number
  /** Real tokens processed so far by this process, in training and scoring. */
  tokens: number
  /** Share of the whole run's work (FLOPs) that is done, earlier processes' included, in [0, 1]. */
  fraction: number
  /** Mean NLL of the latest training steps, nats a label. */
  loss?: number
}

export interface TrajectoryCheckpoint {
  /** 0-based, in [0, T). */
  index: number
  step: number
  /** Mean NLL of each row's trained tokens, nats, [N]; NaN where no trained token fits the window. */
  nll: Float32Array
  /** Mean over the same tokens of the largest softmax probability, [N]. */
  confidence: Float32Array
  state: TrainingState
}

export interface TrajectoryOptions {
  /** With the state to start from. */
  proxy: Trainer
  rows: TokenRows
  recipe: Recipe
  seed: number
  /** T. */
  checkpoints: number
  /** Rows to train on. Default: all that have a label in the window. All rows are scored. */
  trainOn?: Uint32Array
  /** What `planTrajectories` gave for these rows, recipe and seed, where the caller has it already. */
  plan?: TrajectoryPlan
  /** At a resumed run, whose state the proxy has been given: steps done, and the index of the last recorded checkpoint. Default: none. */
  from?: { step: number; index: number }
  /** See `LoopOptions`. */
  onSmallerParts?: (tokens: number) => void
  onProgress?: (progress: TrainingProgress) => void
  signal?: AbortSignal
}

export interface TrajectoryPlan {
  steps: number
  checkpointSteps: number[]
  /** Real tokens of one epoch, and of one scoring pass. */
  epochTokens: number
  scoreTokens: number
  /** Share of computed tokens that is padding, over one epoch. */
  padding: number
}

/** Labels of each row inside the window, [N]: what `collate` would count. Reads only rows that are cut or begin with a label. */
export function windowLabels(rows: TokenRows, maxLength: number): Uint32Array {
  return Uint32Array.from(rows.labels, (labels, row) => {
    if (labels === 0) return 0
    if (rows.lengths[row] <= maxLength && labels < rows.lengths[row]) return labels
    return collate(rows, { rows: Uint32Array.of(row), length: Math.min(rows.lengths[row], maxLength) }, maxLength)
      .labelsPerRow[0]
  })
}

/** Rows with at least one label inside the window, in row order. */
export function trainableRows(rows: TokenRows, maxLength: number): Uint32Array {
  const labels = windowLabels(rows, maxLength)
  return Uint32Array.from(labels.keys()).filter((row) => labels[row] > 0)
}

/** What a run will do, without doing it. */
export function planTrajectories(
  rows: TokenRows,
  recipe: Recipe,
  checkpoints: number,
  seed: number,
  trainOn: Uint32Array,
): TrajectoryPlan {
  const { epochs, tokensPerBatch, maxLength } = recipe
  const perEpoch = Array.from({ length: epochs }, (_, epoch) =>
    planBatches(rows.lengths, { tokensPerBatch, maxLength, rows: trainOn, shuffle: { seed, epoch } }),
  )
  const steps = perEpoch.reduce((total, { batches }) => total + batches.length, 0)
  const [{ tokens, padded }] = perEpoch
  return {
    steps,
    checkpointSteps: checkpointSteps(steps, Math.min(checkpoints, steps)),
    epochTokens: tokens,
    scoreTokens: rows.lengths.reduce((total, length) => total + Math.min(length, maxLength), 0),
    padding: 1 - tokens / padded,
  }
}

/** Mean NLL and confidence of every row, [N] each; NaN where it has no label in the window. */
export async function scoreRows(
  scorer: RowScorer,
  rows: TokenRows,
  options: {
    tokensPerBatch: number
    maxLength: number
    rows?: Uint32Array
    onBatch?: (tokens: number) => void
    signal?: AbortSignal
  },
): Promise<RowScores> {
  const { tokensPerBatch, maxLength } = options
  const nll = new Float32Array(rows.count).fill(Number.NaN)
  const confidence = nll.slice()
  for (const batch of planBatches(rows.lengths, { tokensPerBatch, maxLength, rows: options.rows }).batches) {
    options.signal?.throwIfAborted()
    const scores = await scorer.score(collate(rows, batch, maxLength, scorer.padding))
    batch.rows.forEach((row, i) => {
      nll[row] = scores.nll[i]
      confidence[row] = scores.confidence[i]
    })
    options.onBatch?.(batch.rows.reduce((total, row) => total + Math.min(rows.lengths[row], maxLength), 0))
  }
  return { nll, confidence }
}

/**
 * Largest rows * length of a scoring batch, unless training's are larger. Scoring takes no step, so nothing but memory bounds it: on two
 * cores the small nano took 12.4 microseconds a token at 4,096, 13.8 at 1,024 and 24.9 at 512.
 */
const SCORING_TOKENS = 4096

export const scoringTokens = ({ tokensPerBatch }: Recipe): number => Math.max(tokensPerBatch, SCORING_TOKENS)

/** Work of a training token in units of a scoring token: forward, and backward at twice its cost. */
const TRAIN_WORK = 3

/**
 * Runs (or goes on with) the proxy run. Same rows, recipe, seed and starting state: the same bits. A resumed run yields the checkpoints
 * after `from.index`. The state of a checkpoint holds until the next one is asked for.
 */
export async function* recordTrajectories(options: TrajectoryOptions): AsyncGenerator<TrajectoryCheckpoint> {
  const { proxy, rows, recipe, seed, signal, onSmallerParts } = options
  const trainOn = options.trainOn ?? trainableRows(rows, recipe.maxLength)
  const plan = options.plan ?? planTrajectories(rows, recipe, options.checkpoints, seed, trainOn)
  const total = TRAIN_WORK * recipe.epochs * plan.epochTokens + plan.checkpointSteps.length * plan.scoreTokens
  let index = (options.from?.index ?? -1) + 1
  let work = index * plan.scoreTokens
  let [tokens, loss] = [0, undefined as number | undefined]

  const report = (stage: 'train' | 'score', step: number) =>
    options.onProgress?.({
      stage,
      step,
      steps: plan.steps,
      checkpoints: index,
      checkpointsTotal: plan.checkpointSteps.length,
      tokens,
      fraction: work / total,
      loss,
    })

  const done = options.from?.step ?? 0
  const steps = trainSteps({
    trainer: proxy,
    rows,
    recipe,
    seed,
    trainOn,
    steps: plan.steps,
    done,
    onSmallerParts,
    signal,
  })
  for await (const { step, tokens: size, loss: latest } of steps) {
    work += TRAIN_WORK * size
    if (latest === undefined) continue
    loss = loss === undefined ? latest : 0.9 * loss + 0.1 * latest
    tokens += size
    report('train', step)
    if (step !== plan.checkpointSteps[index]) continue
    const scores = await scoreRows(proxy.scorer, rows, {
      maxLength: recipe.maxLength,
      tokensPerBatch: scoringTokens(recipe),
      signal,
      onBatch: (scored) => {
        tokens += scored
        work += scored
        report('score', step)
      },
    })
    yield { index, step, ...scores, state: await proxy.state() }
    index++
  }
}
