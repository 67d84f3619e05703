/** The random baseline that gives small sources as much as large ones. */

import { z } from 'zod'
import { drawBySource } from './by-source.ts'
import { defineMethod, tokensNeed } from './method.ts'

/**
 * Rows drawn uniformly over `source`, METHODS 3: each source gets an equal share of the budget; one that has fewer rows is taken whole, and what it
 * leaves goes to the others (`drawBySource`, as in `all-domains`, with random streams of its own).
 *
 * With one seed a smaller budget in rows selects a subset of a larger one. Column: `weight`, rows / selected of the source for selected rows
 * and 0 for others. O(N + D log D).
 */
export const randomBalanced = defineMethod({
  name: 'random-balanced',
  title: 'Random, balanced over sources',
  summary: 'Rows drawn uniformly over the sources, as many from a small one as from a large one.',
  options: z.object({}),
  needs: (_, unit) => [{ signal: 'source' }, ...tokensNeed(unit)],
  select: (input) => drawBySource(input, 'random-balanced draw'),
})
