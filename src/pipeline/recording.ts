/** Trajectories shorter than their recording: one training run of the proxy serves every length. */

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
