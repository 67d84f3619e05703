/** Parameters of a model: what they are called, how they start, which of them decay. */

import type { TensorMap } from '../engine/tensor.ts'
import { randomStream } from '../random/philox.ts'
import type { Layout } from './linear.ts'
import type { LinearModule } from './model.ts'

export interface Parameter {
  /** The field's tensor name. */
  name: string
  shape: number[]
  initial: { kind: 'normal'; deviation: number } | { kind: 'ones' } | { kind: 'zeros' }
  /** Whether weight decay applies: matrices yes, gains and biases no. */
  decay: boolean
}

/** Normally distributed and decayed; embeddings too. */
export const matrix = (name: string, shape: [number, number], deviation: number): Parameter => ({
  name,
  shape,
  initial: { kind: 'normal', deviation },
  decay: true,
})
/** Ones, never decayed. */
export const gain = (name: string, size: number): Parameter => ({
  name,
  shape: [size],
  initial: { kind: 'ones' },
  decay: false,
})
/** Zeros, never decayed. */
export const bias = (name: string, size: number): Parameter => ({
  name,
  shape: [size],
  initial: { kind: 'zeros' },
  decay: false,
})

/** Starting values, a pure function of the seed and each parameter's name. */
export function initialParameters(parameters: readonly Parameter[], seed: number): TensorMap {
  return new Map(
    parameters.map(({ name, shape, initial }) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1))
      if (initial.kind === 'ones') data.fill(1)
      else if (initial.kind === 'normal') {
        const stream = randomStream(seed, `parameter/${name}`)
        for (let i = 0; i < data.length; i++) data[i] = initial.deviation * stream.normal()
      }
      return [name, { shape, data }]
    }),
  )
}

export const countParameters = (parameters: readonly Parameter[]): number =>
  parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)

/** The linear layers among parameters: those whose weight has a name of this form. */
export function linearModules(
  parameters: readonly Parameter[],
  name: RegExp,
  layout: Layout = 'out-in',
): LinearModule[] {
  return parameters
    .filter((parameter) => name.test(parameter.name))
    .map(({ name, shape: [first, second] }) => ({
      module: name.slice(0, -'.weight'.length),
      inputs: layout === 'out-in' ? second : first,
      outputs: layout === 'out-in' ? first : second,
      layout,
    }))
}

/** Columns of the products of these layers, forward and back, a fused projection counting as its parts; each once, ascending. */
export const columnsOf = (linears: readonly LinearModule[], fused?: { module: RegExp; parts: number }): number[] => {
  const columns = linears.flatMap(({ module, inputs, outputs }) => [
    inputs,
    fused?.module.test(module) ? outputs / fused.parts : outputs,
  ])
  return [...new Set(columns)].sort((a, b) => a - b)
}
