/** Filling a budget from rows in order of preference. */

import { requireSignal } from '../signals/signal.ts'
import { drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import type { Notice, SelectionInput } from './method.ts'

/**
 * The first rows of `ordered` (best first, distinct) that the budget has room for, ascending. A budget in rows takes a prefix; one in tokens
 * takes rows in order until the next would exceed it, then later ones that still fit (`drawTokens` with one cluster).
 */
export function takeInOrder(
  ordered: Uint32Array,
  { rows, budget, signals }: Pick<SelectionInput<unknown>, 'rows' | 'budget' | 'signals'>,
): Uint32Array {
  const selected =
    budget.unit === 'rows'
      ? ordered.slice(0, budget.rows)
      : drawTokens([ordered], requireSignal(signals, 'tokens', rows).data, budget.tokens)
  return selected.sort()
}

/** Rows that may be picked, by their places [N] in an order; -1 for those that have none. */
export function orderedRows(
  input: Pick<SelectionInput<unknown>, 'rows' | 'signals'>,
  places: ArrayLike<number>,
): Uint32Array {
  return usableRows(input)
    .filter((row) => places[row] >= 0)
    .sort((a, b) => places[a] - places[b])
}

/** Where a budget in rows is not filled: how many rows have no place (-1) in the order, and why that may be. */
export function unreached(
  { budget }: Pick<SelectionInput<unknown>, 'budget'>,
  selected: Uint32Array,
  places: Int32Array,
  ...reasons: (string | undefined)[]
): Notice[] {
  const without = places.reduce((total, place) => total + Number(place < 0), 0)
  const why = ['without a vector or tokens', ...reasons].filter((reason) => reason !== undefined).join(' ')
  return underFilled(budget, selected.length).map((notice) => ({
    ...notice,
    message: `${notice.message}${without === 0 ? '' : `: ${without.toLocaleString('en')} rows are ${why}`}`,
  }))
}

/** `{ tokens }` of the selected rows where the signal is there, else nothing: to be spread into a selection. */
export function countTokens(
  selected: Uint32Array,
  { signals }: Pick<SelectionInput<unknown>, 'signals'>,
): { tokens?: number } {
  const tokens = signals.tokens?.data
  return tokens === undefined ? {} : { tokens: selected.reduce((total, row) => total + tokens[row], 0) }
}

/** Rows that may be picked at all: those that have tokens, where tokens are known (a chat template may refuse a row). */
export function usableRows({ rows, signals }: Pick<SelectionInput<unknown>, 'rows' | 'signals'>): Uint32Array {
  const tokens = signals.tokens?.data
  const all = Uint32Array.from({ length: rows }, (_, row) => row)
  return tokens === undefined ? all : all.filter((row) => tokens[row] !== 0)
}
