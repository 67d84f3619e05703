/** The checkpoint of the proxy that a baseline scores with. */

import { z } from 'zod'

export type Checkpoint = 'early' | 'late' | number

/** Option `--checkpoint`: the same meaning and default in every method that has it. */
export const checkpointOption = () =>
  z
    .union([z.literal('early'), z.literal('late'), z.coerce.number().int().min(1)])
    .default('late')
    .describe(
      'Checkpoint of the proxy that rows are scored with: early (a quarter of the way), late (the last), or its number from 1',
    )

/**
 * Column of a signal with T checkpoints: `late` is the last, `early` the one at a quarter of them, ceil(T / 4), a number that one. S2L's paper
 * (section 5, baselines) reports the better of an early and a late reference model and names no step; a quarter is ours.
 *
 * @throws {RangeError} where there is no such checkpoint.
 */
export function checkpointColumn(checkpoint: Checkpoint, checkpoints: number): number {
  const number = checkpoint === 'late' ? checkpoints : checkpoint === 'early' ? Math.ceil(checkpoints / 4) : checkpoint
  if (number > checkpoints) throw new RangeError(`checkpoint ${number} of ${checkpoints}`)
  return number - 1
}
