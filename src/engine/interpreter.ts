/** The oracle: evaluates a graph in float64, node by node, in plain TypeScript. Slow and clear; for tests, not for work. */

import { type Dims, formatShape } from './shape.ts'
import { type NdArray, reachable, type Tensor } from './tensor.ts'

export const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Row-major strides. */
export function strides(shape: readonly number[]): number[] {
  const result = new Array<number>(shape.length)
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    result[i] = stride
    stride *= shape[i]
  }
  return result
}

/** The named dimensions of a run, read off what was fed. Throws when two inputs disagree. */
export function bindDims(inputs: Iterable<{ tensor: Tensor; shape: readonly number[] }>): Map<string, number> {
  const dims = new Map<string, number>()
  for (const { tensor, shape } of inputs) {
    const mismatch = () =>
      new Error(`input '${tensor.node.name}' has shape ${formatShape(shape)}, expected ${formatShape(tensor.shape)}`)
    if (shape.length !== tensor.shape.length) throw mismatch()
    tensor.shape.forEach((dim, i) => {
      if (typeof dim === 'number' ? dim !== shape[i] : (dims.get(dim) ?? shape[i]) !== shape[i]) throw mismatch()
      if (typeof dim === 'string') dims.set(dim, shape[i])
    })
  }
  return dims
}

/** Values of `outputs`, given the graph's inputs by name. */
export function interpret<T extends Record<string, Tensor>>(
  outputs: T,
  feeds: Record<string, NdArray>,
): { [name in keyof T]: NdArray } {
  const nodes = reachable(Object.values(outputs))
  const fed = nodes.filter((node) => node.name !== undefined && feeds[node.name] !== undefined)
  const dims: Dims = bindDims(fed.map((node) => ({ tensor: node.outputs[0], shape: feeds[node.name as string].shape })))
  const values = new Map<Tensor, NdArray>()
  for (const node of nodes) {
    const fedValue = node.name === undefined ? undefined : feeds[node.name]
    const results = fedValue
      ? [fedValue]
      : node.interpret(
          node.inputs.map((tensor) => values.get(tensor) as NdArray),
          dims,
        )
    node.outputs.forEach((tensor, i) => {
      values.set(tensor, results[i])
    })
  }
  const result = {} as { [name in keyof T]: NdArray }
  for (const name in outputs) result[name] = values.get(outputs[name]) as NdArray
  return result
}
