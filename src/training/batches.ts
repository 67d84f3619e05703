/** Batches of like length, bounded by tokens, not rows. Planning is pure: lengths in, row lists out; no token is read. */

import { randomStream, shuffle } from '../random/philox.ts'

export interface Batch {
  rows: Uint32Array
  /** Tokens of the longest row after truncation: every row of the batch is padded to it. */
  length: number
}

export interface BatchOptions {
  /** Largest rows * length of a batch. A longer single row makes a batch of its own. */
  tokensPerBatch: number
  /** Rows are cut to this many tokens. */
  maxLength: number
  /** Rows to use. Default: all. */
  rows?: Uint32Array
  /** Shuffle: rows of like length meet in random company, batches come in random order. Without it batches run from long to short. */
  shuffle?: { seed: number; epoch: number }
}

export interface BatchPlan {
  batches: Batch[]
  /** Real tokens in all batches, after truncation. */
  tokens: number
  /** Tokens computed, padding included: padding waste is 1 - tokens / padded. */
  padded: number
}

/** Lengths are compared in classes of this many tokens, so that a shuffle can mix rows of nearly the same length. */
const LENGTH_CLASS = 8

/** O(N log N) in rows; memory 12 bytes a row. Deterministic; ties break by row, or by the seed where shuffled. */
export function planBatches(lengths: Uint32Array, options: BatchOptions): BatchPlan {
  const { tokensPerBatch, maxLength } = options
  const rows = options.rows?.slice() ?? Uint32Array.from(lengths, (_, row) => row)
  const cut = (row: number) => Math.min(lengths[row], maxLength)
  if (options.shuffle) {
    shuffle(rows, randomStream(options.shuffle.seed, 'batches/rows', options.shuffle.epoch))
    // A stable sort by class keeps the shuffled order inside a class.
    rows.sort((a, b) => Math.ceil(cut(b) / LENGTH_CLASS) - Math.ceil(cut(a) / LENGTH_CLASS))
  } else rows.sort((a, b) => cut(b) - cut(a) || a - b)

  const batches: Batch[] = []
  let [tokens, padded] = [0, 0]
  for (let start = 0; start < rows.length; ) {
    let length = cut(rows[start])
    let end = start + 1
    while (end < rows.length) {
      const longest = Math.max(length, cut(rows[end]))
      if ((end - start + 1) * longest > tokensPerBatch) break
      length = longest
      end++
    }
    const batch = rows.slice(start, end)
    // Row order inside a batch does not depend on the shuffle, so that equal batches give equal sums.
    batches.push({ rows: batch.sort(), length: Math.max(1, length) })
    for (const row of batch) tokens += cut(row)
    padded += batch.length * Math.max(1, length)
    start = end
  }
  if (options.shuffle) {
    const order = shuffle(
      batches.map((_, i) => i),
      randomStream(options.shuffle.seed, 'batches/order', options.shuffle.epoch),
    )
    return { batches: order.map((i) => batches[i]), tokens, padded }
  }
  return { batches, tokens, padded }
}
