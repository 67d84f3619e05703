/** Trainers over the reference models, for a few steps. */

import { type Collated, collate } from '../../src/training/collate.ts'
import type { TrainingState } from '../../src/training/state.ts'
import { compileTrainer, startingState, type TrainerOptions } from '../../src/training/trainer.ts'
import { cpu } from '../engine/devices.ts'
import { collated, fixture } from '../models/fixtures.ts'
import { memoryRows } from './rows.ts'

export { collate, memoryRows }

/** The fixture's batches whole, or each cut into parts of these rows. */
export function batchesOf(variant: string, steps: number, parts?: [from: number, to: number][]): Collated[][] {
  return fixture(variant)
    .training.batches.slice(0, steps)
    .map(({ ids, labels }) =>
      (parts ?? [[0, ids.length]]).map(([from, to]) => collated(ids.slice(from, to), labels.slice(from, to))),
    )
}

/**
 * Losses, norms and the end state, copied, of some steps from the fixture's weights. Without clipping, so that after one step the first
 * moment is a tenth of the gradient.
 */
export async function trained(
  variant: string,
  batches: Collated[][],
  options: Partial<TrainerOptions> & { from?: TrainingState; rate?: number } = {},
) {
  const { model, weights } = fixture(variant)
  const { from, rate = 3e-3, ...choices } = options
  const trainer = await compileTrainer({
    model,
    device: cpu,
    optimiser: { beta2: 0.95, maxNorm: Number.POSITIVE_INFINITY },
    ...choices,
  })
  try {
    trainer.load(from ?? startingState(weights))
    const losses: number[] = []
    const norms: number[] = []
    for (const parts of batches) {
      const { loss, norm } = await trainer.train(parts, rate)
      losses.push(loss)
      norms.push(norm)
    }
    return { losses, norms, state: structuredClone(await trainer.state()) }
  } finally {
    await trainer.release()
  }
}

/** Largest difference between two sets of tensors, relative to the largest value of each. */
export function deviation(found: TrainingState['first'], expected: TrainingState['first']): number {
  let worst = 0
  for (const [name, { data }] of expected) {
    const other = found.get(name)?.data ?? new Float32Array()
    const scale = data.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-12)
    const error = data.reduce((most, x, i) => Math.max(most, Math.abs(x - other[i])), 0) / scale
    if (!(error <= worst)) worst = error
  }
  return worst
}
