/** The baseline that every method has to beat. */

import { z } from 'zod'
import { randomStream, sample } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import { defineMethod } from './method.ts'

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
  select: ({ rows, budget, signals, seed }) => {
    const known = signals.tokens?.data
    const pool = Uint32Array.from({ length: rows }, (_, row) => row).filter((row) => known?.[row] !== 0)
    const stream = randomStream(seed, 'random draw')
    const tokens = budget.unit === 'tokens' ? requireSignal(signals, 'tokens', rows).data : known
    const selected =
      budget.unit === 'tokens'
        ? drawTokens([sample(pool, pool.length, stream)], tokens!, budget.tokens)
        : sample(pool, Math.min(pool.length, budget.rows), stream)
    selected.sort()
    const weight = new Float64Array(rows)
    for (const row of selected) weight[row] = pool.length / selected.length
    return {
      selected,
      columns: { weight },
      groups: [{ id: 0, rows: pool.length, selected: selected.length }],
      ...(tokens && { tokens: selected.reduce((total, row) => total + tokens[row], 0) }),
      notices: underFilled(budget, selected.length),
    }
  },
})
