/** All domains: an equal budget for each source. */

import { z } from 'zod'
import { drawBySource } from './by-source.ts'
import { defineMethod, tokensNeed } from './method.ts'

/**
 * An equal budget for each source, drawn uniformly inside it (METHODS 3); what a small source cannot use goes to the larger ones, by the
 * rule of `allocate`, so that the budget is exact (`drawBySource`). Reads no target.
 *
 * With one seed a smaller budget in rows selects a subset of a larger one. Column: `weight`, rows / selected of the source for selected rows
 * and 0 for others. O(N + D log D).
 */
export const allDomains = defineMethod({
  name: 'all-domains',
  title: 'All domains',
  summary: 'An equal share from each source, drawn uniformly.',
  options: z.object({}),
  needs: (_, unit) => [{ signal: 'source' }, ...tokensNeed(unit)],
  select: (input) => drawBySource(input, 'all-domains draw'),
})
