/** DSIR: importance resampling on hashed n-grams. */

import { z } from 'zod'
import { randomStream } from '../random/philox.ts'
import { requireSignal } from '../signals/signal.ts'
import { underFilled } from './budget.ts'
import { defineMethod } from './method.ts'
import { countTokens, takeInOrder, usableRows } from './ordered.ts'

/**
 * Data selection via importance resampling (Xie et al., NeurIPS 2023), METHODS 3. A row's log importance weight (the `importance` signal) is
 * the sum over its hashed unigrams and bigrams of log(p_target / p_pool). The budget is drawn without replacement in proportion to the weights:
 * Gumbel(0, 1) noise, a stream for each row, is added to the logs, and the largest are taken, ties by row.
 *
 * With one seed a smaller budget in rows selects a subset of a larger one. Columns: `importance` and `score`, with the noise. O(N log N).
 */
export const dsir = defineMethod({
  name: 'dsir',
  title: 'Importance resampling',
  summary: 'A draw in proportion to how much likelier the row is under the target’s word pairs than under the pool’s.',
  reference: {
    title: 'Data Selection for Language Models via Importance Resampling',
    authors: 'Sang Michael Xie, Shibani Santurkar, Tengyu Ma, Percy Liang',
    venue: 'NeurIPS 2023',
    url: 'https://arxiv.org/abs/2302.03169',
  },
  options: z.object({}),
  needs: (_, unit) => [...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []), { signal: 'importance' }],
  select: (input) => {
    const { rows, budget, signals, seed } = input
    const importance = requireSignal(signals, 'importance', rows).data as Float64Array
    const score = Float64Array.from(
      importance,
      (value, row) => value + gumbel(randomStream(seed, 'dsir draw', row).uniform()),
    )
    const ordered = usableRows(input)
    ordered.sort((a, b) => score[b] - score[a] || a - b)
    const selected = takeInOrder(ordered, input)
    return {
      selected,
      columns: { importance, score },
      groups: [{ id: 0, rows: ordered.length, selected: selected.length }],
      ...countTokens(selected, input),
      notices: underFilled(budget, selected.length),
    }
  },
})

/** A Gumbel(0, 1) number from a uniform one in [0, 1), whose zero is moved to half of its least step. */
const gumbel = (uniform: number): number => -Math.log(-Math.log(uniform === 0 ? 2 ** -54 : uniform))
