/** Losses in a .npy file: (N, T), a column for each checkpoint, or (N,) of one whose step is known. */

import { WinnowError } from '../errors.ts'
import { emptyColumn, type LossColumn, MOST_CHECKPOINTS, putLoss } from './loss-column.ts'
import { otherPool } from './loss-table.ts'
import { NPY_HEADER_BYTES, npyLayout } from './npy.ts'

/** Bytes of the array that are looked at together. */
const BLOCK_BYTES = 1 << 20

/** A .npy file as its reader gives it. */
export interface LossArray {
  file: string
  /** Of the whole file. */
  bytes: number
  /** `length` bytes from `at`, as many as there are. */
  read(at: number, length: number): Promise<Uint8Array>
}

/**
 * The checkpoints of a .npy file over `rows` rows, of any type of real numbers and either order. One pass, memory 4 N T bytes and a block.
 *
 * @throws {WinnowError} `bad-npy`, `other-pool`, `no-step`, `no-checkpoints`, `too-many-checkpoints`, `infinite-loss`.
 */
export async function readLossArray(
  { file, bytes, read }: LossArray,
  { rows, step }: { rows: number; step?: number },
): Promise<LossColumn[]> {
  const layout = npyLayout(await read(0, Math.min(bytes, NPY_HEADER_BYTES)), bytes, file)
  const { shape, fortranOrder, dataAt, size } = layout
  const shown = `shape (${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  if (shape[0] !== rows) {
    const turned = shape.length === 2 && shape[1] === rows
    throw otherPool(file, shown, rows, turned ? 'The array is the wrong way round: save array.T.' : undefined)
  }
  const checkpoints = shape.slice(1).reduce((product, length) => product * length, 1)
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
  const columns = Array.from({ length: checkpoints }, (_, c) =>
    emptyColumn(rows, { step: step ?? c + 1, file, name: step === undefined ? String(c) : undefined }),
  )
  const count = rows * checkpoints
  const block = Math.floor(BLOCK_BYTES / size)
  for (let start = 0; start < count; start += block) {
    const end = Math.min(count, start + block)
    const values = layout.decode(await read(dataAt + start * size, (end - start) * size))
    for (let at = start; at < end; at++) {
      const row = fortranOrder ? at % rows : Math.floor(at / checkpoints)
      const column = fortranOrder ? Math.floor(at / rows) : at % checkpoints
      putLoss(columns[column], row, values[at - start])
    }
  }
  return columns
}
