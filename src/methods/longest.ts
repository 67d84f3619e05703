/** The longest responses: a baseline that is hard to beat. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { defineMethod, type RowScore, type SelectionInput, tokensNeed } from './method.ts'
import { columnOf, selectByScore } from './ranking.ts'

const options = z.object({
  length: z
    .enum(['response', 'all'])
    .default('response')
    .describe('What is counted: the tokens that are trained on, or all of the row'),
})

/**
 * Zhao et al. 2024, who take the 1,000 longest responses: the rows with the most response tokens, end-of-sequence included, or with `all` the most
 * tokens. Lengths are those of the whole rows, also where training cuts them; a row that is cut before its first response token is left out.
 *
 * A smaller budget in rows selects a subset of a larger one. Ties by row, no randomness. Column: `length`, tokens, 0 for rows that cannot be
 * picked. O(N log N).
 */
export const longest = defineMethod({
  name: 'longest',
  title: 'Longest responses',
  summary: 'The rows with the longest responses.',
  reference: {
    title: 'Long Is More for Alignment: A Simple but Tough-to-Beat Baseline for Instruction Fine-Tuning',
    authors: 'Hao Zhao, Maksym Andriushchenko, Francesco Croce, Nicolas Flammarion',
    venue: 'ICML 2024',
    url: 'https://arxiv.org/abs/2402.04833',
  },
  options,
  needs: ({ length }, unit) => [...tokensNeed(unit), { signal: 'lengths', part: length }],
  score,
  select: (input) => {
    const length = score(input)
    return selectByScore(input, length, { length: length.values })
  },
})

function score({ rows, signals }: Pick<SelectionInput<unknown>, 'rows' | 'signals'>): RowScore<Float32Array> {
  const values = columnOf(requireSignal(signals, 'lengths', rows), 0)
  return {
    name: 'length',
    unit: 'tokens',
    taken: 'highest',
    values,
    candidates: Uint8Array.from(values, (length) => (length > 0 ? 1 : 0)),
    barred: 'no token of it is trained within the longest length',
  }
}
