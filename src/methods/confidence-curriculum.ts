/** A curriculum by confidence: at each stage of training the rows that the proxy was then surest of. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import { checkpointsOption } from './checkpoint.ts'
import { defineMethod, tokensNeed } from './method.ts'
import { countTokens } from './ordered.ts'
import { columnOf, rankRows, unscored } from './ranking.ts'

/**
 * METHODS 3, a baseline of S2L's paper after Varshney et al. 2022: rows in the order of decreasing confidence as training goes. Confidence is
 * that of `least-confidence`. Neither names a rule for a budget; ours: there are T stages, one for each checkpoint; at stage t each row that was
 * not taken yet is ranked by its confidence at checkpoint t, and the surest are taken. The budget is split equally over the stages, what is
 * left over going to the last ones: after stage t floor(B t / T) rows are taken, or as many tokens.
 *
 * The selection is a schedule too: `order`, from 0, is the place of each selected row in training (by stage, inside it by decreasing
 * confidence), -1 of others, and the run's schedule.jsonl lists the rows in it. Column `stage`: from 1, 0 of rows that were not selected.
 * Column `confidence`: at the row's stage, of rows that were not selected at the last.
 *
 * Ties by row, no randomness. Other than with scores, a smaller budget need not select a subset of a larger one. O(T N log N).
 */
export const confidenceCurriculum = defineMethod({
  name: 'confidence-curriculum',
  title: 'Confidence curriculum',
  summary: 'At each stage of training the rows that the proxy was then surest of, as a pick and as a schedule.',
  reference: {
    title: 'Let the Model Decide its Curriculum for Multitask Learning',
    authors: 'Neeraj Varshney, Swaroop Mishra, Chitta Baral',
    venue: 'DeepLo 2022',
    url: 'https://arxiv.org/abs/2205.09898',
  },
  options: z.object({ checkpoints: checkpointsOption() }),
  needs: ({ checkpoints }, unit) => [...tokensNeed(unit), { signal: 'confidence', checkpoints }],
  select: (input) => {
    const { rows, budget, signals } = input
    const signal = requireSignal(signals, 'confidence', rows)
    const stages = signal.columns
    const schedule: number[] = []
    const stage = new Int32Array(rows)
    const order = new Int32Array(rows).fill(-1)
    const confidence = columnOf(signal, stages - 1)
    const tokens = budget.unit === 'tokens' ? requireSignal(signals, 'tokens', rows).data : undefined
    let spent = 0
    for (let t = 1; t <= stages; t++) {
      const values = columnOf(signal, t - 1)
      const ranked = rankRows(input, { values, taken: 'highest' }).filter((row) => stage[row] === 0)
      const most = budget.unit === 'tokens' ? budget.tokens : budget.rows
      const room = Math.floor((most * t) / stages) - spent
      const taken = tokens === undefined ? ranked.slice(0, room) : inOrder(ranked, drawTokens([ranked], tokens, room))
      for (const row of taken) {
        stage[row] = t
        order[row] = schedule.length
        confidence[row] = values[row]
        schedule.push(row)
        spent += tokens === undefined ? 1 : tokens[row]
      }
    }
    const selected = Uint32Array.from(schedule).sort()
    const usable = rankRows(input, { values: columnOf(signal, stages - 1), taken: 'highest' }).length
    const counts = new Uint32Array(stages + 1)
    for (const row of selected) counts[stage[row]]++
    return {
      selected,
      schedule: Uint32Array.from(schedule),
      columns: { stage, order, confidence },
      groups: Array.from({ length: stages }, (_, t) => ({
        id: t,
        label: signal.columnNames?.[t] ?? `stage ${t + 1}`,
        rows: usable,
        selected: counts[t + 1],
      })),
      ...countTokens(selected, input),
      notices: [...unscored(input, columnOf(signal, stages - 1)), ...underFilled(budget, selected.length)],
    }
  },
})

/** The rows of `drawn` in the order of `ranked`. */
function inOrder(ranked: Uint32Array, drawn: Uint32Array): Uint32Array {
  const set = new Set(drawn)
  return ranked.filter((row) => set.has(row))
}
