/**
 * Compiled graphs. `ort` (ONNX Runtime's API, the same in Node and browsers) is injected, so the engine itself depends on neither.
 */

import type * as Ort from 'onnxruntime-common'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common'
import { bindDims } from './interpreter.ts'
import { lowerGraph, type ProductPrecision } from './onnx/lowering.ts'
import { encodeModel } from './onnx/protobuf.ts'
import type { Dims } from './shape.ts'
import { type Node, reachable, type Tensor } from './tensor.ts'

export type OrtApi = typeof Ort
export type DeviceName = 'cpu' | 'webgpu' | 'cuda'
/** Of the factors of matrix products; sums, activations and the loss are float32 always. */
export type Precision = ProductPrecision

/** Where graphs run. */
export interface Device {
  ort: OrtApi
  name: DeviceName
  /** Threads of the cpu provider inside an operator, of which it uses 16 at most: see `paddingFor` in training/scorer.ts. */
  threads: number
  /** Default float32. cpu has no other; webgpu has float16 where the card has, cuda both. */
  precision?: Precision
}

const MOST_THREADS = 16

/** An array on its way into or out of a session; `value` may live on the device. */
export type Feed = OrtTensor

export interface Executable {
  readonly device: Device
  /** Names of the graph inputs, in graph order. */
  readonly inputs: readonly string[]
  /**
   * Runs the graph. `into` gives tensors that outputs are written to (cpu): memory is then reused from run to run. Shapes of the feeds are
   * checked against the graph's. Errors name the input.
   */
  run(feeds: Record<string, Feed>, into?: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>
  /** FLOPs of matrix products in one run with these named dimensions. */
  flops(dims: Dims): number
  release(): Promise<void>
}

export interface CompileOptions {
  /** Outputs that stay on the device (webgpu); the others are copied back. */
  keep?: readonly string[]
  /** Further ONNX Runtime session options. */
  session?: InferenceSession.SessionOptions
}

/** Compiles the graph of `outputs` for a device. */
export async function compile(
  outputs: Record<string, Tensor>,
  device: Device,
  options: CompileOptions = {},
): Promise<Executable> {
  const nodes = reachable(Object.values(outputs))
  const inputs = new Map<string, Node>(
    nodes.flatMap((node) => (node.name === undefined ? [] : [[node.name, node] as const])),
  )
  const model = encodeModel(lowerGraph(outputs, device.name === 'cpu' ? 'cpu' : 'gpu', device.precision))
  const kept = new Set(options.keep)
  const session = await device.ort.InferenceSession.create(model, {
    executionProviders: [device.name],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: Math.min(device.threads, MOST_THREADS),
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    ...(device.name === 'webgpu'
      ? {
          preferredOutputLocation: Object.fromEntries(
            Object.keys(outputs).map((name) => [name, kept.has(name) ? 'gpu-buffer' : 'cpu']),
          ),
        }
      : {}),
    ...options.session,
  } as InferenceSession.SessionOptions)
  return {
    device,
    inputs: [...inputs.keys()],
    async run(feeds, into) {
      bindDims(
        [...inputs].map(([name, node]) => {
          const feed = feeds[name]
          if (feed === undefined) throw new Error(`input '${name}' was not fed`)
          return { tensor: node.outputs[0], shape: feed.dims }
        }),
      )
      if (into === undefined) return (await session.run(feeds)) as Record<string, OrtTensor>
      const fetches = Object.fromEntries(Object.keys(outputs).map((name) => [name, into[name] ?? null]))
      return (await session.run(feeds, fetches)) as Record<string, OrtTensor>
    },
    flops: (dims) => nodes.reduce((total, node) => total + (node.flops?.(dims) ?? 0), 0),
    release: () => session.release(),
  }
}
