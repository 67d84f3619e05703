/** All domains: an equal budget for each source. */

import { z } from 'zod'
import { randomStream, sample } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { allocate, drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import { defineMethod } from './method.ts'
import { countTokens, usableRows } from './ordered.ts'

/**
 * An equal budget for each source, drawn uniformly inside it (METHODS 3); what a small source cannot use goes to the larger ones, by the
 * rule of `allocate`, so that the budget is exact. Reads no target.
 *
 * With one seed a smaller budget in rows selects a subset of a larger one. Column: `weight`, rows / selected of the source for selected rows
 * and 0 for others. O(N + D log D).
 */
export const allDomains = defineMethod({
  name: 'all-domains',
  title: 'All domains',
  summary: 'An equal share from each source, drawn uniformly.',
  options: z.object({}),
  needs: (_, unit) => [{ signal: 'source' }, ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : [])],
  select: (input) => {
    const { rows, budget, signals, seed } = input
    const source = requireSignal(signals, 'source', rows)
    const members: number[][] = (source.labels ?? []).map(() => [])
    for (const row of usableRows(input)) members[source.data[row]].push(row)
    const draw = (code: number, count: number) =>
      sample(Uint32Array.from(members[code]), count, randomStream(seed, 'all-domains draw', code))
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
  },
})
