/** Losses in a .npy file: (N, T), a column for each checkpoint, or (N,) of one whose step is known. */

import { WinnowError } from '../errors.ts'
import { emptyColumn, type LossColumn, MOST_CHECKPOINTS, putLoss } from './loss-column.ts'
import { otherPool } from './loss-table.ts'
import { readNpy } from './npy.ts'

/**
 * The checkpoints of a .npy file over `rows` rows. O(N T).
 *
 * @throws {WinnowError} `bad-npy`, `other-pool`, `no-step`, `no-checkpoints`, `infinite-loss`.
 */
export function readLossArray(
  bytes: Uint8Array,
  { file, rows, step }: { file: string; rows: number; step?: number },
): LossColumn[] {
  const { shape, data } = readNpy(bytes, file)
  const shown = `shape (${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  if (shape[0] !== rows)
    throw otherPool(
      file,
      shown,
      rows,
      shape[1] === rows ? 'The array is the wrong way round: save array.T.' : undefined,
    )
  const checkpoints = shape.slice(1).reduce((product, size) => product * size, 1)
  if (step === undefined ? shape.length !== 2 : checkpoints !== 1)
    throw new WinnowError('input', {
      code: 'no-step',
      message: step === undefined ? 'the array is not one of rows and checkpoints' : 'the array is not one of rows',
      file,
      found: shown,
      expected: step === undefined ? `shape (${rows}, checkpoints)` : `shape (${rows},)`,
      hint:
        shape.length === 1
          ? 'Of one checkpoint alone? Put the files of all checkpoints into a directory and name that.'
          : 'Keep one number for each row and checkpoint: the mean over the response tokens.',
    })
  if (checkpoints > MOST_CHECKPOINTS)
    throw new WinnowError('input', {
      code: 'too-many-checkpoints',
      message: 'the array has more checkpoints than a training run records',
      file,
      found: shown,
      expected: `at most ${MOST_CHECKPOINTS}`,
    })
  return Array.from({ length: checkpoints }, (_, c) => {
    const column = emptyColumn(rows, { step: step ?? c + 1, file, name: step === undefined ? String(c) : undefined })
    for (let row = 0; row < rows; row++) putLoss(column, row, data[row * checkpoints + c])
    return column
  })
}
