/** Which scored rows the page shows: the best, those on both sides of the edge, and some left out for each reason. */

import { type RandomStream, randomStream, sample } from '../random/philox.ts'
import type { ReportData, ReportScores } from './data.ts'

/** Rows shown of each kind. */
const BEST = 4
const AT_EDGE = 3
const LEFT_LIKE_MOST = 3
const LEFT_OTHERWISE = 2

/**
 * Why a row is not in the pick: its score, no score at all, a domain that was not kept, or (what else bars a row) that it
 * repeats an earlier one. `passed`: its score would have done, but it is nearly a duplicate, or did not fit into the budget.
 * `barred`: what the scores say bars rows (`ReportScores.barred`).
 */
export type LeftReason = 'score' | 'passed' | 'unscored' | 'barred' | 'domain' | 'duplicate'

const REASONS: readonly LeftReason[] = ['score', 'passed', 'unscored', 'barred', 'domain', 'duplicate']

export interface RankedRows {
  /** Picked rows of the best scores, best first. */
  best: Uint32Array
  /** Picked rows of the worst scores, worst first; none that is among the best. */
  last: Uint32Array
  /** Candidates that were left out by their scores, best first. */
  next: Uint32Array
  /** Uniform draws among the other rows that were left out, ascending; kinds without a row are absent. */
  left: { reason: LeftReason; count: number; rows: Uint32Array }[]
  /** Place of each row above that has a score: 1 + the scored candidates that are strictly better. */
  places: ReadonlyMap<number, number>
  /** Candidates that have a score. */
  scored: number
}

/** Draws the rows to show by the run's seed (purpose `report left …`). Undefined without scores. O(N). */
export function rankRows(data: Omit<ReportData, 'texts'>): RankedRows | undefined {
  const { rows, scores, run } = data
  if (!scores) return undefined
  const key = scoreKey(scores)
  const candidate = candidacy(scores)
  const picked = (row: number) => rows.selected[row] !== 0
  const least = (limit: number, of: (row: number) => number) => leastRows(rows.count, limit, of)
  const best = least(BEST, (row) => (picked(row) ? key(row) : Number.NaN))
  const atTop = new Set(best)
  const last = least(AT_EDGE, (row) => (picked(row) && !atTop.has(row) ? -key(row) : Number.NaN))
  const reason = leftReasons(data)
  const next = least(AT_EDGE, (row) => (picked(row) || reason(row) !== 'score' ? Number.NaN : key(row)))
  const atEdge = new Set(next)
  const counts: Record<LeftReason, number> = { score: 0, passed: 0, unscored: 0, barred: 0, domain: 0, duplicate: 0 }
  let scored = 0
  for (let row = 0; row < rows.count; row++) {
    if (candidate(row) && !Number.isNaN(key(row))) scored++
    if (!picked(row)) counts[reason(row)]++
  }
  const draw = (kind: LeftReason, limit: number, stream: RandomStream) => {
    const members = new Uint32Array(counts[kind] - (kind === 'score' ? atEdge.size : 0))
    for (let row = 0, at = 0; row < rows.count; row++) {
      if (!picked(row) && reason(row) === kind && !atEdge.has(row)) members[at++] = row
    }
    return sample(members, Math.min(limit, members.length), stream).toSorted()
  }
  const most = Math.max(...Object.values(counts))
  const left = REASONS.filter((kind) => counts[kind] > 0).map((kind) => ({
    reason: kind,
    count: counts[kind],
    rows: draw(
      kind,
      counts[kind] === most ? LEFT_LIKE_MOST : LEFT_OTHERWISE,
      randomStream(run.seed, `report left ${kind}`),
    ),
  }))
  const shown = [...best, ...last, ...next, ...left.flatMap((kind) => [...kind.rows])]
  return { best, last, next, left, places: placesOf(shown, rows.count, key, candidate), scored }
}

/** What rows are ordered by: the least key is the best score. NaN where a row has none. */
export function scoreKey({ values, taken }: ReportScores): (row: number) => number {
  const sign = taken === 'lowest' ? 1 : -1
  return (row) => (Number.isFinite(values[row]) ? sign * values[row] : Number.NaN)
}

export function candidacy(scores: ReportScores | undefined): (row: number) => boolean {
  const flags = scores?.candidates
  return flags ? (row) => flags[row] !== 0 : () => true
}

/** Why a row that was not picked was not. Domains are known by the names of the rows' sources. */
export function leftReasons({
  rows,
  scores,
  domains,
}: Pick<ReportData, 'rows' | 'scores' | 'domains'>): (row: number) => LeftReason {
  const candidate = candidacy(scores)
  const dropped = new Set(domains?.rows.filter(({ kept }) => !kept).map(({ name }) => name))
  const { source } = rows
  const key = scores ? scoreKey(scores) : () => Number.NaN
  const edge = scores?.boundary === undefined ? Number.NaN : scores.boundary * (scores.taken === 'lowest' ? 1 : -1)
  const barred = Uint8Array.from(source?.names ?? [], (name) => (dropped.has(name) ? 1 : 0))
  return (row) => {
    if (candidate(row)) return Number.isNaN(key(row)) ? 'unscored' : key(row) < edge ? 'passed' : 'score'
    if (scores?.barred !== undefined) return 'barred'
    return source && barred[source.codes[row]] === 1 ? 'domain' : 'duplicate'
  }
}

/** The `limit` rows of least key, least first, ties by row; NaN keys are passed over. O(N limit). */
export function leastRows(count: number, limit: number, key: (row: number) => number): Uint32Array {
  const rows: number[] = []
  const keys: number[] = []
  for (let row = 0; row < count; row++) {
    const value = key(row)
    if (Number.isNaN(value) || (rows.length === limit && !(value < keys[limit - 1]))) continue
    let at = rows.length
    while (at > 0 && value < keys[at - 1]) at--
    rows.splice(at, 0, row)
    keys.splice(at, 0, value)
    if (rows.length > limit) {
      rows.pop()
      keys.pop()
    }
  }
  return Uint32Array.from(rows)
}

function placesOf(
  shown: readonly number[],
  count: number,
  key: (row: number) => number,
  candidate: (row: number) => boolean,
): Map<number, number> {
  const rows = shown.filter((row) => candidate(row) && !Number.isNaN(key(row)))
  const keys = Float64Array.from(rows, key)
  const better = new Float64Array(rows.length)
  for (let row = 0; row < count; row++) {
    if (!candidate(row)) continue
    const value = key(row)
    for (let i = 0; i < keys.length; i++) if (value < keys[i]) better[i]++
  }
  return new Map(rows.map((row, i) => [row, better[i] + 1]))
}
