/** SemDeDup: rows that resemble no other row of their cell. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { checkpointOption } from './checkpoint.ts'
import { defineMethod, type SelectionInput } from './method.ts'
import { countTokens, takeInOrder, unreached } from './ordered.ts'

const options = z.object({
  cells: z
    .union([z.literal('auto'), z.coerce.number().int().min(1)])
    .default('auto')
    .describe('k-means cells within which rows are compared; auto is one for 2,048 rows'),
  keep: z
    .enum(['hard', 'easy'])
    .default('hard')
    .describe('Of rows alike, which stays: hard is the one farthest from the centroid of its cell, easy the nearest'),
  eps: z
    .union([z.literal('auto'), z.coerce.number().min(0).max(2)])
    .default('auto')
    .describe(
      'Rows whose cosine to a kept one is above 1 - eps are never picked; auto removes only as many as the budget asks',
    ),
  checkpoint: checkpointOption(),
})

type Options = z.output<typeof options>

/**
 * SemDeDup (Abbas et al., 2023, arXiv 2303.09540). Rows are clustered by k-means on unit vectors; in each cell they are ordered, the ones farthest
 * from the centroid first (`keep hard`, as the paper), and a row is a semantic duplicate at eps if its cosine to some row before it is above
 * 1 - eps. The paper chooses eps and keeps what is left; here the budget chooses: rows are taken by ascending greatest cosine to a row before
 * them (the `redundancy` signal), ties by row, so those that the smallest eps would remove go last. The first row of a cell comes
 * first. With a number as `eps` its duplicates are never picked, and a budget may stay under-filled. A smaller budget in rows selects a subset
 * of a larger one. The seed decides the cells. No target.
 *
 * Columns: `similarity` (that cosine; NaN for the first of a cell and rows without a vector), `near_to` (that row, -1), `cell` (-1) and
 * `centroid_similarity`. O(N log N).
 */
export const semdedup = defineMethod({
  name: 'semdedup',
  title: 'SemDeDup',
  summary: 'The rows that resemble others least: semantic duplicates go first.',
  reference: {
    title: 'SemDeDup: Data-efficient learning at web-scale through semantic deduplication',
    authors: 'Amro Abbas, Kushal Tirumala, Dániel Simig, Surya Ganguli, Ari S. Morcos',
    venue: 'arXiv 2023',
    url: 'https://arxiv.org/abs/2303.09540',
  },
  options,
  needs: ({ cells, keep, checkpoint }, unit) => [
    ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
    { signal: 'embeddings', normalise: true, only: 'pool', checkpoint },
    { signal: 'redundancy', of: 'embeddings', cells, keep },
  ],
  select: (input: SelectionInput<Options>) => {
    const { rows, signals, options } = input
    const similarity = requireSignal(signals, 'redundancy', rows).data as Float64Array
    const cell = requireSignal(signals, 'cell', rows).data as Int32Array
    const tokens = signals.tokens?.data
    const most = options.eps === 'auto' ? Number.POSITIVE_INFINITY : 1 - options.eps
    // The first of its cell resembles nothing before it.
    const rank = similarity.map((value) => (Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value))
    const usable = Int32Array.from(cell, (id, row) => (id < 0 || tokens?.[row] === 0 || rank[row] > most ? -1 : id))
    const ordered = Uint32Array.from(cell.keys()).filter((row) => usable[row] >= 0)
    ordered.sort((a, b) => rank[a] - rank[b] || a - b)
    const selected = takeInOrder(ordered, input)
    return {
      selected,
      columns: {
        similarity,
        near_to: requireSignal(signals, 'near_to', rows).data as Int32Array,
        cell,
        centroid_similarity: requireSignal(signals, 'centroid_similarity', rows).data as Float64Array,
      },
      groups: cellGroups(cell, selected),
      ...countTokens(selected, input),
      notices: unreached(input, selected, usable, options.eps === 'auto' ? undefined : `or within eps of another`),
    }
  },
})

/** Rows and picks of each cell. */
function cellGroups(cell: Int32Array, selected: Uint32Array) {
  const count = cell.reduce((most, id) => Math.max(most, id + 1), 0)
  const groups = Array.from({ length: count }, (_, id) => ({ id, rows: 0, selected: 0 }))
  for (const id of cell) if (id >= 0) groups[id].rows++
  for (const row of selected) groups[cell[row]].selected++
  return groups
}
