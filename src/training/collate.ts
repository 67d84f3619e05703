/** A batch of rows as the arrays that a graph takes: padded ids, and where the labels are. */

import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { Batch } from './batches.ts'
import type { TokenRows } from './rows.ts'

export interface Collated {
  /** Token ids [rows, length], row-major, padded on the right with 0 (causal attention never looks there). */
  tokens: Int32Array
  shape: [rows: number, length: number]
  /** Flat positions p in [0, rows*length) whose hidden state predicts a trained token, row by row, [labels]. */
  positions: Int32Array
  /** The token predicted there: the one at p + 1, [labels]. */
  targets: Int32Array
  /** Labels of each row of the batch, [rows]. */
  labelsPerRow: Uint32Array
}

/**
 * Reads and pads a batch. The first token of a row has nothing before it and is never a label. `chunks` pads the labels to a multiple
 * of it with repeats of position 0: callers give those weight 0 (`labelsPerRow` does not count them).
 */
export function collate(source: TokenRows, batch: Batch, maxLength: number, chunks = 1): Collated {
  const { rows, length } = batch
  const tokens = new Int32Array(rows.length * length)
  const positions: number[] = []
  const targets: number[] = []
  const labelsPerRow = new Uint32Array(rows.length)
  rows.forEach((row, i) => {
    const ids = source.read(row)
    const used = Math.min(ids.length, maxLength, length)
    for (let j = 0; j < used; j++) {
      tokens[i * length + j] = ids[j] & TOKEN_MASK
      if (j > 0 && (ids[j] & TRAINED_BIT) !== 0) {
        positions.push(i * length + j - 1)
        targets.push(ids[j] & TOKEN_MASK)
        labelsPerRow[i]++
      }
    }
  })
  while (positions.length % chunks !== 0 || positions.length === 0) {
    positions.push(0)
    targets.push(0)
  }
  return {
    tokens,
    shape: [rows.length, length],
    positions: Int32Array.from(positions),
    targets: Int32Array.from(targets),
    labelsPerRow,
  }
}
