/** High learnability: the rows whose loss falls most in training. */

import { z } from 'zod'
import { WinnowError } from '../errors.ts'
import { requireSignal } from '../signals/signal.ts'
import { atStart, checkpointColumn, checkpointOption, checkpointsOption } from './checkpoint.ts'
import { defineMethod, type RowScore, type SelectionInput, tokensNeed } from './method.ts'
import { columnOf, selectByScore } from './ranking.ts'

const options = z.object({
  normalised: z.boolean().default(false).describe('Divide by the loss before training, as DavIR does'),
  checkpoint: checkpointOption(),
  checkpoints: checkpointsOption(),
})
type Options = z.output<typeof options>

/**
 * Zhou et al. 2023, METHODS 3: a row's learnability is its mean NLL under the proxy before training less that at a checkpoint,
 *
 *     L_i = before_i - after_i,     with `normalised` (DavIR) L_i = (before_i - after_i) / before_i
 *
 * and the rows of largest learnability are taken. nano begins from random weights, under which all rows are about equally likely; a
 * pretrained proxy tells what training adds.
 *
 * A smaller budget in rows selects a subset of a larger one. Ties by row, no randomness. Rows without a response token in the window have no
 * score and are left out. Columns: `nll_before`, `nll_after` (nats a token) and `learnability`, NaN without a score. O(N log N).
 *
 * @throws {WinnowError} `no-such-checkpoint`, also for `start`: nothing is learned there.
 */
export const highLearnability = defineMethod({
  name: 'high-learnability',
  title: 'High learnability',
  summary: 'The rows whose loss under the proxy falls most while it trains on the pool.',
  reference: {
    title: 'LoBaSS: Gauging Learnability in Supervised Fine-tuning Data',
    authors: 'Haotian Zhou, Tingkai Liu, Qianli Ma, Jianbo Yuan, Pengfei Liu, Yang You, Hongxia Yang',
    venue: 'arXiv 2023',
    url: 'https://arxiv.org/abs/2310.13008',
  },
  options,
  needs: (given, unit) => {
    if (atStart(given)) throw nothingLearned()
    return [...tokensNeed(unit), { signal: 'initial' }, { signal: 'trajectories', checkpoints: given.checkpoints }]
  },
  score: (input) => learnability(input).score,
  select: (input) => {
    const { before, after, score } = learnability(input)
    return selectByScore(input, score, { nll_before: before, nll_after: after, learnability: score.values })
  },
})

function learnability({ rows, signals, options }: Omit<SelectionInput<Options>, 'budget' | 'seed'>) {
  const before = columnOf(requireSignal(signals, 'initial', rows), 0)
  const trajectories = requireSignal(signals, 'trajectories', rows)
  const after = columnOf(trajectories, checkpointColumn(options.checkpoint, trajectories.columns))
  const values = Float64Array.from(before, (loss, row) => (loss - after[row]) / (options.normalised ? loss : 1))
  const score: RowScore<Float64Array> = {
    name: options.normalised ? 'normalised learnability' : 'learnability',
    ...(options.normalised ? {} : { unit: 'nats' }),
    taken: 'highest',
    values,
  }
  return { before, after, score }
}

const nothingLearned = () =>
  new WinnowError('usage', {
    code: 'no-such-checkpoint',
    message: 'learnability is a fall of the loss since the start, and nothing was learned there',
    path: '--checkpoint',
    found: 'start',
    expected: 'early, late, or the number of a checkpoint',
  })
