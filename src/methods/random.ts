/** The baseline that every method has to beat. */

import { z } from 'zod'
import { randomStream, sample } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import { defineMethod } from './method.ts'
import { countTokens, usableRows } from './ordered.ts'

/**
 * Rows drawn uniformly without replacement. A budget in tokens takes rows in drawn order until the next would exceed
 * it, then shorter ones that still fit (`drawTokens` with one cluster). With one seed a smaller budget in rows selects
 * a subset of a larger one. Rows without tokens (a chat template refused them) are left out of the N that are drawn from. Column: `weight`,
 * N / selected for selected rows and 0 for others. O(N).
 */
export const random = defineMethod({
  name: 'random',
  title: 'Random',
  summary: 'Rows drawn uniformly without replacement.',
  options: z.object({}),
  needs: (_, unit) => (unit === 'tokens' ? [{ signal: 'tokens' }] : []),
  select: (input) => {
    const { rows, budget, signals, seed } = input
    const pool = usableRows(input)
    const stream = randomStream(seed, 'random draw')
    const selected =
      budget.unit === 'tokens'
        ? drawTokens([sample(pool, pool.length, stream)], requireSignal(signals, 'tokens', rows).data, budget.tokens)
        : sample(pool, Math.min(pool.length, budget.rows), stream)
    selected.sort()
    const weight = new Float64Array(rows)
    for (const row of selected) weight[row] = pool.length / selected.length
    return {
      selected,
      columns: { weight },
      groups: [{ id: 0, rows: pool.length, selected: selected.length }],
      ...countTokens(selected, input),
      notices: underFilled(budget, selected.length),
    }
  },
})
