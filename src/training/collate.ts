/** A batch of rows as the arrays that a graph takes: padded ids, and where the labels are. Nothing after a row's last label is kept. */

import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { Batch } from './batches.ts'
import type { TokenRows } from './rows.ts'

export interface Padding {
  /** Labels are padded to a multiple of this. Default 1. */
  chunks?: number
  /** Least number of positions (rows * length) and of labels. Default 1. */
  least?: number
}

export interface Collated {
  /** Token ids [rows, length], row-major, padded on the right with 0 (causal attention never looks there); length is at least 1. */
  tokens: Int32Array
  shape: [rows: number, length: number]
  /** Flat positions in [0, rows*length) whose hidden state predicts a trained token, row by row, [labels]. */
  positions: Int32Array
  /** The token predicted there, the next one of the row, [labels]. */
  targets: Int32Array
  /** Labels of each row of the batch; empty rows that pad it are not among them. */
  labelsPerRow: Uint32Array
}

/**
 * Reads and pads a batch. The first token of a row has nothing before it and is never a label. Labels are padded with repeats of
 * position 0: callers give those weight 0 (`labelsPerRow` does not count them). Positions are padded with empty rows.
 */
export function collate(source: TokenRows, batch: Batch, maxLength: number, padding: Padding = {}): Collated {
  const { chunks = 1, least = 1 } = padding
  const read = Array.from(batch.rows, (row) => {
    const ids = source.read(row)
    const used = Math.min(ids.length, maxLength, batch.length)
    let last = used - 1
    while (last > 0 && (ids[last] & TRAINED_BIT) === 0) last--
    // The token of the last label is predicted, never read.
    return { ids, last }
  })
  const length = read.reduce((most, { last }) => Math.max(most, last), 1)
  const rows = Math.max(read.length, Math.ceil(least / length))
  const tokens = new Int32Array(rows * length)
  const positions: number[] = []
  const targets: number[] = []
  const labelsPerRow = new Uint32Array(read.length)
  read.forEach(({ ids, last }, i) => {
    for (let j = 0; j < last; j++) {
      tokens[i * length + j] = ids[j] & TOKEN_MASK
      if ((ids[j + 1] & TRAINED_BIT) === 0) continue
      positions.push(i * length + j)
      targets.push(ids[j + 1] & TOKEN_MASK)
      labelsPerRow[i]++
    }
  })
  while (positions.length < least || positions.length % chunks !== 0) {
    positions.push(0)
    targets.push(0)
  }
  return {
    tokens,
    shape: [rows, length],
    positions: Int32Array.from(positions),
    targets: Int32Array.from(targets),
    labelsPerRow,
  }
}
