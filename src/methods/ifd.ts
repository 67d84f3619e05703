/** IFD: how much the instruction helps a model to foresee the response. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { atStart, type Checkpoint, checkpointColumn, checkpointOption, checkpointsOption } from './checkpoint.ts'
import { defineMethod, type RowScore, type SelectionInput, tokensNeed } from './method.ts'
import { columnOf, rankRows, selectRanked } from './ranking.ts'

const options = z.object({ checkpoint: checkpointOption(), checkpoints: checkpointsOption() })
type Options = z.output<typeof options>

/**
 * Instruction-following difficulty with a small model (Superfiltering, Li et al. 2024): for a response y to a prompt x
 *
 *     IFD = ppl(y | x) / ppl(y) = exp(nll(y | x) - nll(y))
 *
 * Rows of 1 or more, whose prompt does not help, are left out, as by the authors; of the others the largest are taken. The `unconditional`
 * signal says how ppl(y) is read. The authors take GPT-2 as it is, so that is the default of a pretrained proxy (`start`); nano, which
 * knows nothing at its start, scores at its last checkpoint.
 *
 * A smaller budget in rows selects a subset of a larger one. Ties by row, no randomness. Rows without a response token in the window, and those
 * whose response is one token that nothing goes before, have no score. Columns: `ifd`, `nll_response` (given the prompt) and
 * `nll_unconditional`, nats a token, NaN without a score. O(N log N).
 *
 * @throws {WinnowError} `no-such-checkpoint`.
 */
export const ifd = defineMethod({
  name: 'ifd',
  title: 'Instruction-following difficulty (Superfiltering)',
  summary: 'The rows whose prompt helps a small model least to foresee the response, if it helps at all.',
  reference: {
    title: 'Superfiltering: Weak-to-Strong Data Filtering for Fast Instruction-Tuning',
    authors: 'Ming Li, Yong Zhang, Shwai He, Zhitao Li, Hongyu Zhao, Jianzong Wang, Ning Cheng, Tianyi Zhou',
    venue: 'ACL 2024',
    url: 'https://arxiv.org/abs/2402.00530',
  },
  options,
  needs: ({ checkpoint, checkpoints }, unit, { pretrained = false } = {}) => {
    const at: Checkpoint = checkpoint !== 'auto' ? checkpoint : pretrained ? 'start' : 'late'
    return [
      ...tokensNeed(unit),
      atStart({ checkpoint: at, checkpoints }) ? { signal: 'initial' } : { signal: 'trajectories', checkpoints },
      { signal: 'unconditional', checkpoint: at, checkpoints },
    ]
  },
  score: (input) => difficulty(input).score,
  select: (input) => {
    const { given, alone, score } = difficulty(input)
    const columns = { ifd: score.values, nll_response: given, nll_unconditional: alone }
    const selection = selectRanked(input, rankRows(input, score), { columns, score: score.values })
    const unhelped = score.values.reduce((count, value) => count + (value >= 1 ? 1 : 0), 0)
    if (unhelped > 0)
      selection.notices.unshift({
        code: 'unhelpful-prompt',
        message: `${unhelped === 1 ? 'a row was left out, whose prompt makes its response' : `${unhelped} rows were left out, whose prompts make their responses`} no likelier (IFD of 1 or more)`,
        rows: unhelped,
      })
    return selection
  },
})

function difficulty({ rows, signals, options }: Omit<SelectionInput<Options>, 'budget' | 'seed'>) {
  const alone = columnOf(requireSignal(signals, 'unconditional', rows), 0)
  // `auto` is what was computed for it.
  const start = options.checkpoint === 'start' || (options.checkpoint === 'auto' && signals.trajectories === undefined)
  const signal = requireSignal(signals, start ? 'initial' : 'trajectories', rows)
  const given = columnOf(signal, start ? 0 : checkpointColumn(options.checkpoint, signal.columns))
  // A ratio beyond float64 is a score like others above 1, and no missing one.
  const values = Float64Array.from(given, (nll, row) => Math.min(Math.exp(nll - alone[row]), Number.MAX_VALUE))
  const score: RowScore<Float64Array> = {
    name: 'instruction-following difficulty',
    taken: 'highest',
    values,
    candidates: Uint8Array.from(values, (value) => (value >= 1 ? 0 : 1)),
    barred: 'its prompt makes its response no likelier',
  }
  return { given, alone, score }
}
