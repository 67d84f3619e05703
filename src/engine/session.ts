/**
 * Compiled graphs. `ort` (ONNX Runtime's API, the same in Node and browsers) is injected, so the engine itself depends on neither.
 */

import type * as Ort from 'onnxruntime-common'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common'
import { runtimeError } from './faults.ts'
import { bindDims } from './interpreter.ts'
import { lowerGraph, type ProductPrecision } from './onnx/lowering.ts'
import { encodeModel } from './onnx/protobuf.ts'
import type { Dims } from './shape.ts'
import { type Node, reachable, type Tensor, type TensorMap } from './tensor.ts'

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
  /**
   * Default float32. webgpu computes in float16 where the card has `shader-f16`, cuda in float16 and bfloat16. cpu has no half-precision product: it
   * takes float16 and gives float32's very numbers, and it refuses bfloat16, as webgpu does (`precision-unsupported`).
   */
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
   * Runs the graph. `into` gives tensors that outputs are written to (cpu): memory is then reused from run to run. `only` names the outputs
   * that are wanted; the others are computed and dropped. Shapes of the feeds are checked against the graph's. Errors name the input.
   *
   * @throws {WinnowError} `out-of-memory`, `device-lost`, `precision-unsupported`.
   */
  run(
    feeds: Record<string, Feed>,
    into?: Record<string, OrtTensor>,
    only?: readonly string[],
  ): Promise<Record<string, OrtTensor>>
  /** FLOPs of matrix products in one run with these named dimensions. */
  flops(dims: Dims): number
  release(): Promise<void>
}

export interface CompileOptions {
  /** Outputs that stay on the device (webgpu); the others are copied back. */
  keep?: readonly string[]
  /**
   * Inputs that never change, by name, as constants of the graph: cpu arranges matrices for its products once, at the price of a copy, and
   * sums each product's row in the same order however many rows and threads there are. Default: none.
   */
  frozen?: TensorMap
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
    nodes.flatMap((node) =>
      node.name === undefined || options.frozen?.has(node.name) ? [] : [[node.name, node] as const],
    ),
  )
  const graph = lowerGraph(outputs, device.name === 'cpu' ? 'cpu' : 'gpu', device.precision, options.frozen)
  const external = graph.initializers.filter((initializer) => initializer.external)
  const model = encodeModel(graph)
  const kept = new Set(options.keep)
  const attempt = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      throw runtimeError(error, device.name)
    }
  }
  const creating = device.ort.InferenceSession.create(model, {
    executionProviders: [device.name],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: Math.min(device.threads, MOST_THREADS),
    interOpNumThreads: 1,
    // A pattern of memory is planned for each shape of batch: a second arrangement of all activations beside the first run's, twice the peak.
    enableMemPattern: false,
    logSeverityLevel: 3,
    ...(external.length > 0 && {
      externalData: external.map(({ name, data }) => ({
        path: name,
        data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      })),
    }),
    ...(device.name === 'webgpu'
      ? {
          preferredOutputLocation: Object.fromEntries(
            Object.keys(outputs).map((name) => [name, kept.has(name) ? 'gpu-buffer' : 'cpu']),
          ),
        }
      : {}),
    ...options.session,
  } as InferenceSession.SessionOptions)
  const session = await attempt(creating)
  return {
    device,
    inputs: [...inputs.keys()],
    async run(feeds, into, only) {
      bindDims(
        [...inputs].map(([name, node]) => {
          const feed = feeds[name]
          if (feed === undefined) throw new Error(`input '${name}' was not fed`)
          return { tensor: node.outputs[0], shape: feed.dims }
        }),
      )
      if (into === undefined)
        return (await attempt(only ? session.run(feeds, only) : session.run(feeds))) as Record<string, OrtTensor>
      const fetches = Object.fromEntries((only ?? Object.keys(outputs)).map((name) => [name, into[name] ?? null]))
      const results = (await attempt(session.run(feeds, fetches))) as Record<string, OrtTensor>
      for (const name of Object.keys(into)) {
        // The binding gives back a copy beside what it has written: dropped now rather than when memory is collected.
        if (!(name in results)) continue
        if (results[name] !== into[name]) dropCopy(results[name], into[name])
        results[name] = into[name]
      }
      return results
    },
    flops: (dims) => nodes.reduce((total, node) => total + (node.flops?.(dims) ?? 0), 0),
    release: () => session.release(),
  }
}

function dropCopy(copy: OrtTensor, original: OrtTensor): void {
  const [{ buffer }, { buffer: kept }] = [copy.data as Float32Array, original.data as Float32Array]
  if (buffer !== kept && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
