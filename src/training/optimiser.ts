/** Where training state lives and how a step renews it: in the machine's memory (host-optimiser.ts) or on a device (device-optimiser.ts). */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import type { AdamWScalars } from './adamw.ts'
import type { TrainingState } from './state.ts'

export type OptimiserValues = Omit<TrainingState, 'step'>

export interface Optimiser {
  /** The parameters as graph inputs, by parameter name. */
  parameters(): Record<string, OrtTensor>
  /** Gradients `gradient/<name>`: where the next pass must write them, and, once `keep` has seen them, their values. */
  gradients(): Record<string, OrtTensor> | undefined
  /**
   * Takes the results of a pass over these tokens, the first of a step or a further one: on a device its gradients stay there until the
   * step; in the machine's memory rows of looked-up tables (`rows/<name>`) are added up.
   */
  keep(results: Record<string, OrtTensor>, pass: { tokens: Int32Array; first: boolean }): void
  /** Euclidean norm of all gradients. */
  norm(): Promise<number>
  update(scalars: AdamWScalars): Promise<void>
  /** The state, in memory that may be the optimiser's own: valid until the next update. */
  read(): Promise<OptimiserValues>
  write(values: OptimiserValues): void
  release(): Promise<void>
}
