/** Parameters of a model: what they are called, how they start, which of them decay. */

import type { TensorMap } from '../engine/tensor.ts'
import { randomStream } from '../random/philox.ts'

export interface Parameter {
  /** The field's tensor name. */
  name: string
  shape: number[]
  initial: { kind: 'normal'; deviation: number } | { kind: 'ones' }
  /** Whether weight decay applies: matrices yes, gains no. */
  decay: boolean
}

/** Starting values, a pure function of the seed and each parameter's name. */
export function initialParameters(parameters: readonly Parameter[], seed: number): TensorMap {
  return new Map(
    parameters.map(({ name, shape, initial }) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1))
      if (initial.kind === 'ones') data.fill(1)
      else {
        const stream = randomStream(seed, `parameter/${name}`)
        for (let i = 0; i < data.length; i++) data[i] = initial.deviation * stream.normal()
      }
      return [name, { shape, data }]
    }),
  )
}

export const countParameters = (parameters: readonly Parameter[]): number =>
  parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)
