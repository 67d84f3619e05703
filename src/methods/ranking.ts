/** Methods that give every row a score and take one end of it. */

import { underFilled } from './budget.ts'
import type { Column, Notice, RowScore, Selection, SelectionInput } from './method.ts'
import { countTokens, takeInOrder, usableRows } from './ordered.ts'

/**
 * Rows that may be picked and have a finite score, best first: ascending where the lowest are taken, else descending, ties by row. O(N log N).
 */
export function rankRows(
  input: Pick<SelectionInput<unknown>, 'rows' | 'signals'>,
  { values, taken, candidates }: Pick<RowScore, 'values' | 'taken' | 'candidates'>,
): Uint32Array {
  const sign = taken === 'lowest' ? 1 : -1
  return usableRows(input)
    .filter((row) => Number.isFinite(values[row]) && candidates?.[row] !== 0)
    .sort((a, b) => sign * (values[a] - values[b]) || a - b)
}

/** The selection of these rows, best first, by `takeInOrder`. Rows without a score are counted in a notice. */
export function selectRanked(
  input: SelectionInput<unknown>,
  ordered: Uint32Array,
  { columns, score }: { columns: Selection['columns']; score: ArrayLike<number> },
): Selection {
  const selected = takeInOrder(ordered, input)
  return {
    selected,
    columns,
    groups: [{ id: 0, rows: ordered.length, selected: selected.length }],
    ...countTokens(selected, input),
    notices: [...unscored(input, score), ...underFilled(input.budget, selected.length)],
  }
}

/** A selection by a score alone. O(N log N). */
export function selectByScore(
  input: SelectionInput<unknown>,
  score: RowScore,
  columns: { readonly [name: string]: Column },
): Selection {
  return selectRanked(input, rankRows(input, score), { columns, score: score.values })
}

/** A notice of the rows that have tokens and no score: their prompt fills the window, so that no trained token is left. */
export function unscored(input: Pick<SelectionInput<unknown>, 'rows' | 'signals'>, score: ArrayLike<number>): Notice[] {
  const rows = usableRows(input).reduce((count, row) => count + (Number.isFinite(score[row]) ? 0 : 1), 0)
  if (rows === 0) return []
  return [
    {
      code: 'unscored',
      message:
        rows === 1 ? 'a row has no score and was not selected' : `${rows} rows have no score and were not selected`,
      rows,
    },
  ]
}

/** Column `column` of a signal, row-major [N, columns], as numbers of its own. O(N). */
export function columnOf(
  { data, rows, columns }: { data: ArrayLike<number>; rows: number; columns: number },
  column: number,
): Float32Array {
  return Float32Array.from({ length: rows }, (_, row) => data[row * columns + column])
}
