/** S2L: a balanced draw over clusters of loss trajectories. */

import { z } from 'zod'
import { WinnowError } from '../errors.ts'
import { randomStream, sample } from '../random/philox.ts'
import { NO_CLUSTER } from '../signals/clusters.ts'
import { requireSignal } from '../signals/signal.ts'
import { allocate, drawTokens } from './allocation.ts'
import { underFilled } from './budget.ts'
import { checkpointsOption } from './checkpoint.ts'
import { defineMethod, type Notice, type SelectionGroup, type SelectionInput } from './method.ts'

const count = () => z.coerce.number().int().min(1)

const options = z.object({
  clusters: z
    .union([z.literal('auto'), count()])
    .default('auto')
    .describe('Clusters K; auto is 100 for pools of 10,000 rows or more, else floor(sqrt(rows))'),
  checkpoints: checkpointsOption(),
  stratify: z
    .enum(['none', 'source'])
    .default('none')
    .describe("source: split the budget equally over sources first, with K clusters in each (the authors' code)"),
  normalise: z
    .enum(['none', 'standard'])
    .default('none')
    .describe('none: raw losses, as in the paper; standard: each checkpoint to mean 0 and deviation 1'),
  restarts: count().default(3).describe('Times that k-means is started; the start with the lowest inertia is kept'),
  iterations: count().default(20).describe('Lloyd iterations of each start'),
  unscored: z
    .enum(['exclude', 'cluster'])
    .default('exclude')
    .describe('Rows without a loss (the prompt fills the window): never select them, or draw from them as one cluster'),
})

type Options = z.output<typeof options>

/**
 * SmallToLarge (Yang et al., NeurIPS 2024), METHODS 1. An example's feature is its vector of losses at T checkpoints of
 * a small proxy's training; rows are clustered on it (the `clusters` signal); the budget B is shared over clusters of
 * ascending size, quota_k = floor((B - |S|) / (K - k + 1)), and each cluster draws its quota uniformly without
 * replacement, from a random stream of its own.
 *
 * With equal clusters and seed a smaller budget in rows selects a subset of a larger one. Budgets in tokens: see
 * `drawTokens`.
 *
 * Columns: `cluster` (-1: no loss, quarantined) and `weight`, |C_k| / selected of C_k for selected rows and 0 for
 * others. With a budget in rows it makes the weighted sum over the selection an unbiased estimate of the sum over the
 * clusters drawn from; a budget in tokens favours short rows a little, so there it does not.
 *
 * O(N + K log K).
 */
export const s2l = defineMethod({
  name: 's2l',
  title: 'SmallToLarge',
  summary: 'An equal share from each cluster of rows whose losses fall alike while a small proxy trains on the pool.',
  reference: {
    title:
      'SmallToLarge (S2L): Scalable Data Selection for Fine-tuning Large Language Models by Summarizing Training Trajectories of Small Models',
    authors: 'Yu Yang, Siddhartha Mishra, Jeffrey Chiang, Baharan Mirzasoleiman',
    venue: 'NeurIPS 2024',
    url: 'https://arxiv.org/abs/2403.07384',
  },
  options,
  needs: ({ clusters, checkpoints, stratify, normalise, restarts, iterations }, unit) => {
    const within = stratify === 'source' ? 'source' : undefined
    return [
      { signal: 'trajectories', checkpoints },
      ...(within ? [{ signal: 'source' } as const] : []),
      ...(unit === 'tokens' ? [{ signal: 'tokens' } as const] : []),
      {
        signal: 'clusters',
        of: 'trajectories',
        columns: checkpoints,
        clusters,
        normalise,
        restarts,
        iterations,
        ...(within ? { within } : {}),
      },
    ]
  },
  select: (input: SelectionInput<Options>) => {
    const { rows, budget, signals, options, seed } = input
    const clusters = clustersOf(input)
    // A longer draw of one cluster begins with the shorter one.
    const draw = ({ id, rows: members }: Cluster, count: number) =>
      sample(members, count, randomStream(seed, 's2l draw', id))
    const strata = strataOf(clusters, options.stratify === 'source')

    let drawn: Uint32Array[]
    if (budget.unit === 'rows') {
      const sizeOf = (stratum: number[]) => stratum.reduce((total, index) => total + clusters[index].rows.length, 0)
      const shares = allocate(strata.map(sizeOf), budget.rows)
      drawn = strata.flatMap((stratum, s) => {
        const taken = allocate(
          stratum.map((index) => clusters[index].rows.length),
          shares[s],
        )
        return stratum.map((index, k) => draw(clusters[index], taken[k]))
      })
    } else {
      const tokens = requireSignal(signals, 'tokens', rows).data
      const groups = strata.map((stratum) => stratum.map((index) => draw(clusters[index], clusters[index].rows.length)))
      drawn = [drawTokens(groups.length === 1 ? groups[0] : groups, tokens, budget.tokens)]
    }
    return describe(input, clusters, concatenate(drawn).sort())
  },
})

interface Cluster {
  id: number
  /** Ascending. */
  rows: Uint32Array
  label?: string
}

/**
 * The clusters that rows may be drawn from, by id: those without rows left out, quarantined rows last if asked for.
 *
 * @throws {WinnowError} `cluster-across-sources` for clusters that were not made inside each source.
 */
function clustersOf({ rows, signals, options }: SelectionInput<Options>): Cluster[] {
  const assignment = requireSignal(signals, 'clusters', rows).data
  const source = options.stratify === 'source' ? requireSignal(signals, 'source', rows) : undefined
  const members = new Map<number, number[]>()
  const tokens = signals.tokens?.data
  for (let row = 0; row < rows; row++) {
    // Nothing to train on: a chat template refused the row.
    if (tokens?.[row] === 0) continue
    const list = members.get(assignment[row])
    if (list === undefined) members.set(assignment[row], [row])
    else {
      if (source && assignment[row] !== NO_CLUSTER && source.data[row] !== source.data[list[0]])
        throw new WinnowError('input', {
          code: 'cluster-across-sources',
          message: `cluster ${assignment[row]} has rows of several sources`,
          found: `rows ${list[0]} and ${row}`,
          hint: 'With --stratify source clusters are made inside each source: give clusters that were.',
        })
      list.push(row)
    }
  }
  if (options.unscored === 'exclude') members.delete(NO_CLUSTER)
  return [...members]
    .sort(([a], [b]) => a - b)
    .map(([id, list]) => {
      const label = id === NO_CLUSTER ? undefined : source?.labels?.[source.data[list[0]]]
      return { id, rows: Uint32Array.from(list), label }
    })
}

/** Clusters (as indices) by source; quarantined rows, of all sources, are a stratum of their own. */
function strataOf(clusters: Cluster[], bySource: boolean): number[][] {
  if (!bySource) return [clusters.map((_, index) => index)]
  const strata = new Map<string | undefined, number[]>()
  clusters.forEach(({ label }, index) => {
    const stratum = strata.get(label)
    if (stratum === undefined) strata.set(label, [index])
    else stratum.push(index)
  })
  return [...strata.values()]
}

function concatenate(parts: Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((total, part) => total + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function describe(input: SelectionInput<Options>, clusters: Cluster[], selected: Uint32Array) {
  const { rows, budget, signals, options } = input
  const assignment = requireSignal(signals, 'clusters', rows).data
  const cluster = Int32Array.from(assignment, (id) => (id === NO_CLUSTER ? -1 : id))
  const takenOf = new Map<number, number>()
  for (const row of selected) takenOf.set(assignment[row], (takenOf.get(assignment[row]) ?? 0) + 1)
  const weightOf = new Map(clusters.map(({ id, rows }) => [id, rows.length / (takenOf.get(id) ?? 0)]))
  const weight = new Float64Array(rows)
  for (const row of selected) weight[row] = weightOf.get(assignment[row])!

  const groups: SelectionGroup[] = clusters.map(({ id, rows, label }) => ({
    id: id === NO_CLUSTER ? -1 : id,
    ...(label === undefined ? {} : { label }),
    rows: rows.length,
    selected: takenOf.get(id) ?? 0,
  }))
  const tokenSignal = signals.tokens?.data
  const notices: Notice[] = []
  const quarantined = cluster.reduce((total, id) => total + Number(id === -1), 0)
  if (quarantined > 0)
    notices.push({
      code: 'quarantined',
      message:
        options.unscored === 'exclude'
          ? `${quarantined} rows have no loss at some checkpoint and were not selected`
          : `${quarantined} rows have no loss at some checkpoint and were drawn from as one cluster`,
      rows: quarantined,
    })
  notices.push(...underFilled(budget, selected.length))
  return {
    selected,
    columns: { cluster, weight },
    groups,
    ...(tokenSignal && { tokens: selected.reduce((total, row) => total + tokenSignal[row], 0) }),
    notices,
  }
}
