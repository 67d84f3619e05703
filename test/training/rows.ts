/** A tokenised pool in memory. */

import type { TokenRows } from '../../src/training/rows.ts'

export function memoryRows(rows: number[][]): TokenRows {
  return {
    count: rows.length,
    lengths: Uint32Array.from(rows, (row) => row.length),
    labels: Uint32Array.from(rows, (row) => row.filter((id) => id >>> 31 === 1).length),
    read: (row) => Uint32Array.from(rows[row]),
  }
}
