/** Lowers a graph of tensors to an ONNX graph for one kind of device. */

import { type Dim, formatShape, type Shape, sameShape } from '../shape.ts'
import { type Node, reachable, type Tensor, type TensorMap } from '../tensor.ts'
import type { Attributes, OnnxData, OnnxGraph, OnnxInitializer, OnnxNode, OnnxType, OnnxValue } from './protobuf.ts'

/** Of the factors of matrix products. */
export type ProductPrecision = 'float32' | 'float16' | 'bfloat16'

/** ONNX's numbers for element types that values are cast to. */
const CAST = { float32: 1, float16: 10, bfloat16: 16 } as const

/** `gpu`: webgpu, where 64-bit integers and some contributed operators do not exist. */
export type LoweringTarget = 'cpu' | 'gpu'

/** Bytes of a constant inside the model; larger ones are given beside it. */
const INSIDE = 2 ** 20

function typeOf(data: OnnxData): OnnxType {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Int32Array) return 'int32'
  if (data instanceof BigInt64Array) return 'int64'
  return data instanceof Int8Array ? 'int8' : 'uint8'
}

interface Names {
  next: number
}

export class Lowering {
  readonly target: LoweringTarget
  private readonly precision: ProductPrecision
  readonly emitted: OnnxNode[] = []
  readonly initializers: OnnxInitializer[] = []
  private readonly names: Names
  private readonly parent?: Lowering
  private readonly cache = new Map<string, string>()
  private readonly dims: ReadonlyMap<string, { input: string; axis: number }>

  constructor(
    target: LoweringTarget,
    dims: ReadonlyMap<string, { input: string; axis: number }>,
    precision: ProductPrecision,
    parent?: Lowering,
  ) {
    this.target = target
    this.precision = precision
    this.dims = dims
    this.parent = parent
    this.names = parent?.names ?? { next: 0 }
  }

  fresh(prefix: string): string {
    return `${prefix}_${this.names.next++}`
  }

  /** Emits one node with several outputs. */
  nodes(
    operator: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Attributes = {},
    domain = '',
  ): string[] {
    const names = Array.from({ length: outputs }, () => this.fresh(operator))
    this.emitted.push({ operator, domain, inputs, outputs: names, attributes })
    return names
  }

  node(operator: string, inputs: readonly string[], attributes: Attributes = {}, domain = ''): string {
    return this.nodes(operator, inputs, 1, attributes, domain)[0]
  }

  /** A node of ONNX Runtime's contributed operators. */
  contributed(operator: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.node(operator, inputs, attributes, 'com.microsoft')
  }

  constant(data: OnnxData, shape: readonly number[]): string {
    const name = this.fresh('constant')
    const external = data.byteLength > INSIDE ? { external: true } : {}
    this.initializers.push({ name, type: typeOf(data), shape, data, ...external })
    return name
  }

  /** A float32 scalar, shared by all its users. */
  scalar(value: number): string {
    return this.once(`scalar ${value}`, () => this.constant(Float32Array.of(value), []))
  }

  /** A vector of 64-bit integers, as axes and sizes are given in ONNX; shared by all its users. */
  int64(values: readonly number[]): string {
    return this.once(`int64 ${values.join()}`, () => this.constant(BigInt64Array.from(values, BigInt), [values.length]))
  }

  /** What `make` emits, once for each key; a subgraph sees what its parent has made. */
  once(key: string, make: () => string): string {
    for (let scope: Lowering | undefined = this; scope !== undefined; scope = scope.parent) {
      const known = scope.cache.get(key)
      if (known !== undefined) return known
    }
    const name = make()
    this.cache.set(key, name)
    return name
  }

  /** A shape as a vector of 64-bit integers: constant where all dimensions but one are known, computed where not. */
  shape(shape: Shape): string {
    const named = shape.filter((dim) => typeof dim === 'string')
    if (named.length === 0) return this.int64(shape as number[])
    return this.once(`shape ${shape.join()}`, () =>
      this.node(
        'Concat',
        shape.map((dim) => this.dimension(dim)),
        { axis: 0 },
      ),
    )
  }

  /** A shape to reshape to: -1 may stand for its only named dimension. */
  reshapeTarget(shape: Shape): string {
    const named = shape.filter((dim) => typeof dim === 'string')
    return named.length === 1 ? this.int64(shape.map((dim) => (typeof dim === 'string' ? -1 : dim))) : this.shape(shape)
  }

  /** One dimension as a vector of one 64-bit integer, read off the graph input that has it. */
  dimension(dim: Dim): string {
    if (typeof dim === 'number') return this.int64([dim])
    return this.once(`dimension ${dim}`, () => {
      const parts = dim.split('*')
      if (parts.length > 1) {
        return parts
          .map((part) => this.dimension(/^\d+$/.test(part) ? Number(part) : part))
          .reduce((a, b) => this.node('Mul', [a, b]))
      }
      const source = this.dims.get(dim)
      if (source === undefined) throw new Error(`lowering: no graph input has the dimension '${dim}'`)
      return this.node('Shape', [source.input], { start: source.axis, end: source.axis + 1 })
    })
  }

  /**
   * alpha A B with either side transposed; 2-D products are Gemm, batched ones FusedMatMul where it exists. `bias` is added to each row of a
   * 2-D product.
   */
  matmul(
    a: string,
    b: string,
    options: { rank: number; transposeA?: boolean; transposeB?: boolean; alpha?: number; bias?: string },
  ): string {
    if (this.precision === 'float32') return this.product(a, b, options)
    const { alpha = 1, bias, ...shape } = options
    if (bias !== undefined) return this.node('Add', [this.matmul(a, b, { ...shape, alpha }), bias])
    const result = this.node('Cast', [this.product(this.factor(a), this.factor(b), shape)], { to: CAST.float32 })
    return alpha === 1 ? result : this.node('Mul', [result, this.scalar(alpha)])
  }

  /** A value in the precision of products, cast once for this graph and the bodies in it that come after. */
  factor(name: string): string {
    if (this.precision === 'float32') return name
    return this.once(`factor ${name}`, () => this.node('Cast', [name], { to: CAST[this.precision] }))
  }

  /** A^T B + C for matrices A [k, m], B [k, n], C [m, n]. */
  addProduct(a: string, b: string, c: string): string {
    if (this.precision === 'float32') return this.node('Gemm', [a, b, c], { transA: 1 })
    return this.node('Add', [this.matmul(a, b, { rank: 2, transposeA: true }), c])
  }

  private product(
    a: string,
    b: string,
    options: { rank: number; transposeA?: boolean; transposeB?: boolean; alpha?: number; bias?: string },
  ): string {
    const { rank, transposeA = false, transposeB = false, alpha = 1, bias } = options
    if (rank === 2) {
      return this.node('Gemm', bias === undefined ? [a, b] : [a, b, bias], {
        transA: Number(transposeA),
        transB: Number(transposeB),
        alpha: { float: alpha },
      })
    }
    if (this.target === 'cpu') {
      const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } }
      return this.contributed('FusedMatMul', [a, b], attributes)
    }
    const swap = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i))
    const side = (name: string, transposed: boolean) =>
      transposed ? this.node('Transpose', [name], { perm: swap }) : name
    const result = this.node('MatMul', [side(a, transposeA), side(b, transposeB)])
    return alpha === 1 ? result : this.node('Mul', [result, this.scalar(alpha)])
  }

  /** x * sigmoid(x) */
  silu(x: string): string {
    if (this.target === 'cpu') return this.contributed('QuickGelu', [x], { alpha: { float: 1 } })
    return this.node('Mul', [x, this.node('Sigmoid', [x])])
  }

  /** Sum over the last axis, kept as an axis of 1. */
  rowSum(x: string): string {
    return this.node('ReduceSum', [x, this.int64([-1])], { keepdims: 1 })
  }

  /** A body for Scan or Loop. `build` gets the inner lowering and returns its outputs. */
  subgraph(
    inputs: { type: OnnxType; shape: Shape }[],
    build: (inner: Lowering, names: string[]) => OnnxValue[],
  ): OnnxGraph {
    const inner = new Lowering(this.target, this.dims, this.precision, this)
    const values: OnnxValue[] = inputs.map((value) => ({ ...value, name: this.fresh('item') }))
    const outputs = build(
      inner,
      values.map((value) => value.name),
    )
    return { name: this.fresh('body'), nodes: inner.emitted, initializers: inner.initializers, inputs: values, outputs }
  }
}

/**
 * The ONNX graph that computes `outputs`; its inputs are the graph inputs reached, by name, but for those that are `frozen`: they become
 * constants of the graph.
 */
export function lowerGraph(
  outputs: Record<string, Tensor>,
  target: LoweringTarget,
  precision: ProductPrecision = 'float32',
  frozen: TensorMap = new Map(),
): OnnxGraph {
  const nodes = reachable(Object.values(outputs))
  const named = nodes.filter((node) => node.name !== undefined)
  const inputs = named.filter((node) => !frozen.has(node.name as string))
  const dims = new Map<string, { input: string; axis: number }>()
  for (const node of inputs) {
    node.outputs[0].shape.forEach((dim, axis) => {
      if (typeof dim === 'string' && !dims.has(dim)) dims.set(dim, { input: node.name as string, axis })
    })
  }
  const lowering = new Lowering(target, dims, precision)
  const names = new Map<Tensor, string>()
  for (const node of nodes) {
    if (node.name !== undefined) {
      names.set(node.outputs[0], node.name)
      continue
    }
    if (!node.lower) throw new Error(`lowering: operator '${node.operator}' has no ONNX form`)
    const results = node.lower(
      lowering,
      node.inputs.map((tensor) => names.get(tensor) as string),
    )
    node.outputs.forEach((tensor, i) => {
      names.set(tensor, results[i])
    })
  }
  // An output takes its name where it is computed; a copy is made only of what is an input, a constant or an output already.
  const computed = new Set(lowering.emitted.flatMap((node) => node.outputs))
  const renamed = new Map<string, string>()
  const graphOutputs = Object.entries(outputs).map(([name, tensor]) => {
    const from = names.get(tensor) as string
    if (computed.has(from) && !renamed.has(from)) renamed.set(from, name)
    else {
      const inputs = [from]
      lowering.emitted.push({ operator: 'Identity', domain: '', inputs, outputs: [name], attributes: {} })
    }
    return { name, type: tensor.dtype, shape: tensor.shape }
  })
  return {
    name: 'winnow',
    nodes: leavesLast(usedNodes(renameValues(lowering.emitted, renamed), Object.keys(outputs))),
    initializers: [...lowering.initializers, ...named.flatMap((node) => frozenInput(node, frozen))],
    inputs: inputs.map((node) => ({
      name: node.name as string,
      type: node.outputs[0].dtype,
      shape: node.outputs[0].shape,
    })),
    outputs: graphOutputs,
  }
}

function frozenInput({ name = '', outputs: [{ shape }] }: Node, frozen: TensorMap): OnnxInitializer[] {
  const tensor = frozen.get(name)
  if (tensor === undefined) return []
  if (!sameShape(tensor.shape, shape))
    throw new Error(`input '${name}' is frozen as ${formatShape(tensor.shape)}, expected ${formatShape(shape)}`)
  return [{ name, type: 'float32', shape: tensor.shape, data: tensor.data, external: true }]
}

/**
 * The nodes that nothing reads behind all others, latest first. ONNX Runtime runs a graph depth first from its last leaf: as emitted, that would be
 * the whole backward pass down to the first layer and only then the products that give the weights' gradients, with every activation and every
 * gradient of one kept until then. This way each layer's weights come with it (docs/decisions/0014-optimiser-outside-the-graph.md).
 */
function leavesLast(nodes: readonly OnnxNode[]): OnnxNode[] {
  const read = new Set(nodes.flatMap(valuesRead))
  const isLeaf = ({ outputs }: OnnxNode) => outputs.every((name) => !read.has(name))
  return [...nodes.filter((node) => !isLeaf(node)), ...nodes.filter(isLeaf).reverse()]
}

/**
 * The nodes that `outputs` depend on, in order. An operator of several outputs, a gradient rule above all, is lowered whole, and ONNX Runtime
 * computes what nobody asked for.
 */
function usedNodes(nodes: readonly OnnxNode[], outputs: readonly string[]): OnnxNode[] {
  const wanted = new Set(outputs)
  const used = nodes.toReversed().filter((node) => {
    if (!node.outputs.some((name) => wanted.has(name))) return false
    for (const name of valuesRead(node)) wanted.add(name)
    return true
  })
  return used.reverse()
}

/** What a node reads, the bodies of its subgraphs included. */
function valuesRead({ inputs, attributes }: OnnxNode): string[] {
  const bodies = Object.values(attributes).flatMap((value) =>
    typeof value === 'object' && 'graph' in value ? [value.graph] : [],
  )
  const outputs = bodies.flatMap((body) => body.outputs.map(({ name }) => name))
  return [...inputs, ...outputs, ...bodies.flatMap((body) => body.nodes.flatMap(valuesRead))]
}

/** Nodes with values renamed, in the bodies of their subgraphs too, which see the values around them. */
function renameValues(nodes: readonly OnnxNode[], renamed: ReadonlyMap<string, string>): OnnxNode[] {
  const rename = (name: string) => renamed.get(name) ?? name
  return nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map(rename),
    outputs: node.outputs.map(rename),
    attributes: Object.fromEntries(
      Object.entries(node.attributes).map(([name, value]) => {
        if (typeof value !== 'object' || !('graph' in value)) return [name, value]
        return [name, { graph: { ...value.graph, nodes: renameValues(value.graph.nodes, renamed) } }]
      }),
    ),
  }))
}
