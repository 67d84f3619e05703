/** What training changes, as plain arrays. */

import type { TensorMap } from '../engine/tensor.ts'

/** Everything a run needs to go on bit for bit. */
export interface TrainingState {
  /** Optimiser steps done. */
  step: number
  parameters: TensorMap
  /** AdamW's first and second moments. */
  first: TensorMap
  second: TensorMap
}
