/** Near duplicates by their vectors: passed over in a pick where asked for, and counted in a finished one. */

import { readFile } from 'node:fs/promises'
import type { ResolvedBudget } from '../methods/budget.ts'
import { distinctCandidates } from '../methods/candidates.ts'
import type { SignalNeed } from '../methods/method.ts'
import { workerThreads } from '../parallel/threads.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { keepDistinct } from '../similarity/near-pairs.ts'
import { NO_ROW } from '../similarity/neighbours.ts'
import { type Context, notify, perform } from './context.ts'
import type { Copies } from './copies.ts'
import { drawRows } from './domains.ts'
import type { ResolvedOptions } from './options.ts'
import { gatherVectors, type VectorFiles } from './vector-files.ts'

/** Rows in order of preference that are looked at for each one that the budget asks for, at first. */
const LOOKED_AT = 4
/** Cosine from which rows of a pick count as near duplicates, rows of it that are compared, and the share from which the user is told. */
const NEAR = 0.95
const COMPARED = 20_000
const MANY = 0.2

interface Walk {
  need: Extract<SignalNeed, { signal: 'distinct' }>
  potential: Signal
  candidate: Signal
  vectors: VectorFiles
  hash: string
  copies?: Copies
  budget: ResolvedBudget
  tokens: ArrayLike<number>
}

/** The `distinct` signal [N]: walks the candidates in order of preference and keeps those that are near to no kept one. */
export async function walkDistinct(
  context: Context<ResolvedOptions>,
  { need, potential, candidate, vectors, hash, copies, budget, tokens }: Walk,
): Promise<{ signal: Signal; hash: string }> {
  const { rows } = potential
  const { threshold, descending } = need
  const ordered = distinctCandidates(candidate.data, copies?.signal.data).filter((row) => tokens[row] !== 0)
  const sign = descending ? -1 : 1
  ordered.sort((a, b) => sign * (potential.data[a] - potential.data[b]) || a - b)
  const result = await perform<Json>(context, {
    name: 'distinct',
    version: 2,
    inputs: { scores: hash },
    options: { threshold, ordered: hashJson(Array.from(ordered)), budget: budget as unknown as Json },
    async execute(work, progress) {
      for (let looked = LOOKED_AT; ; looked *= 2) {
        const walked = ordered.subarray(0, walkLength(ordered, budget, tokens, looked))
        // Read in the order in which they lie in the files, laid in that of preference.
        const places = Uint32Array.from(walked.keys()).sort((a, b) => walked[a] - walked[b])
        const ascending = places.map((place) => walked[place])
        const preferred = await gatherVectors(vectors, ascending, { normalise: true, signal: context.signal, places })
        const { kept, absorbed } = await keepDistinct(preferred, {
          threshold,
          ...(budget.unit === 'rows' && { limit: budget.rows }),
          parallel: workerThreads(context.options.threads),
          signal: context.signal,
          onProgress: ({ rows: done }) => progress({ fraction: done / walked.length, done, unit: 'rows' }),
        })
        if (walked.length < ordered.length && !fills(kept, walked, budget, tokens)) continue
        const distinct = new Int32Array(rows).fill(-1)
        walked.forEach((row, i) => {
          if (absorbed[i] !== NO_ROW) distinct[row] = walked[absorbed[i]]
        })
        const passed = absorbed.reduce((total, by, i) => total + Number(by !== NO_ROW && by !== i), 0)
        const file = `signals/distinct/${work.key.slice(0, 12)}.npy`
        const output = await work.write(file, writeNpy({ shape: [rows], data: distinct }))
        return { outputs: [output], value: { kept: kept.length, passed } }
      }
    },
    summary: (value) => {
      const { passed } = value as { passed: number }
      return `${passed.toLocaleString('en')} near duplicate${passed === 1 ? '' : 's'} passed over`
    },
  })
  const { data } = readNpy(await readFile(context.run.path(result.outputs[0].path)))
  return { signal: signal('distinct', data, { rows, provenance: { hash: result.hash } }), hash: result.hash }
}

/** Of the rows in order, so many times as the budget asks for. */
function walkLength(ordered: Uint32Array, budget: ResolvedBudget, tokens: ArrayLike<number>, times: number): number {
  if (budget.unit === 'rows') return Math.min(ordered.length, times * budget.rows)
  let [count, total] = [0, 0]
  while (count < ordered.length && total < times * budget.tokens) total += tokens[ordered[count++]]
  return count
}

/** Whether the kept ones of these rows are enough. */
function fills(kept: Uint32Array, walked: Uint32Array, budget: ResolvedBudget, tokens: ArrayLike<number>): boolean {
  if (budget.unit === 'rows') return kept.length >= budget.rows
  return kept.reduce((total, i) => total + tokens[walked[i]], 0) >= budget.tokens
}

interface Compared {
  selected: Uint32Array
  /** Of the selection. */
  hash: string
  vectors: VectorFiles
  /** Of a random pair of unit vectors. */
  cost?: { mean: number; deviation: number }
}

/** Tells the user where many of the picked rows say nearly the same. Undefined where the embedding cannot tell. */
export async function tellOfNearDuplicates(
  context: Context<ResolvedOptions>,
  { selected, hash, vectors, cost }: Compared,
): Promise<{ near: number; compared: number } | undefined> {
  // Where rows at random are near duplicates by this measure, it measures nothing.
  if (cost !== undefined && cost.mean - 2 * cost.deviation < 2 * (1 - NEAR)) {
    notify(context, {
      code: 'alike-vectors',
      message: `in this embedding most rows have a cosine near ${NEAR}: near duplicates cannot be told by it`,
    })
    return undefined
  }

  const compared = drawRows(selected, COMPARED, context.options.seed, 'near duplicates')
  const result = await perform<Json>(context, {
    name: 'near',
    version: 1,
    inputs: { selection: hash },
    options: { threshold: NEAR, compared: COMPARED },
    async execute(_, progress) {
      const rows = await gatherVectors(vectors, compared, { normalise: true, signal: context.signal })
      const { kept } = await keepDistinct(rows, {
        threshold: NEAR,
        parallel: workerThreads(context.options.threads),
        signal: context.signal,
        onProgress: ({ rows: done }) => progress({ fraction: done / compared.length, done, unit: 'rows' }),
      })
      return { outputs: [], value: { compared: compared.length, near: compared.length - kept.length } }
    },
    summary: (value) => {
      const { compared: all, near } = value as { compared: number; near: number }
      return `${near.toLocaleString('en')} of ${all.toLocaleString('en')} picked rows are near another`
    },
  })
  const { compared: all, near } = result.value as { compared: number; near: number }
  await context.run.update({ counts: { nearDuplicates: near, nearCompared: all } })
  if (near >= MANY * all)
    notify(context, {
      code: 'near-duplicates',
      message: `${((100 * near) / all).toFixed(0)} % of ${all < selected.length ? `${all.toLocaleString('en')} picked rows that were compared` : 'the picked rows'} are near duplicates of others (cosine of ${NEAR} or more); --duplicates near passes over them`,
      rows: near,
    })
  return { near, compared: all }
}
