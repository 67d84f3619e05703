/** Options that methods with a transport problem share. */

import { z } from 'zod'

const count = () => z.coerce.number().int().min(1)
const positive = () => z.coerce.number().positive().finite()

export const epsilon = z
  .union([z.literal('auto'), positive()])
  .default('auto')
  .describe('Entropic regularisation in units of the cost; auto is 0.05 of its standard deviation')

export const cost = z
  .enum(['normalised', 'paper'])
  .default('normalised')
  .describe("Squared distance of unit vectors, or (paper) of the embedding's vectors as they come")

export const domainSample = count()
  .default(10_000)
  .describe('Rows of each source that its distance to the target is taken from')

export const transportOptions = {
  sample: count().default(20_000).describe('Candidates that the transport problem is solved on; every row is scored'),
  epsilon,
  relaxation: z
    .union([z.literal('auto'), z.coerce.number().gt(0).lt(2)])
    .default('auto')
    .describe(
      'Relaxation w of the iteration; auto follows the rate of convergence, to the same end in fewer iterations',
    ),
  threshold: positive().default(1e-3).describe('Marginal error (L1) at which the iteration may stop'),
  maxIterations: count().default(2000).describe('Iterations of the transport problem, at most'),
  unbalanced: z
    .union([z.literal('none'), positive()])
    .default('none')
    .describe('Let the marginals give way, at this penalty in units of the cost'),
}
