/** Middle perplexity: neither what the proxy knows already nor what it finds strange. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { atStart, checkpointColumn, checkpointOption, checkpointsOption } from './checkpoint.ts'
import { defineMethod, type RowScore, type SelectionInput, tokensNeed } from './method.ts'
import { columnOf, rankRows, selectRanked } from './ranking.ts'

const options = z.object({ checkpoint: checkpointOption(), checkpoints: checkpointsOption() })
type Options = z.output<typeof options>

/**
 * Marion et al. 2023, METHODS 3: rows in order of perplexity, ppl = exp(mean NLL of the response tokens) under one checkpoint of the proxy; of M
 * rows the centred window of B is taken, those of rank floor((M - B) / 2) and on. With a budget in tokens the window grows from the centre
 * outwards, one row below and one above in turn, by the rule of `takeInOrder`.
 *
 * So a smaller budget in rows selects a subset of a larger one. Ties by row, no randomness. Rows without a response token in the window have no
 * score and are left out. Columns: `perplexity` (NaN without a score) and `rank`, from 0 (-1). O(N log N).
 *
 * @throws {WinnowError} `no-such-checkpoint`.
 */
export const middlePerplexity = defineMethod({
  name: 'middle-perplexity',
  title: 'Middle perplexity',
  summary: "The rows in the middle of the pool's order of perplexity under the proxy.",
  reference: {
    title: 'When Less is More: Investigating Data Pruning for Pretraining LLMs at Scale',
    authors: 'Max Marion, Ahmet Üstün, Luiza Pozzobon, Alex Wang, Marzieh Fadaee, Sara Hooker',
    venue: 'arXiv 2023',
    url: 'https://arxiv.org/abs/2309.04564',
  },
  options,
  needs: (given, unit) => [
    ...tokensNeed(unit),
    atStart(given) ? { signal: 'initial' } : { signal: 'trajectories', checkpoints: given.checkpoints },
  ],
  score,
  select: (input) => {
    const { nll, ranked, rank } = ranks(input)
    // Beyond 709 nats a perplexity is infinite, and the row has a score all the same.
    const perplexity = Float64Array.from(nll, Math.exp)
    return selectRanked(input, fromCentre(ranked), { columns: { perplexity, rank }, score: nll })
  },
})

type Scored = Omit<SelectionInput<Options>, 'budget' | 'seed'>

function ranks({ rows, signals, options }: Scored) {
  const start = atStart(options)
  const signal = requireSignal(signals, start ? 'initial' : 'trajectories', rows)
  const nll = columnOf(signal, start ? 0 : checkpointColumn(options.checkpoint, signal.columns))
  // In order of the losses: perplexities of large ones are alike, or infinite.
  const ranked = rankRows({ rows, signals }, { values: nll, taken: 'lowest' })
  const rank = new Int32Array(rows).fill(-1)
  ranked.forEach((row, place) => {
    rank[row] = place
  })
  return { nll, ranked, rank }
}

/** Rows from the centre of their order outwards: the first B of them are the centred window of B, for every B. O(M). */
export function fromCentre(ranked: Uint32Array): Uint32Array {
  const rows = ranked.length
  const ordered = new Uint32Array(rows)
  let end = Math.floor(rows / 2)
  let start = end
  for (let taken = 0; taken < rows; taken++) {
    const grown = Math.floor((rows - taken - 1) / 2) < start
    ordered[taken] = grown ? ranked[--start] : ranked[end++]
  }
  return ordered
}

/** Ranks from the middle: what the window is cut by. */
function score(input: Scored): RowScore {
  const { rank, ranked } = ranks(input)
  const middle = (ranked.length - 1) / 2
  return {
    name: 'distance from the middle',
    unit: 'ranks',
    taken: 'lowest',
    values: Float64Array.from(rank, (place) => (place < 0 ? Number.NaN : Math.abs(place - middle))),
  }
}
