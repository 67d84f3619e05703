/** Filling a budget from rows in order of preference. */

import { requireSignal } from '../signals/signal.ts'
import { drawTokens } from './allocation.ts'
import type { SelectionInput } from './method.ts'

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
