/** RDS+: neighbours of the target in the proxy's own hidden states, round by round. */

import { z } from 'zod'
import { defineMethod, tokensNeed } from './method.ts'
import { selectRoundRobin } from './round-robin.ts'

/**
 * Representation-based data selection (RDS+, Ivison et al. 2025): a row's vector is the mean of the model's last hidden states, weighted by their
 * positions, h = sum_i i h_i / sum_i i; in each round every target row, in order, takes the pool row of highest cosine that nobody has
 * taken yet. It is the draw of `tapt-knn` over the embedding `proxy` (embedding/hidden-states.ts), and no other: a pretrained proxy embeds
 * as it is, nano after its training on the pool. Vectors of the same kind that were computed elsewhere can be imported.
 *
 * A smaller budget selects a subset of a larger one. No randomness. Columns: `order` (-1: not reached), `nearest_target` (the target row that
 * took it) and `similarity`. O(N log N).
 */
export const rds = defineMethod({
  name: 'rds',
  title: 'Representation-based selection (RDS+)',
  summary: "Each target row takes its nearest pool rows in the proxy's hidden states, round by round.",
  reference: {
    title: 'Large-Scale Data Selection for Instruction Tuning',
    authors: 'Hamish Ivison, Muru Zhang, Faeze Brahman, Pang Wei Koh, Pradeep Dasigi',
    venue: 'arXiv 2025',
    url: 'https://arxiv.org/abs/2503.01807',
  },
  options: z.object({}),
  needs: (_, unit) => [
    ...tokensNeed(unit),
    { signal: 'embeddings', normalise: true, embedding: 'proxy' },
    { signal: 'order', of: 'embeddings' },
  ],
  select: selectRoundRobin,
})
