/** TAPT/c: the target rows' nearest neighbours, round by round. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { underFilled } from './budget.ts'
import { defineMethod } from './method.ts'
import { countTokens, orderedRows, takeInOrder } from './ordered.ts'

/**
 * Curated task-adaptive pretraining (Gururangan et al., ACL 2020), METHODS 3: in each round every target row, in order, takes its most
 * similar pool row (cosine) that nobody has taken yet, until the budget is full. So each target row gets an equal share. The `order` signal
 * holds the order in which rows are taken; a smaller budget selects a subset of a larger one. No randomness.
 *
 * Columns: `order` (-1: not reached), `nearest_target` (the target row that took it) and `similarity`. O(N log N).
 */
export const taptKnn = defineMethod({
  name: 'tapt-knn',
  title: 'Nearest neighbours (TAPT/c)',
  summary: 'Each target row takes its nearest pool rows, round by round.',
  reference: {
    title: "Don't Stop Pretraining: Adapt Language Models to Domains and Tasks",
    authors: 'Suchin Gururangan, Ana Marasović, Swabha Swayamdipta, Kyle Lo, Iz Beltagy, Doug Downey, Noah A. Smith',
    venue: 'ACL 2020',
    url: 'https://arxiv.org/abs/2004.10964',
  },
  options: z.object({}),
  needs: (_, unit) => [
    ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
    { signal: 'embeddings', normalise: true },
    { signal: 'order', of: 'embeddings' },
  ],
  select: (input) => {
    const { rows, budget, signals } = input
    const order = requireSignal(signals, 'order', rows).data as Int32Array
    const selected = takeInOrder(orderedRows(input, order), input)
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
  },
})
