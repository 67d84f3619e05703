/** What signals will cost on this machine, from the counted pool and a few tries. Writes nothing. */

import type { Dataset } from '../dataset/dataset.ts'
import type { Device } from '../engine/session.ts'
import type { SignalNeed } from '../methods/method.ts'
import { defaultClusterCount } from '../signals/clusters.ts'
import { lossFacts } from '../signals/loss-column.ts'
import type { Counted } from './counted.ts'
import { findScores, readLosses } from './loss-files.ts'
import type { ResolvedOptions } from './options.ts'
import { planProxy, scoringPasses } from './plan-proxy.ts'
import { type ComparedPlan, distinctNeeds, type PlanOf, planCompared } from './plan-vectors.ts'
import type { Pretrained } from './pretrained.ts'
import { mostCheckpoints, readsHidden } from './recording.ts'
import type { SelectPlan } from './result.ts'

/** Points that k-means assigns a second at K = 100, an iteration of one start (docs/benchmarks/kmeans.md). */
const KMEANS_POINTS = 2e6

/** What a method asks for, and the options that it asks with. */
export interface Asking {
  options: ResolvedOptions
  needs: readonly SignalNeed[]
}

export interface PlanSignalsOf {
  dataset: Dataset
  counted: Counted
  device: Device
  pretrained?: Pretrained
  signal?: AbortSignal
}

export type SignalsPlan = Pick<SelectPlan, 'proxy' | 'imported' | 'target' | 'embedding' | 'flops' | 'seconds'> & {
  diskBytes: number
}

/**
 * Adds up the signals of one or more methods of a run, each signal once; options of the proxy and imported signals are those of the first, embeddings
 * each method's own. Facts of the target and the embedding are of the first that has them.
 */
export async function planSignals(asking: readonly Asking[], of: PlanSignalsOf): Promise<SignalsPlan> {
  const { counted, dataset, device, pretrained, signal } = of
  const rows = counted.count
  const [{ options }] = asking
  const needs = asking.flatMap((one) => one.needs)
  const signals = Object.assign({}, ...asking.map((one) => one.options.signals))
  const imported = await planImport({ ...options, signals }, rows, signal)
  const hidden = asking.some((one) => one.needs.some((need) => readsHidden(need, one.options)))
  const checkpoints = mostCheckpoints(asking)
  const passes = scoringPasses(needs, { signals }, counted)
  const planned =
    checkpoints > 0 || hidden || passes.length > 0
      ? await planProxy(counted, Math.max(1, checkpoints), { device, options, pretrained })
      : undefined
  const proxy = checkpoints > 0 ? planned : undefined
  const embedded = await planEmbedded(asking, { dataset, rows, proxy: planned, signal })
  const { passSeconds = 0, passFlops = 0 } = planned ?? {}
  const { training, scoring: recording } = proxy?.flops ?? { training: 0, scoring: 0 }
  const scoring = passes.reduce((total, { passes: count }) => total + count * passFlops, recording)
  return {
    ...{ proxy: proxy?.facts, imported: imported?.facts, target: embedded.target, embedding: embedded.embedding },
    flops: { training, scoring, total: training + scoring },
    seconds: [
      ...(imported ? [imported.seconds] : []),
      ...(proxy?.seconds ?? []),
      ...passes.map(({ stage, passes: count }) => ({ stage, seconds: count * passSeconds })),
      ...clusteringTime(needs, rows),
      ...embedded.seconds,
    ],
    diskBytes: (imported?.diskBytes ?? 0) + (proxy?.diskBytes ?? 0) + 8 * passes.length * rows + embedded.diskBytes,
  }
}

/** What is compared in each embedding. */
async function planEmbedded(asking: readonly Asking[], of: PlanOf): Promise<ComparedPlan> {
  const byEmbedding = Map.groupBy(asking, ({ options: { embedding, signals } }) => signals.embeddings ?? embedding)
  const total: ComparedPlan = { seconds: [], diskBytes: 0 }
  for (const group of byEmbedding.values()) {
    // The options of a method that names the target, where one does.
    const { options } = group.find((one) => one.options.target.length > 0) ?? group[0]
    const plan = await planCompared(
      options,
      group.map((one) => one.needs),
      of,
    )
    if (plan.target) total.target = { ...total.target, ...plan.target }
    total.embedding ??= plan.embedding
    total.seconds.push(...plan.seconds)
    total.diskBytes += plan.diskBytes
  }
  return total
}

/** Reads scores that were recorded elsewhere, so that what is wrong with them is known before a run. Facts are those of the first. */
async function planImport({ signals, memoryLimit }: ResolvedOptions, rows: number, signal?: AbortSignal) {
  const files = Object.values(await findScores(signals))
  if (files.length === 0) return undefined
  const started = performance.now()
  const read = []
  for (const file of files) read.push(await readLosses(file, { rows, memoryLimit, signal }))
  const [columns] = read
  const steps = columns.map(({ step }) => step)
  const { incomplete } = lossFacts(columns)
  return {
    facts: { file: files[0].path, rows, columns: steps.length, steps, incomplete },
    seconds: { stage: 'import losses', seconds: (performance.now() - started) / 1000 },
    diskBytes: 4 * rows * read.reduce((total, { length }) => total + length, 0),
  }
}

function clusteringTime(needs: readonly SignalNeed[], rows: number): { stage: string; seconds: number }[] {
  return distinctNeeds(needs).flatMap((need) => {
    if (need.signal !== 'clusters') return []
    const clusters = need.clusters === 'auto' ? defaultClusterCount(rows) : need.clusters
    const work = rows * need.restarts * need.iterations * (clusters / 100)
    return [{ stage: 'cluster', seconds: 0.2 + work / KMEANS_POINTS }]
  })
}
