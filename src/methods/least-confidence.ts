/** Least confidence: the rows that the proxy is least sure of. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { atStart, checkpointColumn, checkpointOption, checkpointsOption } from './checkpoint.ts'
import { defineMethod, type RowScore, type SelectionInput, tokensNeed } from './method.ts'
import { columnOf, selectByScore } from './ranking.ts'

const options = z.object({ checkpoint: checkpointOption(), checkpoints: checkpointsOption() })
type Options = z.output<typeof options>

/**
 * METHODS 3, a baseline of S2L's paper (Bhatt et al. 2024, who take it from active learning): a row's confidence is the mean over its response
 * tokens of the model's largest probability,
 *
 *     c_i = 1/|y_i| sum_t max_w p(w | x_i, y_i,<t)
 *
 * under one checkpoint of the proxy; the rows of lowest confidence are taken. At `start` the proxy is as it was before training.
 *
 * A smaller budget in rows selects a subset of a larger one. Ties by row, no randomness. Rows without a response token in the window have no
 * score and are left out. Column: `confidence`, in (0, 1], NaN without a score. O(N log N).
 *
 * @throws {WinnowError} `no-such-checkpoint`.
 */
export const leastConfidence = defineMethod({
  name: 'least-confidence',
  title: 'Least confidence',
  summary: 'The rows whose response tokens the proxy is least sure of.',
  reference: {
    title: 'An Experimental Design Framework for Label-Efficient Supervised Finetuning of Large Language Models',
    authors:
      'Gantavya Bhatt, Yifang Chen, Arnav M. Das, Jifan Zhang, Sang T. Truong, Stephen Mussmann, Yinglun Zhu, Jeffrey Bilmes, Simon S. Du, Kevin Jamieson, Jordan T. Ash, Robert D. Nowak',
    venue: 'Findings of ACL 2024',
    url: 'https://arxiv.org/abs/2401.06692',
  },
  options,
  needs: (given, unit) => [
    ...tokensNeed(unit),
    atStart(given) ? { signal: 'initial_confidence' } : { signal: 'confidence', checkpoints: given.checkpoints },
  ],
  score,
  select: (input) => {
    const confidence = score(input)
    return selectByScore(input, confidence, { confidence: confidence.values })
  },
})

function score({ rows, signals, options }: Omit<SelectionInput<Options>, 'budget' | 'seed'>): RowScore<Float32Array> {
  const start = atStart(options)
  const signal = requireSignal(signals, start ? 'initial_confidence' : 'confidence', rows)
  const column = start ? 0 : checkpointColumn(options.checkpoint, signal.columns)
  return { name: 'confidence', taken: 'lowest', values: columnOf(signal, column) }
}
