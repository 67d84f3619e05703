/** The contract of selection methods: a method is a pure function of signals, budget, options and seed. */

import type { z } from 'zod'
import type { ClusterOptions } from '../signals/clusters.ts'
import type { Signals } from '../signals/signal.ts'
import type { ResolvedBudget } from './budget.ts'
import type { Checkpoint } from './checkpoint.ts'

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
  /** [N, T] mean over each row's trained tokens of the largest softmax probability, recorded in the same passes as `trajectories`. */
  | { signal: 'confidence'; checkpoints: number }
  /** [N] mean NLL of each row's trained tokens under the proxy before its training. */
  | { signal: 'initial' }
  /** [N] as `confidence`, under the proxy before its training. */
  | { signal: 'initial_confidence' }
  /**
   * [N] mean NLL of each row's trained tokens without all that goes before them, at a checkpoint of those that `trajectories` has, or at the start
   * (training/responses.ts says what the model reads).
   */
  | { signal: 'unconditional'; checkpoint: Exclude<Checkpoint, 'auto'>; checkpoints: number }
  /** [N] tokens of each whole row, trained ones or all; 0 where none that is trained lies inside the window. */
  | { signal: 'lengths'; part: 'response' | 'all' }
  /** [N] cluster ids (signals/clusters.ts), over `columns` evenly spaced columns of `of`, inside each group of `within`. */
  | ({ signal: 'clusters'; of: 'trajectories'; columns: number; within?: 'source' } & Omit<ClusterOptions, 'seed'>)
  /** [N] category of each row. */
  | { signal: 'source' }
  /** [N] tokens of each row as training would see it: prompt and response, truncated at the maximum length. */
  | { signal: 'tokens' }
  /**
   * Vectors [N, d] of the rows and [m, d] of the target's, in files: methods are given what is computed from them, never the vectors.
   * `normalise`: to unit length. `embedding`: the only one that will do; default: what `--embedding` says. `only: 'pool'`: those of the pool alone,
   * and no target is read. `checkpoint`: of the proxy, where its hidden states are the embedding; default the last.
   */
  | {
      signal: 'embeddings'
      normalise: boolean
      embedding?: 'proxy'
      only?: 'pool'
      checkpoint?: Checkpoint
    }
  /** [N] the first row of the pool with the same text (a row itself where it is the first). */
  | { signal: 'copies' }
  /** [N] transport cost between each row's source (the whole pool where rows name none) and the target, from at most `sample` rows of it. */
  | { signal: 'distance'; of: 'embeddings'; sample: number; epsilon: EpsilonPolicy }
  /**
   * [N] potential g(x) - epsilon log b of each row in one transport problem between the target and `sample` of the candidates: the rows of the
   * `domains` nearest sources (methods/domains.ts). With it come `nearest` [N], the target row of least cost, `nearest_cost`
   * [N] and `candidate` [N].
   */
  | ({ signal: 'potential'; of: 'embeddings'; domains: 'auto' | 'all' | number; collapse: boolean } & TransportChoices)
  /** [N] the row that was preferred to each as its near duplicate, itself where none was; -1 where the walk never came to it. */
  | { signal: 'distinct'; of: 'embeddings'; by: 'potential'; descending: boolean; threshold: number; collapse: boolean }
  /** [N] place of each row in the order in which target rows take their nearest neighbours round by round; -1 beyond the budget. */
  | { signal: 'order'; of: 'embeddings' }
  /**
   * [N] place of each row in the greedy order of facility location, -1 for rows that are not in it; with it comes `gain` [N]. All pairs count in
   * pools that allow it, else each row's nearest `neighbours`.
   */
  | { signal: 'coverage'; of: 'embeddings'; neighbours: number }
  /** [N] place of each row in the farthest-first order, -1 for rows beyond the budget; with it comes `spread_distance` [N]. */
  | { signal: 'spread'; of: 'embeddings' }
  /**
   * [N] greatest cosine of each row to a row preferred to it (`keep`: farther from the centroid, or nearer) in its k-means cell, NaN where there is
   * none; with it come `near_to` [N], that row, `cell` [N] and `centroid_similarity` [N].
   */
  | { signal: 'redundancy'; of: 'embeddings'; cells: 'auto' | number; keep: 'hard' | 'easy' }
  /** [N] log importance weight of each row: its hashed n-grams' counts times log(p target / p pool). */
  | { signal: 'importance' }

/** `auto`: 0.05 of the cost's standard deviation, on a sample; a number: in units of the cost. */
export type EpsilonPolicy = 'auto' | number

export interface TransportChoices {
  /** Candidates that the problem is solved on. */
  sample: number
  epsilon: EpsilonPolicy
  /** w in (0, 2); `auto` follows the rate of convergence. */
  relaxation: 'auto' | number
  /** L1 marginal error. */
  threshold: number
  iterations: number
  /** Penalty of both marginals, in units of the cost; `none`: they are kept. */
  unbalanced: 'none' | number
}

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
  /** The same rows in the order in which they are to be trained on, of a method that has one. */
  schedule?: Uint32Array
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

/** A score of every row, one end of which is picked. */
export interface RowScore<V extends ArrayLike<number> = ArrayLike<number>> {
  /** `confidence`, `learnability`, …: the report explains it by this name. */
  name: string
  unit?: string
  /** The end that is picked. */
  taken: 'lowest' | 'highest'
  /** [N]; not finite where a row has none. */
  values: V
  /** 0 where a row cannot be picked whatever its score, [N]. Default: all can. */
  candidates?: ArrayLike<number>
  /** Why such a row cannot, for a reader: `its prompt does not help`. */
  barred?: string
}

/** What a method may know of the run beside its options. */
export interface NeedFacts {
  /** Whether the proxy is a pretrained model. */
  pretrained?: boolean
}

/** The need that budgets in tokens add. */
export const tokensNeed = (unit: ResolvedBudget['unit']): SignalNeed[] =>
  unit === 'tokens' ? [{ signal: 'tokens' }] : []

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
  needs(options: z.output<S>, budget: ResolvedBudget['unit'], facts?: NeedFacts): SignalNeed[]
  /** The score that rows are picked by, where there is one, for the report. */
  score?(input: Omit<SelectionInput<z.output<S>>, 'budget' | 'seed'>): RowScore
  select(input: SelectionInput<z.output<S>>): Selection
}

/** A method of the registry: its options were checked by its own schema (`parseOptions`). */
export type Method = MethodDefinition<z.ZodObject>

/** Declares a method, checked against its own option schema. */
export function defineMethod<S extends z.ZodObject>(definition: MethodDefinition<S>): Method {
  return definition as unknown as Method
}
