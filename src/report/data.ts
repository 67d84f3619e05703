/** What the report page is made of: plain data, as it lies in a run directory. Nothing here reads files. */

import type { Fault } from '../errors.ts'
import { WinnowError } from '../errors.ts'

export interface ReportData {
  /** Heading of the page, for example the pool's file name. */
  title: string
  /** The command as it was typed. */
  command: string
  /** When the run ended, ISO 8601. Shown as it is. */
  finishedAt?: string
  run: RunFacts
  rows: ReportRows
  /** Absent for methods without clusters: their section is left out. */
  clusters?: ReportClusters
  /** Absent for methods without trajectories: their section is left out. */
  trajectories?: ReportTrajectories
  /** Absent for methods that give rows no score. */
  scores?: ReportScores
  /** Absent for runs without a target. */
  target?: ReportTarget
  /** The domain test: how far each domain of the pool is from the target. Absent where it was not made. */
  domains?: ReportDomains
  /**
   * Rows in the pool that could not be scored. Where there are clusters the count may be left to them: the rows in none.
   */
  quarantined?: { count: number; shown: readonly { row: number; reason: string; file?: string; line?: number }[] }
  /** Rows of the input that could not be read and are not in the pool. */
  bad?: { count: number; shown: readonly Fault[] }
  warnings: readonly string[]
  /** Texts of the rows that the page shows: those named by `shownRows`. A row without one is shown without text. */
  texts: ReadonlyMap<number, string>
}

export interface RunFacts {
  /** Name in the method registry: `s2l`, `random`, … */
  method: string
  /** Options of the method as used, defaults included. */
  options?: Readonly<Record<string, string | number | boolean>>
  /** The budget as asked for: `30%`, `5000`, `2Mtok`. */
  budget: string
  seed: number
  /** Device that ran the proxy: `cpu`, `webgpu`, … */
  device?: string
  proxy?: ProxyFacts
  /** Where the losses came from, if they were recorded elsewhere and no proxy was trained. */
  imported?: ImportFacts
  /** Wall clock of each stage when it was computed; `cached` where that was an earlier run. */
  timings: readonly { stage: string; seconds: number; cached?: boolean }[]
  /** Versions of winnow and of what it ran on, by name. */
  versions: Readonly<Record<string, string>>
  /** What else was set or found, in the order shown: the embedding, epsilon, iterations, the target's hash, … */
  facts?: readonly (readonly [name: string, value: string])[]
  inputs: readonly { file: string; rows?: number; bytes?: number; sha256?: string }[]
}

export interface ProxyFacts {
  /** `nano`, a hub id or a directory. */
  name: string
  parameters: number
  tokenizer?: string
  vocabularySize?: number
  /** Optimiser steps. */
  steps?: number
  /** Tokens the proxy was trained on, every epoch counted. With `parameters`, gives the cost of the selection. */
  trainedTokens?: number
  /** Final mean NLL of the pool, nats a response token, and that of a smoothed bigram model of the same tokens. */
  nll?: number
  bigramNll?: number
}

export interface ImportFacts {
  /** A file, or a directory with one for each checkpoint. */
  file: string
  /** Of the file; of a directory, over those of its files. */
  sha256: string
  rows: number
  /** Checkpoints. */
  columns: number
}

/** Columns over the N rows of the pool. */
export interface ReportRows {
  /** N. */
  count: number
  /** Tokens of each row, [N]. */
  lengths: ArrayLike<number>
  /** 1 where the row was picked, [N]. */
  selected: ArrayLike<number>
  /** Index into `names` of each row's source, [N]; any other number marks a row without one. */
  source?: { codes: ArrayLike<number>; names: readonly string[] }
}

export interface ReportClusters {
  /** K; ids are 0 … K-1. */
  count: number
  /** Cluster of each row, [N]; any number outside 0 … K-1 (NO_CLUSTER, -1) marks a row in none: quarantined. */
  assignment: ArrayLike<number>
  /** Names to show in place of the ids, [K]: `gsm8k / 3` where clusters were formed inside each source. */
  labels?: readonly string[]
}

export interface ReportTrajectories {
  /** Optimiser step of each checkpoint, ascending, [T]. */
  steps: ArrayLike<number>
  /** Row-major [N, T], as the `trajectories` signal: each row's mean NLL in nats a response token; NaN where there is none. */
  nll: ArrayLike<number>
}

/** One score a row: the calibrated gradient (got-d), the log importance weight (dsir), the order of picking (tapt-knn), a proxy's score, … */
export interface ReportScores {
  /** `calibrated gradient`, `log importance weight`, `order of picking` and those of report/score-meanings.ts: the page explains these. */
  name: string
  unit?: string
  /** The end that is picked. */
  taken: 'lowest' | 'highest'
  /** [N]; NaN where a row has none. */
  values: ArrayLike<number>
  /** 1 where the row could be picked (its domain was kept, it repeats no earlier row), [N]. Absent: all could. */
  candidates?: ArrayLike<number>
  /** Why a row that is no candidate cannot be picked, in a few words. Default: it repeats an earlier row, or its domain was not kept. */
  barred?: string
  /** Score where the pick ends. Absent where the scores alone do not decide (the draw of dsir is noisy). */
  boundary?: number
}

export interface ReportTarget {
  /** M. */
  rows: number
  files: readonly string[]
  /** Nearest target row of each row of the pool, [N]; any number outside 0 … M-1 marks a row without one. */
  nearest?: ArrayLike<number>
  /** Texts of the target rows that the page shows: those named by `shownTargets`. */
  texts: ReadonlyMap<number, string>
  /** Whether the target is what to move away from. */
  contrast?: boolean
}

export interface ReportDomain {
  name: string
  rows: number
  /** Transport cost to the target; lower is nearer. NaN where it was not measured. */
  distance: number
  kept: boolean
  /** Rows picked. */
  selected: number
}

export interface ReportDomains {
  /** By ascending distance. */
  rows: readonly ReportDomain[]
  /** Distance of one half of the target to the other: what near is. */
  self?: number
  /** Mean cost of rows that are paired at random: what far is. */
  unrelated?: number
}

/**
 * Refuses data whose columns disagree in length, before a page is built from them.
 * @throws WinnowError `report-data-mismatch`, naming the column, its length and the length expected.
 */
export function checkReportData(data: Omit<ReportData, 'texts'>): void {
  const { rows, clusters, trajectories, scores, target } = data
  const expect = (path: string, found: number, expected: number) => {
    if (found === expected) return
    throw new WinnowError('failure', {
      code: 'report-data-mismatch',
      message: `report data: ${path} has the wrong length`,
      path,
      found: String(found),
      expected: String(expected),
      hint: 'Build the report from the columns of one run.',
    })
  }
  expect('rows.lengths', rows.lengths.length, rows.count)
  expect('rows.selected', rows.selected.length, rows.count)
  if (rows.source) expect('rows.source.codes', rows.source.codes.length, rows.count)
  if (clusters) {
    expect('clusters.assignment', clusters.assignment.length, rows.count)
    if (clusters.labels) expect('clusters.labels', clusters.labels.length, clusters.count)
  }
  if (trajectories) expect('trajectories.nll', trajectories.nll.length, rows.count * trajectories.steps.length)
  if (scores) expect('scores.values', scores.values.length, rows.count)
  if (scores?.candidates) expect('scores.candidates', scores.candidates.length, rows.count)
  if (target?.nearest) expect('target.nearest', target.nearest.length, rows.count)
}

/** The [N] flags of a list of row numbers, as `ReportRows.selected` wants them. */
export function selectedFlags(count: number, selected: ArrayLike<number>): Uint8Array {
  const flags = new Uint8Array(count)
  for (let i = 0; i < selected.length; i++) flags[selected[i]] = 1
  return flags
}
