/** The checkpoint of the proxy that a baseline scores with. */

import { z } from 'zod'
import { WinnowError } from '../errors.ts'

export type Checkpoint = 'auto' | 'start' | 'early' | 'late' | number

/** Option `--checkpoint`: the same meaning and default in every method that has it. */
export const checkpointOption = () =>
  z
    .union([
      z.literal('auto'),
      z.literal('start'),
      z.literal('early'),
      z.literal('late'),
      z.coerce.number().int().min(1),
    ])
    .default('auto')
    .describe(
      'Checkpoint of the proxy that rows are scored with: start (before its training), early (a quarter of the way), late (the last), or its number from 1; auto is late, in ifd with a pretrained proxy start',
    )

/** Option `--checkpoints`: the same meaning and default in every method that has it, so that they share one recorded run. */
export const checkpointsOption = () =>
  z.coerce
    .number()
    .int()
    .min(1)
    .default(12)
    .describe('Checkpoints T of the proxy, evenly spaced, at which every row is scored')

/**
 * Whether rows are scored before training, checked before anything is trained.
 *
 * @throws {WinnowError} `no-such-checkpoint` for a number above `checkpoints`.
 */
export function atStart({ checkpoint, checkpoints }: { checkpoint: Checkpoint; checkpoints: number }): boolean {
  if (checkpoint === 'start') return true
  checkpointColumn(checkpoint, checkpoints)
  return false
}

/**
 * Column of a signal with T checkpoints: `late` and `auto` are the last, `early` the one at a quarter of them, ceil(T / 4), a number that one.
 * S2L's paper (section 5, baselines) reports the better of an early and a late reference model and names no step; a quarter is ours.
 *
 * @throws {WinnowError} `no-such-checkpoint` where there is none: T is less than the number, or `start`, which is none of them.
 */
export function checkpointColumn(checkpoint: Checkpoint, checkpoints: number): number {
  const number =
    checkpoint === 'late' || checkpoint === 'auto'
      ? checkpoints
      : checkpoint === 'early'
        ? Math.ceil(checkpoints / 4)
        : checkpoint
  if (number !== 'start' && number >= 1 && number <= checkpoints) return number - 1
  throw new WinnowError('usage', {
    code: 'no-such-checkpoint',
    message: `the proxy has no checkpoint ${number} with scores`,
    path: '--checkpoint',
    found: String(checkpoint),
    expected: `early, late, or a number from 1 to ${checkpoints}`,
    hint:
      number === 'start'
        ? 'The start comes before the first checkpoint, and this method does not read it.'
        : 'Training may have fewer steps than --checkpoints asked for: the smaller number counts.',
  })
}
