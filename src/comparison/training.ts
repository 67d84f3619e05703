/** The training of one target: of how many steps, from which state, and what is kept on the way. */

import { unlink } from 'node:fs/promises'
import type { Cell } from '../evaluation/comparison.ts'
import { checkpointFiles, readState, writeState } from '../pipeline/checkpoints.ts'
import { type Context, notify } from '../pipeline/context.ts'
import { startTrainer } from '../pipeline/proxy.ts'
import { smallerParts } from '../pipeline/trajectories.ts'
import type { StageWork } from '../runs/stage.ts'
import { trainSteps } from '../training/loop.ts'
import type { TrainingState } from '../training/state.ts'
import type { Trainer } from '../training/trainer.ts'
import type { ResolvedCompareOptions } from './options.ts'
import type { TargetModel } from './target-model.ts'

/** The trainer, compiled when the first cell needs it, then given another state. */
export function trainerOf(context: Context<ResolvedCompareOptions>, { proxy }: TargetModel) {
  let trainer: Trainer | undefined
  return {
    async open(seed: number, resumed?: TrainingState): Promise<Trainer> {
      const { device, options } = context
      // A loss scale is the trainer's own and would be carried from cell to cell.
      if (trainer !== undefined && options.precision !== 'float32') {
        await trainer.release()
        trainer = undefined
      }
      if (trainer === undefined)
        trainer = await startTrainer(proxy, device, { seed, threads: options.threads }, resumed)
      else trainer.load((await proxy.start(seed, resumed)).state)
      return trainer
    },
    [Symbol.asyncDispose]: async () => trainer?.release(),
  }
}

/** Steps and passes of one target: a pass that is not whole counts as one. */
export function lengthOf({ steps, epochs }: TargetModel, epochBatches: (epoch: number) => number) {
  if (epochs !== undefined) {
    let total = 0
    for (let epoch = 0; epoch < epochs; epoch++) total += epochBatches(epoch)
    return { steps: total, epochs }
  }
  let [planned, passes] = [0, 0]
  while (planned < (steps as number)) planned += epochBatches(passes++)
  return { steps: steps as number, epochs: passes }
}

export interface Training {
  work: StageWork
  trainer: Trainer
  target: TargetModel
  trainOn: Uint32Array
  steps: number
  epochs: number
  seed: number
  resumed?: Awaited<ReturnType<typeof lastState>>
  onProgress(fraction: number, detail: string, loss?: number): void
}

/** Trains one target; its state is kept now and then, so that a killed run loses no more than that. */
export async function train(
  context: Context<ResolvedCompareOptions>,
  { work, trainer, target, trainOn, steps, epochs, seed, resumed, onProgress }: Training,
): Promise<Cell['training']> {
  const { proxy, tokens } = target
  const { store } = tokens
  let { processed, flops, seconds, losses } = resumed?.facts ?? { processed: 0, flops: 0, seconds: 0, losses: [] }
  if (steps === 0) return { steps, epochs, tokens: 0, flops: 0, seconds: 0, loss: Number.NaN }
  const tenth = Math.max(1, Math.floor(steps / 10))
  losses = [...losses]
  let since = performance.now()
  let before = resumed?.files ?? []
  const iterator = trainSteps({
    ...{ trainer, rows: store, recipe: { ...proxy.recipe, epochs }, seed, trainOn, steps },
    done: resumed?.state.step ?? 0,
    signal: context.signal,
    onSmallerParts: (size) => notify(context, smallerParts(size)),
  })
  for await (const { step, tokens: size, parts = [], loss } of iterator) {
    if (loss !== undefined) {
      processed += size
      for (const part of parts) flops += trainer.flops(part).train
      if (step > steps - tenth) losses.push(loss)
      onProgress((0.95 * step) / steps, `step ${step} of ${steps}`, loss)
      const elapsed = (performance.now() - since) / 1000
      if (elapsed > context.options.stateSeconds && step < steps) {
        seconds += elapsed
        since = performance.now()
        const files = checkpointFiles(work.key, step)
        const { model, optimiser } = await writeState(work, files, await trainer.state())
        await work.finishPart(`step ${step}`, [model, optimiser], { step, processed, flops, seconds, losses })
        for (const path of before) await unlink(work.path(path)).catch(() => undefined)
        before = [model.path, optimiser.path]
      }
    }
    // A pass may have more batches than are left to do.
    if (step === steps) break
  }
  seconds += (performance.now() - since) / 1000
  const loss = losses.reduce((total, value) => total + value, 0) / losses.length
  return { steps, epochs, tokens: processed, flops, seconds, loss }
}

type KeptFacts = { step: number; processed: number; flops: number; seconds: number; losses: number[] }

/** The last state that an interrupted execution has kept whole. */
export async function lastState(work: StageWork) {
  const part = work.parts.findLast(({ outputs }) => outputs.every(({ intact }) => intact))
  if (part === undefined) return undefined
  const facts = part.value as unknown as KeptFacts
  const files = checkpointFiles(work.key, facts.step)
  return { facts, state: await readState(work, files, facts.step), files: part.outputs.map(({ path }) => path) }
}
