/** An equal share of the budget for each source, drawn uniformly inside it. */

import { randomStream, sample } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { allocate, drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import type { Selection, SelectionInput } from './method.ts'
import { countTokens, usableRows } from './ordered.ts'

/**
 * The share of each source is that of `allocate`, in tokens of `drawTokens`: what a small source cannot use goes to the larger ones. `purpose`
 * names the random streams, one for each source. Rows that name no source are a source of their own. With one seed a smaller budget in rows
 * selects a subset of a larger one. Column `weight`: rows / selected of the source for selected rows, 0 for others. O(N + D log D).
 */
export function drawBySource(input: SelectionInput<unknown>, purpose: string): Selection {
  const { rows, budget, signals, seed } = input
  const source = requireSignal(signals, 'source', rows)
  const members: number[][] = (source.labels ?? []).map(() => [])
  for (const row of usableRows(input)) members[source.data[row]].push(row)
  const draw = (code: number, count: number) =>
    sample(Uint32Array.from(members[code]), count, randomStream(seed, purpose, code))
  const sizes = members.map((list) => list.length)
  let selected: Uint32Array
  if (budget.unit === 'rows') {
    const taken = allocate(sizes, budget.rows)
    selected = Uint32Array.from(members.flatMap((_, code) => [...draw(code, taken[code])]))
  } else {
    const groups = members.map((list, code) => draw(code, list.length))
    selected = drawTokens(groups, requireSignal(signals, 'tokens', rows).data, budget.tokens)
  }
  selected.sort()
  const taken = new Uint32Array(members.length)
  for (const row of selected) taken[source.data[row]]++
  const weight = new Float64Array(rows)
  for (const row of selected) weight[row] = sizes[source.data[row]] / taken[source.data[row]]
  return {
    selected,
    columns: { weight },
    groups: sizes.map((size, code) => ({
      id: code,
      label: source.labels?.[code],
      rows: size,
      selected: taken[code],
    })),
    ...countTokens(selected, input),
    notices: underFilled(budget, selected.length),
  }
}
