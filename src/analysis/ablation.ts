/** What an ablation found, as plain data: what the page and the terminal draw. */

import type { OverlapTable } from './overlap.ts'

/** Names the pick that draws from the base's own signals with another seed. */
export const ANOTHER_DRAW = 'another draw'

export interface AblatedPick {
  /** `base`, or the option and its value: `checkpoints=3`. */
  name: string
  method: string
  /** Variations that are this very pick's options too. */
  also: string[]
  /** Rows and training tokens. */
  selected: number
  tokens: number
  /** Its records. */
  file: string
  /** Stages between reading the pool and the pick, in order. `seconds`: of the execution that computed it; `shared`: other picks of the table have its result too. */
  stages: { name: string; seconds: number; shared: boolean }[]
  /** Adjusted Rand index of its clusters with the base's, where both have some. */
  agreement?: number
  /** Of all of them: what this selection alone would take. */
  seconds: number
}

export interface Ablation {
  budget: string
  /** Of the pool. */
  rows: number
  /** The base first. */
  picks: AblatedPick[]
  /** In their order. */
  overlap: OverlapTable
}
