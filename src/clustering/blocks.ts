/**
 * The fixed order in which sums over rows are taken. Rows are cut into blocks; a sum runs over the rows of each block
 * in order, then over the blocks in order. The cut depends on the problem alone, so whichever thread takes a block, the
 * float64 result has the same bits.
 */

/** A cut of n rows: block b holds rows [b * rows, min(n, (b + 1) * rows)). */
export interface Blocks {
  rows: number
  count: number
}

const MOST_BLOCKS = 128
const LEAST_ROWS = 2048
/** Each block keeps its own [k, d] float64 sums; together they stay under this many bytes. */
const MOST_SUM_BYTES = 64 * 2 ** 20

/** The cut for n points of d dimensions in k clusters: at most 128 blocks of at least 2,048 rows. */
export function blocksOf(n: number, d: number, k: number): Blocks {
  const affordable = Math.max(1, Math.floor(MOST_SUM_BYTES / (8 * k * d)))
  const rows = Math.max(LEAST_ROWS, Math.ceil(n / Math.min(MOST_BLOCKS, affordable)))
  return { rows, count: Math.max(1, Math.ceil(n / rows)) }
}
