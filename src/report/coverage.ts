/** How a pick spreads over the target: picked rows are counted at the target row that is nearest to each. */

import type { ReportData } from './data.ts'
import { candidacy, leastRows, scoreKey } from './ranking.ts'

/** Target rows shown on each side, and rows of the pool shown with each. */
const TARGETS = 3
const NEIGHBOURS = 2

export interface Coverage {
  /** Candidates and picked rows whose nearest target row is each, [M]. */
  pool: Uint32Array
  picks: Uint32Array
  /** Sums of both. */
  poolRows: number
  pickedRows: number
  /** Target rows by descending picks, ties by row. */
  order: Uint32Array
  /** Target rows that are the nearest of no picked row. */
  unreached: number
  /** How many target rows are the busiest tenth, and their shares of the picked rows and of the candidates. */
  tenth: { rows: number; pick: number; pool: number }
  /** Most picks first, and fewest first; among equals of the latter, those with the most candidates come first. */
  busiest: TargetNeighbours[]
  neglected: TargetNeighbours[]
}

export interface TargetNeighbours {
  target: number
  /** Picked rows nearest to it, best scores first; where there is none, candidates that were left out. */
  rows: Uint32Array
}

/** Undefined where rows have no nearest target row. O(N + M log M). */
export function coverageOf(data: Omit<ReportData, 'texts'>): Coverage | undefined {
  const { rows, target, scores } = data
  const nearest = target?.nearest
  if (!target || !nearest || target.rows === 0) return undefined
  const pool = new Uint32Array(target.rows)
  const picks = new Uint32Array(target.rows)
  const candidate = candidacy(scores)
  let poolRows = 0
  let pickedRows = 0
  for (let row = 0; row < rows.count; row++) {
    const at = nearest[row]
    if (!(at >= 0 && at < target.rows)) continue
    if (candidate(row)) {
      pool[at]++
      poolRows++
    }
    if (rows.selected[row]) {
      picks[at]++
      pickedRows++
    }
  }
  const order = Uint32Array.from({ length: target.rows }, (_, at) => at).sort((a, b) => picks[b] - picks[a] || a - b)
  const top = order.subarray(0, Math.ceil(target.rows / 10))
  const share = (column: Uint32Array, sum: number) => top.reduce((total, at) => total + column[at], 0) / sum
  const busiest = order.subarray(0, TARGETS)
  const rest = leastRows(target.rows, target.rows > 2 * TARGETS ? TARGETS : target.rows - busiest.length, (at) =>
    // Fewer picks first, then more candidates, of which a pool has fewer than 2^32.
    busiest.includes(at) ? Number.NaN : picks[at] * 2 ** 32 - pool[at],
  )
  const neighbours = neighboursOf(data, nearest, picks, [...busiest, ...rest])
  return {
    pool,
    picks,
    poolRows,
    pickedRows,
    order,
    unreached: picks.reduce((total, n) => total + (n === 0 ? 1 : 0), 0),
    tenth: { rows: top.length, pick: share(picks, pickedRows), pool: share(pool, poolRows) },
    busiest: neighbours.slice(0, busiest.length),
    neglected: neighbours.slice(busiest.length),
  }
}

/** One pass over the pool for all target rows that are shown. */
function neighboursOf(
  { rows, scores }: Omit<ReportData, 'texts'>,
  nearest: ArrayLike<number>,
  picks: Uint32Array,
  targets: readonly number[],
): TargetNeighbours[] {
  const members = new Map<number, number[]>(targets.map((target) => [target, []]))
  const candidate = candidacy(scores)
  const score = scores ? scoreKey(scores) : () => 0
  // Rows without a score come last.
  const key = (row: number) => (Number.isNaN(score(row)) ? Number.POSITIVE_INFINITY : score(row))
  for (let row = 0; row < rows.count; row++) {
    const list = members.get(nearest[row])
    if (!list || !(picks[nearest[row]] > 0 ? rows.selected[row] : candidate(row))) continue
    const value = key(row)
    let at = list.length
    while (at > 0 && value < key(list[at - 1])) at--
    list.splice(at, 0, row)
    list.length = Math.min(list.length, NEIGHBOURS)
  }
  return targets.map((target) => ({ target, rows: Uint32Array.from(members.get(target)!) }))
}
