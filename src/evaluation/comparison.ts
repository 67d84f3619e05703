/** What a comparison of methods is made of: plain data that the pipeline fills and that `summarise` reads. */

export type MetricName = 'nll' | 'exact-match' | 'rouge-l' | 'bleu' | 'bert-score' | 'accuracy'

/** A test set: its rows are in the same order in every cell. */
export interface ComparisonTest {
  name: string
  rows: number
  /** Tokens that are scored. */
  tokens: number
}

export interface ComparisonMetric {
  name: MetricName
  /** As a reader would say it: `test loss`, `exact match`. */
  title: string
  /** `nats a token`, `%`; empty where there is none. Scores are given in it. */
  unit: string
  better: 'lower' | 'higher'
}

/** One trained target. */
export interface Cell {
  /** The method's label: `s2l`, `least-confidence@early`; `full` and `none` for the rows to compare with. */
  method: string
  /** Index into `Comparison.budgets`; -1 for `full` and `none`. */
  budget: number
  seed: number
  selected: { rows: number; tokens: number }
  /** `tokens` with every epoch counted; all 0 and the loss NaN where nothing was trained. */
  training: { steps: number; epochs: number; tokens: number; flops: number; seconds: number; loss: number }
  /** `scores[metric][test]`: one number a test row. */
  scores: { [metric: string]: { [test: string]: Float32Array } }
  /** Where the trained target lies, if it was kept. */
  kept?: string
}

/** What one method's pick cost, the signals that it needs included, as if it had been run alone. */
export interface SelectionCost {
  /** The method's label. */
  method: string
  seconds: number
  flops: number
  /** Of these: signals that the run computed, each once, and the labels of the other methods that read them too. */
  signals: { name: string; seconds: number; flops: number; sharedWith: string[] }[]
}

export interface ComparedMethod {
  /** As in the registry: `least-confidence`. */
  name: string
  /** Names the row: `least-confidence@early`. */
  label: string
  /** What it does, in a line. */
  title: string
  options: Record<string, unknown>
  /** The pick is the same for every seed: what differs between its seeds is the training alone. */
  deterministic: boolean
}

export interface ComparedBudget {
  /** As it was asked for: `10%`. */
  text: string
  rows?: number
  tokens?: number
}

export interface Comparison {
  title: string
  /** Repeats the comparison. */
  command: string
  /** ISO 8601. */
  finishedAt: string
  pool: { files: string[]; rows: number; tokens: number }
  tests: ComparisonTest[]
  /** The first is the one that verdicts and headlines are about. */
  metrics: ComparisonMetric[]
  /** The order is that of tables. `random` is among them. */
  methods: ComparedMethod[]
  budgets: ComparedBudget[]
  seeds: number[]
  /** What was held equal between the targets. */
  training: 'steps' | 'epochs'
  steps?: number
  epochs?: number
  /** `epochs` of training on the pool and `checkpoints` that the pool was scored at, where they are the same for all signals. */
  proxy?: { name: string; parameters: number; epochs?: number; checkpoints?: number }
  /** `trained`: how many of the parameters were trained. */
  target: { name: string; parameters: number; trained: number; pretrained: boolean }
  cells: Cell[]
  costs: SelectionCost[]
  price?: { perMillionTokens?: number; perFlop?: number; currency: string }
  notices: string[]
  versions: Record<string, string>
  device: string
}

/** Labels of the rows that every comparison has beside its methods. */
export const FULL = 'full'
export const NONE = 'none'
/** The method that every other is measured against. */
export const RANDOM = 'random'
