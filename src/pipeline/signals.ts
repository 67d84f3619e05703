/** Computes the signals that a method declares, each as a cached stage. */

import { readFile } from 'node:fs/promises'
import { kmeans } from '../clustering/kmeans.ts'
import type { Dataset } from '../dataset/dataset.ts'
import { WinnowError } from '../errors.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import type { SignalNeed } from '../methods/method.ts'
import { workerThreads } from '../parallel/threads.ts'
import type { Json } from '../runs/hash.ts'
import { clusterRows, evenColumns, takeColumns } from '../signals/clusters.ts'
import { readNpy, signalToNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type Context, perform } from './context.ts'
import type { OpenedEmbedder } from './embedder.ts'
import type { Imported } from './imported.ts'
import type { LossFiles } from './loss-files.ts'
import type { ResolvedOptions } from './options.ts'
import { computeOverPool, embedPoolAlone, type OverPool } from './over-pool.ts'
import type { Pool, Tokens } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { computeProxySignal, isProxyNeed } from './proxy-signals.ts'
import type { Target } from './target.ts'
import { computeTowardTarget, type TowardTarget } from './toward-target.ts'
import type { Trajectories } from './trajectories.ts'

export interface ComputedSignals {
  signals: Record<string, Signal>
  /** Content hash of each, for the key of what reads them. */
  hashes: Record<string, string>
  trajectories?: Trajectories
  /** In the place of `trajectories` where scores were imported: the first of them. */
  imported?: Imported
  /** Tokens of the pool, rows cut at the longest length. */
  poolTokens: number
  /** Where the method picks toward a target. */
  toward?: TowardTarget
  /** Where it reads vectors of the pool and no target. */
  over?: OverPool
}

/** What signals are computed from. */
export interface SignalSources {
  dataset: Dataset
  pool: Pool
  tokens: Tokens
  perRow: TokenSignal
  /** Of the proxy's scores, those that are read from files. */
  scores: { readonly [name: string]: LossFiles | undefined }
  pretrained?: Pretrained
  encoder?: OpenedEmbedder
  target?: Target
  budget: ResolvedBudget
}

export interface TokenSignal {
  signal: Signal
  /** Tokens of the pool. */
  total: number
  /** Tokens of its shortest row. */
  shortest: number
}

/** Tokens of the shortest row that has any. */
export const shortestRow = (lengths: Uint32Array, maxLength: number): number =>
  lengths.reduce((least, length) => (length === 0 ? least : Math.min(least, length)), maxLength)

/** Tokens of each row as training sees it: cut at the longest length. */
export function tokenSignal({ store }: Tokens, maxLength: number): TokenSignal {
  const lengths = store.lengths.map((length) => Math.min(length, maxLength))
  const total = lengths.reduce((sum, length) => sum + length, 0)
  const shortest = shortestRow(lengths, maxLength)
  return { signal: signal('tokens', lengths, { provenance: { maxLength } }), total, shortest }
}

/**
 * Refuses, before anything is trained, what the pool cannot give.
 *
 * @throws {WinnowError} `no-source`, `too-many-clusters`.
 */
export function checkNeeds(
  method: string,
  needs: readonly SignalNeed[],
  pool: { rows: number; sources: boolean },
): void {
  for (const need of needs) {
    if (need.signal === 'source' && !pool.sources) throw noSource(method)
    if (need.signal === 'clusters' && !need.within && typeof need.clusters === 'number' && need.clusters > pool.rows)
      throw new WinnowError('usage', {
        code: 'too-many-clusters',
        message: 'there are fewer rows than clusters',
        path: '--clusters',
        found: String(need.clusters),
        expected: `at most ${pool.rows}`,
      })
  }
}

const noSource = (method: string): WinnowError =>
  new WinnowError('usage', {
    code: 'no-source',
    message: `method ${method} was asked to go by source, and no row of the pool names one`,
    expected: 'a field `source` or `domain`',
    hint: 'Name the field with --fields source=<field>.',
  })

export async function computeSignals(
  context: Context<ResolvedOptions>,
  needs: readonly SignalNeed[],
  sources: SignalSources,
): Promise<ComputedSignals> {
  const { pool, tokens, perRow } = sources
  const computed: ComputedSignals = {
    signals: { tokens: perRow.signal },
    poolTokens: perRow.total,
    hashes: { tokens: tokens.hash },
  }
  for (const need of needs) {
    if (isProxyNeed(need)) {
      await computeProxySignal(context, need, computed, sources)
      continue
    }
    switch (need.signal) {
      case 'tokens':
        break
      case 'source':
        computed.signals.source = pool.source as Signal
        computed.hashes.source = pool.hash
        break
      case 'clusters':
        computed.signals.clusters = await clusterPool(context, need, computed)
        computed.hashes.clusters = (computed.signals.clusters.provenance.hash as string) ?? ''
        break
      case 'coverage':
      case 'spread':
      case 'redundancy':
        await computeOverPool(context, need, computed, sources)
        break
      case 'embeddings':
        if (need.only === 'pool') await embedPoolAlone(context, need, computed, sources)
        else await computeTowardTarget(context, need, computed, sources)
        break
      default:
        await computeTowardTarget(context, need, computed, sources)
    }
  }
  return computed
}

type ClusterNeed = Extract<SignalNeed, { signal: 'clusters' }>

async function clusterPool(context: Context, need: ClusterNeed, { signals, hashes }: ComputedSignals): Promise<Signal> {
  const { run, options } = context
  const matrix = signals[need.of]
  const { clusters, normalise, restarts, iterations, columns, within } = need
  const inputs: Record<string, string> = { [need.of]: hashes[need.of] }
  if (within) inputs[within] = hashes[within]
  const result = await perform<Json>(context, {
    name: 'clusters',
    version: 1,
    inputs,
    options: { clusters, normalise, restarts, iterations, columns, within: within ?? null, seed: options.seed },
    async execute(work, progress) {
      const points = takeColumns(matrix, evenColumns(matrix.columns, columns))
      const found = await clusterRows(
        points,
        { clusters, normalise, restarts, iterations, seed: options.seed },
        (rows, asked) =>
          kmeans(rows, {
            ...asked,
            // Threads cost more than they save on few points; the result is the same bits either way.
            parallel: rows.n * asked.k > 1e6 ? workerThreads(options.threads) : undefined,
            signal: context.signal,
            onProgress: ({ restart, restarts: all, iteration, iterations: most }) =>
              progress({
                fraction: (restart + iteration / most) / all,
                detail: `restart ${restart + 1} of ${all}, iteration ${iteration}`,
              }),
          }),
        within ? signals[within] : undefined,
      )
      const outputs = [
        await work.write('signals/clusters.npy', signalToNpy(found.signal)),
        await work.write('signals/centroids.npy', signalToNpy(found.centroids)),
      ]
      return {
        outputs,
        value: { clusters: found.sizes.length, quarantined: found.quarantined, inertia: found.inertia },
      }
    },
    summary: (value) => `${(value as { clusters: number }).clusters} clusters`,
  })
  const {
    clusters: count,
    quarantined,
    inertia,
  } = result.value as { clusters: number; quarantined: number; inertia: number }
  await run.update({ counts: { clusters: count, quarantined } })
  const { data } = readNpy(await readFile(run.path('signals/clusters.npy')))
  return signal('clusters', data, { provenance: { clusters: count, quarantined, inertia, hash: result.hash } })
}
