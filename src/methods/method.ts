/** The contract of selection methods: a method is a pure function of signals, budget, options and seed. */

import type { z } from 'zod'
import type { ClusterOptions } from '../signals/clusters.ts'
import type { Signals } from '../signals/signal.ts'
import type { ResolvedBudget } from './budget.ts'

/** The paper that defines a method. */
export interface Reference {
  title: string
  authors: string
  venue: string
  url: string
}

/**
 * One signal a method reads, and how it wants it computed where it is not imported. Needs are listed so that each
 * depends on earlier ones only: the pipeline makes a cached stage of each, so that another budget reuses them all.
 */
export type SignalNeed =
  /** [N, T] mean NLL of each row's trained tokens at T evenly spaced checkpoints of the proxy's training. */
  | { signal: 'trajectories'; checkpoints: number }
  /** [N] cluster ids (signals/clusters.ts), over `columns` evenly spaced columns of `of`, inside each group of `within`. */
  | ({ signal: 'clusters'; of: 'trajectories'; columns: number; within?: 'source' } & Omit<ClusterOptions, 'seed'>)
  /** [N] category of each row. */
  | { signal: 'source' }
  /** [N] tokens of each row as training would see it: prompt and response, truncated at the maximum length. */
  | { signal: 'tokens' }

/** A column beside the rows; NaN or -1 (said by the method) where a row has no value. */
export type Column = Float64Array | Float32Array | Int32Array | Uint32Array | Uint8Array | readonly string[]

/** A group of rows that a method treats alike (a cluster, a source). */
export interface SelectionGroup {
  id: number
  /** The source the group belongs to, where the method knows one. */
  label?: string
  /** Rows in it. */
  rows: number
  /** Rows of it that were selected. */
  selected: number
}

/** Something the user should know: counted, not fatal. */
export interface Notice {
  code: string
  message: string
  rows?: number
}

export interface Selection {
  /** Pool rows, ascending. */
  selected: Uint32Array
  /** The reason for every row, over ALL rows of the pool ([N] each), so that rows left out can be explained too. */
  columns: { readonly [name: string]: Column }
  groups: SelectionGroup[]
  /** Tokens of the selected rows, where the `tokens` signal was there. */
  tokens?: number
  notices: Notice[]
}

export interface SelectionInput<O> {
  /** N, the rows of the pool. */
  rows: number
  budget: ResolvedBudget
  signals: Signals
  options: O
  /** Integer in [0, 2^53). Equal input, options and seed give equal selections. */
  seed: number
}

/** A method as declared, with its options' type. */
export interface MethodDefinition<S extends z.ZodObject> {
  /** As on the command line. */
  name: string
  title: string
  /** One sentence: what it picks. */
  summary: string
  reference?: Reference
  /** Every option with a default and a description: flags, docs and validation come from here. */
  options: S
  needs(options: z.output<S>, budget: ResolvedBudget['unit']): SignalNeed[]
  select(input: SelectionInput<z.output<S>>): Selection
}

/** A method of the registry: its options were checked by its own schema (`parseOptions`). */
export type Method = MethodDefinition<z.ZodObject>

/** Declares a method, checked against its own option schema. */
export function defineMethod<S extends z.ZodObject>(definition: MethodDefinition<S>): Method {
  return definition as unknown as Method
}
