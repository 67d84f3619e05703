/** Batches of texts of like length: which rows are computed together, so that padding and the cost of a call stay small. Pure. */

export interface TextBatch {
  /** Places in the lengths that were given. */
  rows: Uint32Array
  /** Tokens that every row of it is padded to. */
  length: number
}

export interface TextBatchPlan {
  batches: TextBatch[]
  /** Real tokens. */
  tokens: number
  /** Tokens computed, padding included: the share of padding is 1 - tokens / padded. */
  padded: number
}

export interface TextBatchOptions {
  /** Largest rows * length of a batch. A single longer row makes a batch of its own. */
  tokensPerBatch: number
  /** What a batch costs beside its tokens, in tokens. Default tokensPerBatch / 32: of 512 on cpu a twentieth was measured, GPUs lose more. */
  overhead?: number
}

/**
 * Cuts the rows, sorted from long to short, into stretches that are padded to their longest row, such that
 *
 *     sum over stretches of (rows * longest + overhead * batches)
 *
 * is least over all places where the length changes (dynamic programming), then each stretch into batches of nearly equal numbers of
 * rows within `tokensPerBatch`. Rows of length 0 are in no batch. A function of the lengths alone; ties break by row.
 * O(N log N + D^2), D the number of different lengths.
 */
export function planTextBatches(lengths: ArrayLike<number>, options: TextBatchOptions): TextBatchPlan {
  const { tokensPerBatch, overhead = tokensPerBatch / 32 } = options
  const order = Uint32Array.from({ length: lengths.length }, (_, row) => row)
    .filter((row) => lengths[row] > 0)
    .sort((a, b) => lengths[b] - lengths[a] || a - b)
  const batches: TextBatch[] = []
  let [tokens, padded] = [0, 0]
  for (const [from, to] of stretches(order, lengths, { tokensPerBatch, overhead })) {
    const most = rowsWithin(tokensPerBatch, lengths[order[from]])
    const count = Math.ceil((to - from) / most)
    for (let batch = 0; batch < count; batch++) {
      const start = from + Math.floor(((to - from) * batch) / count)
      const rows = order.slice(start, from + Math.floor(((to - from) * (batch + 1)) / count))
      const length = lengths[rows[0]]
      for (const row of rows) tokens += lengths[row]
      padded += rows.length * length
      batches.push({ rows, length })
    }
  }
  return { batches, tokens, padded }
}

const rowsWithin = (tokensPerBatch: number, length: number) => Math.max(1, Math.floor(tokensPerBatch / length))

/** Pairs of first place and end in `order`. */
function stretches(
  order: Uint32Array,
  lengths: ArrayLike<number>,
  { tokensPerBatch, overhead }: Required<TextBatchOptions>,
): [number, number][] {
  /** Places where a new length begins, and the end. */
  const starts: number[] = []
  for (let i = 0; i < order.length; i++) if (i === 0 || lengths[order[i]] !== lengths[order[i - 1]]) starts.push(i)
  const groups = starts.length
  starts.push(order.length)
  const best = new Float64Array(groups + 1)
  const from = new Uint32Array(groups + 1)
  for (let end = 1; end <= groups; end++) {
    best[end] = Number.POSITIVE_INFINITY
    for (let start = end - 1; start >= 0; start--) {
      const rows = starts[end] - starts[start]
      const length = lengths[order[starts[start]]]
      const cost = best[start] + rows * length + overhead * Math.ceil(rows / rowsWithin(tokensPerBatch, length))
      if (cost >= best[end]) continue
      best[end] = cost
      from[end] = start
    }
  }
  const found: [number, number][] = []
  for (let end = groups; end > 0; end = from[end]) found.push([starts[from[end]], starts[end]])
  return found.reverse()
}
