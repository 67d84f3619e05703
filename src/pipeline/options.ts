/** What `select` is asked. The command line, the library and a replayed manifest all give this. */

import type { DeviceName, OrtApi } from '../engine/session.ts'
import type { OnEvent } from './events.ts'

export interface SelectOptions {
  /** Files and globs. */
  pool: string[]
  /** `30%`, `5000`, `2Mtok`. */
  budget: string
  /** Name in the method registry. Default `s2l`. */
  method?: string
  /** The method's own options; its schema checks them and fills in defaults. */
  methodOptions?: Record<string, unknown>
  /** Selected records. Default: the pool's name with `.selected` before its extension, in the working directory. */
  out?: string
  /** Run directory. Default: the output's name with `.winnow` in place of its extension. */
  run?: string
  overwrite?: boolean
  /** Default 0. */
  seed?: number
  /** Only `nano` for now. */
  proxy?: string
  /** Default `auto`. */
  device?: DeviceName | 'auto'
  /** Threads of the cpu device and of clustering. Default: as many as the machine runs at once. */
  threads?: number
  /** Rows are cut to this many tokens. Default 512. */
  maxLength?: number
  fields?: string
  template?: string
  onBadRow?: 'stop' | 'skip'
  /** DuckDB's memory limit. */
  memoryLimit?: string
  /** The command as typed, for the manifest and the report. */
  command?: string
}

export interface SelectContext {
  /** ONNX Runtime, for methods that train a proxy. */
  ort: OrtApi
  onEvent?: OnEvent
  signal?: AbortSignal
}

/** What `--dry-run` shows. */
export interface SelectPlan {
  rows: number
  /** Rows, if the budget is one of rows or a share. */
  budget: { unit: 'rows' | 'tokens'; amount: number }
  /** Tokens of the pool: counted where the run directory has them, else estimated from a sample. */
  tokens: { count: number; exact: boolean }
  format: { name: string; reason: string }
  method: string
  device: DeviceName
  proxy?: { name: string; parameters: number; vocabularySize: number; epochs: number; steps: number; checkpoints: number }
  /** FLOPs of matrix products. */
  flops: { training: number; scoring: number; total: number }
  /** Bytes that the run directory will take. */
  diskBytes: number
  /** From a short calibration on this machine, seconds, by stage. */
  seconds: { stage: string; seconds: number }[]
  secondsTotal: number
  run: string
  out: string
  /** Stages that the run directory already holds. */
  cached: string[]
}

export interface SelectResult {
  rows: number
  selected: number
  /** Tokens of the pool and of the selection, where tokens were counted. */
  tokens?: { pool: number; selected: number }
  out: { path: string; bytes: number; sha256: string }
  run: string
  report: string
  selectionFile: string
  /** Final mean NLL of the pool under the proxy, beside a smoothed bigram's, nats a token. */
  nll?: { proxy: number; bigram: number }
  /** Rows of each group and how many were selected. */
  groups: { id: number; label?: string; rows: number; selected: number }[]
  notices: { code: string; message: string; rows?: number }[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}
