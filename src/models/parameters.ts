/** Parameters of a model: what they are called, how they start, which of them decay. */

import type { TensorMap } from '../engine/tensors.ts'
import { randomStream } from '../random/philox.ts'

export interface Parameter {
  /** Name inside winnow: the field's tensor name, or that of a fused group. */
  name: string
  shape: number[]
  /** A fused group's members, row blocks of the matrix in order, by the field's tensor names. */
  parts?: { name: string; rows: number }[]
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

/** Fused groups taken apart into the field's tensors; views, nothing is copied. */
export function unfuse(parameters: readonly Parameter[], values: TensorMap): TensorMap {
  const result: TensorMap = new Map()
  for (const { name, shape, parts } of parameters) {
    const { data } = required(values, name)
    if (!parts) {
      result.set(name, { shape, data })
      continue
    }
    const width = shape[1]
    let row = 0
    for (const part of parts) {
      result.set(part.name, { shape: [part.rows, width], data: data.subarray(row * width, (row + part.rows) * width) })
      row += part.rows
    }
  }
  return result
}

/** The field's tensors put together into fused groups. Throws on a missing tensor or a wrong shape, by name. */
export function fuse(parameters: readonly Parameter[], tensors: TensorMap): TensorMap {
  return new Map(
    parameters.map(({ name, shape, parts }) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1))
      let offset = 0
      for (const part of parts ?? [{ name, rows: shape[0] }]) {
        const tensor = required(tensors, part.name)
        const expected = [part.rows, ...shape.slice(1)]
        if (tensor.shape.join() !== expected.join()) {
          throw new Error(`tensor '${part.name}' has shape [${tensor.shape}], expected [${expected}]`)
        }
        data.set(tensor.data, offset)
        offset += tensor.data.length
      }
      return [name, { shape, data }]
    }),
  )
}

function required(tensors: TensorMap, name: string) {
  const tensor = tensors.get(name)
  if (tensor === undefined)
    throw new Error(`tensor '${name}' is missing; there are ${[...tensors.keys()].slice(0, 5).join(', ')}, …`)
  return tensor
}
