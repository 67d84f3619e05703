/** The optimiser steps of a run: batches in their order, the schedule's rate, parts of a batch where one pass cannot take it. */

import { WinnowError } from '../errors.ts'
import { planBatches } from './batches.ts'
import { type Collated, collate } from './collate.ts'
import type { TokenRows } from './rows.ts'
import { cosineRate } from './schedule.ts'
import type { Trainer } from './trainer.ts'

export interface Recipe {
  epochs: number
  /** Largest rows * length of a training batch. */
  tokensPerBatch: number
  /** Largest rows * length of a forward and backward pass; a larger batch is computed in parts. Default: as a batch. */
  microBatch?: number
  /** Rows are cut to this many tokens. */
  maxLength: number
  /** Peak learning rate of a cosine schedule. */
  rate: number
  /** Warm-up as a share of all steps. */
  warmupShare: number
  /** The schedule ends at rate * floorShare. */
  floorShare: number
}

export interface LoopOptions {
  trainer: Trainer
  rows: TokenRows
  recipe: Recipe
  seed: number
  /** Rows to train on. */
  trainOn: Uint32Array
  /** All steps of the run. */
  steps: number
  /** Steps done before: they are passed over. */
  done: number
  /** A pass did not fit into memory and is computed in parts of at most this many tokens from now on. */
  onSmallerParts?: (tokens: number) => void
  signal?: AbortSignal
}

export interface Step {
  /** From 1. */
  step: number
  /** Real tokens of the batch. */
  tokens: number
  /** Mean NLL of the batch's labels; undefined for a step that was passed over. */
  loss?: number
  /** The passes that it took, as they were computed: for FLOPs. */
  parts?: { rows: number; length: number; labels: number }[]
}

/** Runs the steps after `done`, in order. Same rows, recipe, seed and state: the same bits. */
export async function* trainSteps(options: LoopOptions): AsyncGenerator<Step> {
  const { trainer, rows, recipe, seed, trainOn, steps, done, signal } = options
  const { epochs, maxLength } = recipe
  const schedule = {
    peak: recipe.rate,
    warmup: Math.ceil(steps * recipe.warmupShare),
    steps,
    floor: recipe.rate * recipe.floorShare,
  }
  let most = recipe.microBatch ?? Number.POSITIVE_INFINITY
  let step = 0
  for (let epoch = 0; epoch < epochs; epoch++) {
    const { batches } = planBatches(rows.lengths, { ...recipe, rows: trainOn, shuffle: { seed, epoch } })
    for (const batch of batches) {
      signal?.throwIfAborted()
      step++
      const tokens = batch.rows.reduce((sum, row) => sum + Math.min(rows.lengths[row], maxLength), 0)
      if (step <= done) {
        yield { step, tokens }
        continue
      }
      for (;;) {
        const parts = planBatches(rows.lengths, { tokensPerBatch: most, maxLength, rows: batch.rows }).batches
        try {
          const collated = parts.map((part) => collate(rows, part, maxLength, trainer.padding))
          const { loss } = await trainer.train(collated, cosineRate(schedule, step))
          yield { step, tokens, loss, parts: collated.map(computedSize) }
          break
        } catch (error) {
          // The state is only touched by a step that went well.
          const largest = Math.max(...parts.map((part) => part.rows.length * part.length))
          const single = parts.every((part) => part.rows.length === 1)
          if (!(error instanceof WinnowError) || error.fault.code !== 'out-of-memory' || single) throw error
          most = Math.max(Math.floor(largest / 2), Math.max(...parts.map((part) => part.length)))
          options.onSmallerParts?.(most)
        }
      }
    }
  }
}

const computedSize = ({ shape, positions }: Collated) => ({
  rows: shape[0],
  length: shape[1],
  labels: positions.length,
})
