/** Which row a k-means++ draw falls on. */

import type { Blocks } from './blocks.ts'

/**
 * The row at share `u` in [0, 1) of the squares' cumulative sum, walked in block order: row i is drawn with probability
 * squares[i] / sum of squares (Arthur & Vassilvitskii, SODA 2007). `totals` are the squares' sums per block.
 * Returns undefined when all squares are 0.
 */
export function drawRow(squares: Float64Array, totals: Float64Array, blocks: Blocks, u: number): number | undefined {
  let total = 0
  for (let b = 0; b < blocks.count; b++) total += totals[b]
  if (!(total > 0)) return undefined
  let rest = u * total
  let drawn: number | undefined
  for (let b = 0; b < blocks.count; b++) {
    // Rounding can carry `rest` past the end of a block or of all: the last row with a share stands in.
    const within = rest < totals[b]
    if (!within && b < blocks.count - 1) {
      rest -= totals[b]
      continue
    }
    const end = Math.min(squares.length, (b + 1) * blocks.rows)
    for (let row = b * blocks.rows; row < end; row++) {
      if (squares[row] > 0) drawn = row
      if (rest < squares[row]) return row
      rest -= squares[row]
    }
    if (drawn !== undefined) return drawn
  }
  // The last block had no share at all: the last row that has one.
  for (let row = squares.length - 1; row >= 0; row--) if (squares[row] > 0) return row
  return undefined
}
