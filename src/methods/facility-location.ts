/** Facility location: the rows that best stand for the whole pool. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { checkpointOption } from './checkpoint.ts'
import { defineMethod, type Notice, type SelectionInput } from './method.ts'
import { countTokens, orderedRows, takeInOrder, unreached } from './ordered.ts'

/** Rows up to which all similarities count, and no list of neighbours is too short. */
const ALL_PAIRS = 16_384

const options = z.object({
  neighbours: z.coerce
    .number()
    .int()
    .min(1)
    .max(1024)
    .default(64)
    .describe('Rows that can stand for a row, its nearest ones, where the pool is too large to look at all pairs'),
  checkpoint: checkpointOption(),
})

type Options = z.output<typeof options>

/**
 * Facility location, METHODS 3: greedy maximisation of
 *
 *     f(S) = sum_i max_{j in S} sim(i, j)
 *
 * over the rows i of the pool, sim the cosine of their vectors, a negative one counting as 0, so that f is monotone and starts at 0. The
 * `coverage` signal holds the greedy order (lazy evaluation, Minoux, 1978), ties by row: within 1 - 1/e of the best f for every budget. Rows are
 * taken in that order; a smaller budget in rows selects a subset of a larger one. No target and no randomness (the seed places the cells that
 * a pool of more than 131,072 rows is cut into).
 *
 * Columns: `order` (place of picking; -1: the row has no vector or no tokens) and `gain` (what the row added to f when it was picked, never
 * increasing; NaN beside -1). O(N log N).
 */
export const facilityLocation = defineMethod({
  name: 'facility-location',
  title: 'Facility location',
  summary: 'The rows that best stand for the whole pool: each row is near to a picked one.',
  reference: {
    title: 'Submodularity in Data Subset Selection and Active Learning',
    authors: 'Kai Wei, Rishabh Iyer, Jeff Bilmes',
    venue: 'ICML 2015',
    url: 'https://proceedings.mlr.press/v37/wei15.html',
  },
  options,
  needs: ({ neighbours, checkpoint }, unit) => [
    ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
    { signal: 'embeddings', normalise: true, only: 'pool', checkpoint },
    { signal: 'coverage', of: 'embeddings', neighbours },
  ],
  select: (input: SelectionInput<Options>) => {
    const { rows, signals } = input
    const order = requireSignal(signals, 'coverage', rows).data as Int32Array
    const selected = takeInOrder(orderedRows(input, order), input)
    return {
      selected,
      columns: { order, gain: requireSignal(signals, 'gain', rows).data as Float64Array },
      groups: [{ id: 0, rows, selected: selected.length }],
      ...countTokens(selected, input),
      notices: [...shortLists(input, selected.length), ...unreached(input, selected, order)],
    }
  },
})

/** With few picks each has to stand for more rows than have it in their lists. */
function shortLists({ rows, options }: SelectionInput<Options>, selected: number): Notice[] {
  if (rows <= ALL_PAIRS || selected * options.neighbours >= rows) return []
  return [
    {
      code: 'short-lists',
      message: `a picked row stands for ${Math.round(rows / selected)} rows on average, and a row looks at its ${options.neighbours} nearest: many are near to no picked row; --neighbours ${2 * Math.ceil(rows / selected)} looks farther`,
    },
  ]
}
