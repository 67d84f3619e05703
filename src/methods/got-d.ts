/** GOT-D: the candidates whose mass most pulls the pool toward a target. */

import { z } from 'zod'
import { requireSignal } from '../signals/signal.ts'
import { calibratedGradient } from '../transport/gradient.ts'
import { distinctCandidates } from './candidates.ts'
import { domainDistances, domainGroups } from './domains.ts'
import { defineMethod, type Notice, type SelectionInput } from './method.ts'
import { countTokens, takeInOrder, usableRows } from './ordered.ts'
import { cost, domainSample, transportOptions } from './transport-options.ts'

/** Share of the pool below which a pick by gradient is mostly outliers of the embedding. */
const SMALL_BUDGET = 1e-3
/** Where between the target's own neighbourhood (0) and an unrelated pairing (1) the nearest rows of the pool are called far. */
const FAR = 0.15

const options = z.object({
  contrast: z
    .boolean()
    .default(false)
    .describe('The target is what to move away from: take the rows that pull least toward it'),
  domains: z
    .union([z.literal('auto'), z.literal('all'), z.coerce.number().int().min(1)])
    .default('auto')
    .describe(
      'Sources to pick from, the nearest to the target; auto is 2, more where they hold less than twice the budget, and all with --contrast',
    ),
  domainSample,
  cost,
  ...transportOptions,
  duplicates: z
    .enum(['collapse', 'near', 'keep'])
    .default('collapse')
    .describe(
      'collapse: rows with equal texts count as one and the first may be picked; near: near duplicates of a picked row are passed over too; keep: neither',
    ),
  nearThreshold: z.coerce.number().gt(0).lt(1).default(0.95).describe('Cosine from which two rows are near duplicates'),
})

type Options = z.output<typeof options>

/**
 * Gradients of optimal transport (Kang et al., ICLR 2024), METHODS 2. One entropic transport problem between the target and a sample of the
 * candidates gives every row x a potential g(x) (the `potential` signal); its calibrated gradient (LAVA, Just et al., ICLR 2023)
 *
 *     cg_j = g_j - (1 / (n - 1)) sum_{l != j} g_l
 *
 * over the n candidates is the rate at which the transport cost changes when mass moves onto row j from all others. The budget is filled with
 * the lowest gradients, ties by row; `contrast` takes the highest. Only rows of sources near the target are candidates (domain test). What
 * sets this apart from nearest neighbours: it passes over what the pool already has enough of.
 *
 * A smaller budget selects a subset of a larger one, as long as both keep the same sources. Gradients of different runs have different
 * constants and must not be merged.
 *
 * Columns: `gradient`, `potential`, `nearest_target` (target row of least cost), `nearest_cost`, `candidate` (1: could be picked, at a larger budget),
 * `domain_distance`, `first_copy` (the first row with the same text) and, with --duplicates near, `near_to` (-1: not looked at). The seed
 * decides the sample; the choice itself draws nothing. O(N log N).
 */
export const gotD = defineMethod({
  name: 'got-d',
  title: 'Gradients of optimal transport',
  summary: 'The rows whose added mass most lowers the transport cost between the pool and a target set.',
  reference: {
    title: 'Get more for less: Principled Data Selection for Warming Up Fine-Tuning in LLMs',
    authors:
      'Feiyang Kang, Hoang Anh Just, Yifan Sun, Himanshu Jahagirdar, Yuanzhi Zhang, Rongxing Du, Anit Kumar Sahu, Ruoxi Jia',
    venue: 'ICLR 2024',
    url: 'https://arxiv.org/abs/2405.02774',
  },
  options,
  needs: ({ contrast, domains, domainSample, cost, duplicates, nearThreshold, ...choices }, unit) => {
    const collapse = duplicates !== 'keep'
    const kept = domains === 'auto' && contrast ? 'all' : domains
    const { sample, epsilon, relaxation, threshold, maxIterations, unbalanced } = choices
    return [
      ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
      { signal: 'embeddings', normalise: cost !== 'paper' },
      ...(collapse ? [{ signal: 'copies' } as const] : []),
      { signal: 'distance', of: 'embeddings', sample: domainSample, epsilon },
      {
        signal: 'potential',
        of: 'embeddings',
        domains: kept,
        collapse,
        ...{ sample, epsilon, relaxation, threshold, iterations: maxIterations, unbalanced },
      },
      ...(duplicates === 'near'
        ? [
            {
              signal: 'distinct',
              of: 'embeddings',
              by: 'potential',
              descending: contrast,
              threshold: nearThreshold,
              collapse,
            } as const,
          ]
        : []),
    ]
  },
  select: (input: SelectionInput<Options>) => {
    const { rows, signals, options } = input
    const { potential, gradient, pickable, candidates } = scoresOf(input)
    const ordered = usableRows(input).filter((row) => pickable[row] !== 0)
    const sign = options.contrast ? -1 : 1
    ordered.sort((a, b) => sign * (potential[a] - potential[b]) || a - b)
    const selected = takeInOrder(ordered, input)
    const { copies, distinct } = signals
    const distance = requireSignal(signals, 'distance', rows)
    return {
      selected,
      columns: {
        gradient,
        potential,
        nearest_target: requireSignal(signals, 'nearest', rows).data as Uint32Array,
        nearest_cost: requireSignal(signals, 'nearest_cost', rows).data as Float32Array,
        candidate: candidates,
        domain_distance: distance.data as Float64Array,
        ...(copies && { first_copy: copies.data as Uint32Array }),
        ...(distinct && { near_to: distinct.data as Int32Array }),
      },
      groups: domainGroups(domainDistances(distance, signals.source), signals.source, selected),
      ...countTokens(selected, input),
      notices: [...warnings(input, selected.length), ...whyFewer(input, selected, ordered.length)],
    }
  },
})

/**
 * What rows are ranked by. `gradient` [N] is relative to the mass that moves: the candidates, each text once where copies are collapsed.
 * `pickable` [N]: 1 for candidates that repeat no other row; `candidates` [N]: those, and with --duplicates near those that the walk did not
 * come to.
 */
export function scoresOf({ rows, signals }: Pick<SelectionInput<unknown>, 'rows' | 'signals'>): {
  potential: Float64Array
  gradient: Float64Array
  pickable: Uint8Array
  candidates: Uint8Array
} {
  const potential = requireSignal(signals, 'potential', rows).data as Float64Array
  const candidate = requireSignal(signals, 'candidate', rows).data
  const { copies, distinct } = signals
  const mass = distinctCandidates(candidate, copies?.data)
  const pickable = new Uint8Array(rows)
  const candidates = new Uint8Array(rows)
  for (const row of mass) {
    const preferred = distinct?.data[row] ?? row
    pickable[row] = Number(preferred === row)
    candidates[row] = Number(preferred === row || preferred === -1)
  }
  return { potential, gradient: calibratedGradient(potential, mass), pickable, candidates }
}

/** Where the rows that may be picked do not fill the budget: how many, and what kept the others out. */
function whyFewer(
  { rows, budget, signals }: SelectionInput<Options>,
  selected: Uint32Array,
  pickable: number,
): Notice[] {
  const { copies, distinct } = signals
  const filled =
    budget.unit === 'rows'
      ? selected.length >= budget.rows
      : selected.length < pickable || (countTokens(selected, { signals }).tokens ?? 0) >= budget.tokens
  if (filled) return []
  const potential = requireSignal(signals, 'potential', rows).data as Float64Array
  const candidate = requireSignal(signals, 'candidate', rows).data as Uint8Array
  const preferences = distinct?.data as Int32Array | undefined
  const mass = distinctCandidates(candidate, copies?.data).length
  const [none, outside] = [
    potential.reduce((n, g) => n + Number(Number.isNaN(g)), 0),
    candidate.reduce((n, c) => n - c, rows),
  ]
  const near = preferences?.reduce((n, preferred, row) => n + Number(preferred >= 0 && preferred !== row), 0) ?? 0
  const reasons = [
    [outside - none, 'are of sources that were not kept (--domains all keeps them)'],
    [rows - outside - mass, 'repeat an earlier text (--duplicates keep takes them)'],
    [near, 'are near a preferred row (--near-threshold)'],
    [none, 'have no vector'],
  ] as const
  const others = reasons.filter(([count]) => count > 0).map(([count, why]) => `${count.toLocaleString('en')} ${why}`)
  const asked = budget.unit === 'rows' ? `${budget.rows} rows` : `${budget.tokens} tokens`
  return [
    {
      code: 'under-filled',
      message: `only ${selected.length} rows could be selected; the budget is ${asked}${others.length === 0 ? '' : `: ${others.join(', ')}`}`,
      ...(budget.unit === 'rows' && { rows: budget.rows - selected.length }),
    },
  ]
}

function warnings({ rows, signals, options }: SelectionInput<Options>, selected: number): Notice[] {
  const notices: Notice[] = []
  if (selected < SMALL_BUDGET * rows)
    notices.push({
      code: 'small-budget',
      message: `${selected} rows are under 0.1 % of the pool: at such a budget the lowest gradients are often outliers; read some of the pick before training on it`,
    })
  // An unrelated pairing is 1, the target's own neighbourhood 0.
  const { near, own, unrelated } = requireSignal(signals, 'distance', rows).provenance as Record<string, number | null>
  if (options.contrast || near === null || own === null || unrelated === null || !(unrelated > own)) return notices
  const place = (near - own) / (unrelated - own)
  if (place > FAR)
    notices.push({
      code: 'far-target',
      message: `nothing in the pool is near the target: between the cost from a target row to another (${own.toPrecision(3)}) and to a row at random (${unrelated.toPrecision(3)}), the nearest row of the pool is at ${near.toPrecision(3)}; the pick may not help`,
    })
  return notices
}
