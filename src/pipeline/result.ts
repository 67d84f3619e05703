/** What `select` and its dry run give back. */

import type { DeviceName } from '../engine/session.ts'
import type { Notice, SelectionGroup } from '../methods/method.ts'
import type { ImportedFacts } from './imported.ts'
import type { TransportFacts } from './transport.ts'

/** What `--dry-run` shows. */
export interface SelectPlan {
  rows: number
  /** In rows (shares of the pool too) or tokens. */
  budget: { unit: 'rows' | 'tokens'; amount: number }
  /** Tokens of the pool, rows cut to the longest length: counted, or estimated from a sample of a large pool. */
  tokens: { count: number; exact: boolean }
  format: { name: string; reason: string }
  method: string
  device: DeviceName
  proxy?: {
    name: string
    parameters: number
    vocabularySize: number
    epochs: number
    steps: number
    checkpoints: number
    /** Parameters that are trained: all, or those of the adapters. */
    trained: number
    /** Of training, at least: 16 bytes a trained parameter, 4 a frozen one, and the activations of a pass. */
    memoryBytes: number
  }
  /** Where the method reads a target. */
  target?: { rows: number; files: string[]; embedding?: { name: string; dimensions: number } }
  /** Where it reads vectors of the pool and no target. */
  embedding?: { name: string; dimensions: number }
  /** Losses that were read from a file, so that no proxy is trained. */
  imported?: Omit<ImportedFacts, 'sha256' | 'used'>
  /** FLOPs of matrix products. */
  flops: { training: number; scoring: number; total: number }
  /** Bytes that the run directory and the output will take. */
  diskBytes: number
  /** Seconds by stage, from a short calibration on this machine. */
  seconds: { stage: string; seconds: number }[]
  secondsTotal: number
  run: string
  out: string
}

export interface TargetResult {
  rows: number
  embedding?: { name: string; dimensions: number }
  /** By ascending transport cost to the target, as the domain test found them. */
  domains?: { name: string; rows: number; distance: number | null }[]
  transport?: TransportFacts
  /** Of the picked rows that were compared with each other, those that are near another. */
  nearDuplicates?: { near: number; compared: number }
}

export interface SelectResult {
  rows: number
  selected: number
  /** Tokens of the pool and of the selection, rows cut to the longest length. */
  tokens: { pool: number; selected: number }
  out: { path: string; bytes: number; sha256: string }
  run: string
  report: string
  selectionFile: string
  /** Final mean NLL of the pool under the proxy, beside a smoothed bigram's where the proxy began from scratch, nats a token. */
  nll?: { proxy: number; bigram?: number }
  /** Losses that were read from a file, so that no proxy was trained. */
  imported?: ImportedFacts
  /** What the selection is toward, where the method reads a target. */
  target?: TargetResult
  /** What the pool's rows were compared in, where the method reads vectors and no target. */
  embedding?: { name: string; dimensions: number }
  groups: SelectionGroup[]
  notices: Notice[]
  device: DeviceName
  seconds: number
  /** `key`: two stages with the same have one result. */
  stages: { name: string; seconds: number; cached: boolean; key?: string }[]
}
