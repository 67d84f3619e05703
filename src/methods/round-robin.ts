/** Target rows taking pool rows in turn: what tapt-knn and rds share. */

import { requireSignal } from '../signals/signal.ts'
import { underFilled } from './budget.ts'
import type { Selection, SelectionInput } from './method.ts'
import { countTokens, takeInOrder, usableRows } from './ordered.ts'

/**
 * Rows in the order of the `order` signal: in each round every target row takes its most similar pool row (cosine) that nobody has taken yet.
 * A smaller budget selects a subset of a larger one. No randomness.
 *
 * Columns: `order` (-1: not reached), `nearest_target` (the target row that took it) and `similarity`. O(N log N).
 */
export function selectRoundRobin(input: SelectionInput<unknown>): Selection {
  const { rows, budget, signals } = input
  const order = requireSignal(signals, 'order', rows).data as Int32Array
  const ordered = usableRows(input).filter((row) => order[row] >= 0)
  ordered.sort((a, b) => order[a] - order[b])
  const selected = takeInOrder(ordered, input)
  return {
    selected,
    columns: {
      order,
      nearest_target: requireSignal(signals, 'taken_by', rows).data as Int32Array,
      similarity: requireSignal(signals, 'similarity', rows).data as Float32Array,
    },
    groups: [{ id: 0, rows, selected: selected.length }],
    ...countTokens(selected, input),
    notices: underFilled(budget, selected.length),
  }
}
