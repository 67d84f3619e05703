/** Contract of the proxy run: train a proxy on the pool, record every row's mean NLL at T evenly spaced steps. */

import type { TokenRows } from './rows.ts'

/** Model parameters or optimiser moments by the field's usual tensor names. */
export type TensorMap = Map<string, { shape: number[]; data: Float32Array }>

/** Everything a run needs to go on bit for bit. */
export interface TrainingState {
  /** Optimiser steps done. */
  step: number
  parameters: TensorMap
  /** AdamW first and second moments. */
  first: TensorMap
  second: TensorMap
}

export interface TrainingProgress {
  stage: 'train' | 'score'
  /** Units done and in total over the whole proxy run (training and scoring), in tokens; ETA follows from these. */
  tokensDone: number
  tokensTotal: number
  step: number
  steps: number
  /** Checkpoints recorded so far. */
  checkpoints: number
  /** Mean NLL (nats a trained token) of the latest steps. */
  loss?: number
}

export interface TrajectoryCheckpoint {
  /** 0-based index in [0, T). */
  index: number
  step: number
  /** Mean NLL of each row's trained tokens, nats, [N]; NaN where no trained token fits the window. */
  nll: Float32Array
  state: TrainingState
}

export interface TrajectoryRun {
  rows: TokenRows
  seed: number
  /** T. Default 12. */
  checkpoints?: number
  /** Go on from here: the state of the last recorded checkpoint and its index. */
  resume?: { state: TrainingState; index: number }
  onProgress?: (progress: TrainingProgress) => void
  signal?: AbortSignal
}
