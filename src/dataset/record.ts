/** The one internal form of a training record: turns with a loss mask. Every input format is read into it. */

export type Role = 'system' | 'user' | 'assistant' | 'tool' | 'text'

export interface Turn {
  /** `text` marks literal text without a speaker: plain-text rows and the pieces of a `--template`. */
  role: Role
  content: string
  /** Whether the tokens of this turn (and the end-of-turn token after it) carry loss. */
  trained: boolean
}

export interface PoolRecord {
  /** 0-based row over all inputs, in input order; bad rows that were skipped do not count. */
  row: number
  turns: Turn[]
  /** The record's `source` or `domain` field, if it has one. */
  source?: string
  /** Input file and 1-based line (JSONL, CSV) or record number (JSON array, Parquet). */
  file: string
  line: number
}
