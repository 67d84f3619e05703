/**
 * Symbolic tensors. An operator is a function from tensors to tensors; each call adds one node that knows four things: its
 * output types, its value in float64 (the oracle), its gradient rule and its ONNX form. A graph is whatever its outputs reach.
 */

import type { Lowering } from './onnx/lowering.ts'
import { type Dims, formatShape, type Shape } from './shape.ts'

export type DType = 'float32' | 'int32'

export interface TensorType {
  shape: Shape
  dtype: DType
}

/** A dense row-major array of the interpreter. Integers are held as float64 too. */
export interface NdArray {
  shape: readonly number[]
  data: Float64Array
}

export interface Tensor extends TensorType {
  readonly node: Node
  /** Which output of `node` this is. */
  readonly index: number
}

export interface Node {
  /** Unique and increasing: inputs of a node always have smaller ids, so ids sort a graph topologically. */
  readonly id: number
  readonly operator: string
  readonly inputs: readonly Tensor[]
  outputs: readonly Tensor[]
  /** Name of a graph input; absent elsewhere. */
  readonly name?: string
  interpret(values: readonly NdArray[], dims: Dims): NdArray[]
  /** Gradients with respect to the inputs, given those with respect to the outputs (undefined = zero). */
  gradient?(upstream: readonly (Tensor | undefined)[]): (Tensor | undefined)[]
  /** This node's output added to `base`, where that is cheaper than making it first; else undefined. */
  addTo?(base: Tensor): Tensor | undefined
  lower?(lowering: Lowering, inputs: readonly string[]): string[]
  /** Floating-point operations of one run, counted for matrix products only. */
  flops?(dims: Dims): number
}

let nodes = 0

export interface NodeDefinition extends Omit<Node, 'id' | 'outputs'> {
  types: readonly TensorType[]
}

/** Adds a node and returns its outputs. */
export function apply({ types, ...definition }: NodeDefinition): Tensor[] {
  const node: Node = { ...definition, id: nodes++, outputs: [] }
  node.outputs = types.map(({ shape, dtype }, index) => ({ node, index, shape, dtype }))
  return [...node.outputs]
}

/** A graph input, fed by name at run time. */
export function input(name: string, shape: Shape, dtype: DType = 'float32'): Tensor {
  return apply({
    operator: 'input',
    name,
    inputs: [],
    types: [{ shape, dtype }],
    interpret: () => {
      throw new Error(`input '${name}' ${formatShape(shape)} was not fed`)
    },
  })[0]
}

/** A constant array baked into the graph. */
export function constant(data: Float32Array | Int32Array, shape: readonly number[]): Tensor {
  const dtype = data instanceof Float32Array ? 'float32' : 'int32'
  const size = shape.reduce((a, b) => a * b, 1)
  if (size !== data.length) throw new Error(`constant: ${data.length} values do not fill shape ${formatShape(shape)}`)
  return apply({
    operator: 'constant',
    inputs: [],
    types: [{ shape, dtype }],
    interpret: () => [{ shape, data: Float64Array.from(data) }],
    lower: (lowering) => [lowering.constant(data, shape)],
  })[0]
}

export const scalar = (value: number): Tensor => constant(Float32Array.of(value), [])

/** All nodes that `outputs` depend on, inputs before users. */
export function reachable(outputs: readonly Tensor[]): Node[] {
  const seen = new Set<Node>()
  const pending = outputs.map((tensor) => tensor.node)
  while (pending.length > 0) {
    const node = pending.pop() as Node
    if (seen.has(node)) continue
    seen.add(node)
    for (const tensor of node.inputs) pending.push(tensor.node)
  }
  return [...seen].sort((a, b) => a.id - b.id)
}

/** Plain named arrays: model parameters, optimiser moments, the content of a safetensors file. */
export type TensorMap = Map<string, { shape: number[]; data: Float32Array }>
