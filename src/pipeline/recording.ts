/** Trajectories shorter than their recording: one training run of the proxy serves every length. */

import type { Checkpoint } from '../methods/checkpoint.ts'
import type { SignalNeed } from '../methods/method.ts'
import { isNano } from '../models/nano.ts'
import { hashJson } from '../runs/hash.ts'
import { evenColumns, takeColumns } from '../signals/clusters.ts'
import type { Trajectories } from './trajectories.ts'

export const COLUMNS = ['even', 'first', 'last'] as const

export interface Recording {
  /** Checkpoints that losses are recorded at. */
  checkpoints: number
  /** Which of them a method gets that reads fewer: evenly spaced ones, the first or the last ones. */
  columns: (typeof COLUMNS)[number]
}

/** Checkpoints to record for a method that reads `wanted`. */
export const recordedCheckpoints = (wanted: number, recording?: Recording): number =>
  Math.max(wanted, recording?.checkpoints ?? 0)

/** Checkpoints that are recorded where hidden states of another than the last are asked for: as many as s2l records, so that a run has them once. */
const HIDDEN = 12

/** Checkpoints that must be recorded for nano's hidden states at this one. */
export const embeddedCheckpoints = (checkpoint: Checkpoint = 'late'): number =>
  checkpoint === 'late' || checkpoint === 'auto' ? 1 : HIDDEN

/** What decides whether a need is met by the proxy's recorded training. */
export interface ProxyUse {
  proxy: string
  /** What `--embedding` says. */
  embedding?: string
  /** Of imported signals. */
  signals?: Readonly<Record<string, string>>
}

/** Whether the vectors that are needed are hidden states of the proxy. */
export const readsHidden = (
  need: SignalNeed,
  { embedding, signals }: ProxyUse,
): need is Extract<SignalNeed, { signal: 'embeddings' }> =>
  need.signal === 'embeddings' && signals?.embeddings === undefined && (need.embedding ?? embedding) === 'proxy'

/**
 * Checkpoints that the needs ask the proxy's training for, at most; 0 where they ask for no training: a pretrained proxy embeds as it is, the start
 * comes before it, and what is imported was recorded elsewhere.
 */
export function askedCheckpoints(needs: readonly SignalNeed[], use: ProxyUse): number {
  const asked = needs.map((need) => {
    if (Object.hasOwn(use.signals ?? {}, need.signal)) return 0
    if (readsHidden(need, use)) return isNano(use.proxy) ? embeddedCheckpoints(need.checkpoint) : 0
    if (need.signal === 'unconditional' && need.checkpoint === 'start') return 0
    return 'checkpoints' in need ? need.checkpoints : 0
  })
  return Math.max(0, ...asked)
}

/** The same of several methods, each with its own options: one training run of the proxy serves them all. */
export const mostCheckpoints = (asking: readonly { options: ProxyUse; needs: readonly SignalNeed[] }[]): number =>
  Math.max(0, ...asking.map(({ options, needs }) => askedCheckpoints(needs, options)))

/** The columns, ascending, of a recording of `recorded` checkpoints for a method that reads `wanted`; all of them where there are no more. */
export function recordedColumns(recorded: number, wanted: number, columns: Recording['columns']): Uint32Array {
  if (columns === 'even') return evenColumns(recorded, wanted)
  const taken = Math.min(recorded, wanted)
  const first = columns === 'first' ? 0 : recorded - taken
  return Uint32Array.from({ length: taken }, (_, i) => first + i)
}

/**
 * The trajectories with the columns that the method reads. Training does not depend on where losses are recorded, so each column is to the bit what
 * a recording at that step alone would have. The rest of a run's facts (its last loss, its cost) stay those of the whole recording.
 */
export function narrowed(trajectories: Trajectories, wanted: number, recording?: Recording): Trajectories {
  const { signal, hash, facts, models } = trajectories
  if (recording === undefined || signal.columns <= wanted) return trajectories
  const columns = recordedColumns(signal.columns, wanted, recording.columns)
  return {
    ...trajectories,
    signal: takeColumns(signal, columns),
    confidence: async () => takeColumns(await trajectories.confidence(), columns),
    // Of a pretrained proxy the last alone is kept.
    models: models.length === signal.columns ? Array.from(columns, (column) => models[column]) : models,
    hash: hashJson({ of: hash, columns: Array.from(columns) }),
    facts: { ...facts, steps: Array.from(columns, (column) => facts.steps[column]) },
  }
}
