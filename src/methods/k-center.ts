/** k-center: rows picked so that no row of the pool is far from a picked one. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { checkpointOption } from './checkpoint.ts'
import { defineMethod } from './method.ts'
import { countTokens, orderedRows, takeInOrder, unreached } from './ordered.ts'

/**
 * Greedy k-center (Sener & Savarese, ICLR 2018, algorithm 1; Gonzalez, 1985): from the row nearest the mean of all on, always the row farthest
 * from its nearest picked one, ties by row. Distances are Euclidean between unit vectors. The `spread` signal holds that order. A smaller
 * budget in rows selects a subset of a larger one. It goes to the edges of the pool first: outliers are picked early. No target, no randomness.
 *
 * Columns: `order` (place of picking; -1: not reached, or no vector or no tokens) and `distance` (to the nearest row picked before, never
 * increasing; NaN of the first and beside -1). O(N log N).
 */
export const kCenter = defineMethod({
  name: 'k-center',
  title: 'k-center (core-set)',
  summary: 'The rows that leave no row of the pool far from a picked one, farthest first.',
  reference: {
    title: 'Active Learning for Convolutional Neural Networks: A Core-Set Approach',
    authors: 'Ozan Sener, Silvio Savarese',
    venue: 'ICLR 2018',
    url: 'https://arxiv.org/abs/1708.00489',
  },
  options: z.object({ checkpoint: checkpointOption() }),
  needs: ({ checkpoint }, unit) => [
    ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
    { signal: 'embeddings', normalise: true, only: 'pool', checkpoint },
    { signal: 'spread', of: 'embeddings' },
  ],
  select: (input) => {
    const { rows, signals } = input
    const order = requireSignal(signals, 'spread', rows).data as Int32Array
    const selected = takeInOrder(orderedRows(input, order), input)
    return {
      selected,
      columns: { order, distance: requireSignal(signals, 'spread_distance', rows).data as Float64Array },
      groups: [{ id: 0, rows, selected: selected.length }],
      ...countTokens(selected, input),
      notices: unreached(input, selected, order),
    }
  },
})
