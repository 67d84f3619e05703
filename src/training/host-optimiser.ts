/** Training state in the machine's own memory: parameters, gradients and moments side by side, renewed in place. */

import type { Tensor as OrtTensor } from 'onnxruntime-common'
import { negate } from '../engine/operators/elementwise.ts'
import { compile, type OrtApi } from '../engine/session.ts'
import { input, type TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { Parameter } from '../models/parameters.ts'
import type { Crew, Parallel } from '../parallel/parallel.ts'
import { type WasmMemory, WebAssembly } from '../webassembly/webassembly.ts'
import { type AdamWScalars, SCALAR_NAMES } from './adamw.ts'
import { adamwModule, SCALAR_BYTES } from './adamw-kernel.ts'
import type { Optimiser } from './optimiser.ts'
import { attach, type Block, type Command, type SharedState } from './optimiser-shard.ts'
import type { TrainingState } from './state.ts'

const PAGE = 2 ** 16
/** Bytes of one WebAssembly memory, a page less than 32 bits address. */
const BANK_BYTES = 2 ** 32 - PAGE

export interface HostOptions {
  /** Default: no threads but this one. */
  parallel?: Parallel
  /** Parameters below which other threads cost more than they save. Default 2^21. */
  worthThreads?: number
  /** Bytes of one array that a thread takes at a time, a multiple of 16. Default 1 MiB. */
  blockBytes?: number
  /** Most bytes of one memory. Default 4 GiB less a page. */
  bankBytes?: number
}

const KINDS = ['parameters', 'gradients', 'first', 'second'] as const
type Kind = (typeof KINDS)[number]

interface Place {
  parameter: Parameter
  bank: number
  /** Elements. */
  size: number
  /** Address of each array. */
  at: Record<Kind, number>
}

/**
 * Allocates state for `parameters`: 16 bytes a parameter. Threads share the work of a step, not its result: the same bits for any number.
 *
 * @throws {WinnowError} `parameter-too-large`: one parameter's four arrays do not fit a memory of 4 GiB; `out-of-memory`.
 */
export async function hostOptimiser(
  parameters: readonly Parameter[],
  ort: OrtApi,
  options: HostOptions = {},
): Promise<Optimiser> {
  const { parallel, worthThreads = 2 ** 21 } = options
  const { places, bankBytes, blocks } = layOut(parameters, options)
  const total = places.reduce((sum, { size }) => sum + size, 0)
  const worth = parallel !== undefined && parallel.threads > 1 && total >= worthThreads
  const shared = worth && (await acceptsSharedMemory(ort))
  const banks = await Promise.all(
    bankBytes.map(async (bytes) => {
      const pages = Math.ceil(bytes / PAGE)
      const memory = allocate(pages, shared)
      return { memory, module: await adamwModule(pages, shared) }
    }),
  )
  const ticket = shared ? new SharedArrayBuffer(4) : new ArrayBuffer(4)
  const state: SharedState = { banks, blocks, ticket }
  const work = await attach(state)
  const module = new URL(`./optimiser-shard${import.meta.url.slice(-3)}`, import.meta.url).href
  const crew: Crew | undefined = shared ? parallel?.start(module, state) : undefined
  const run = async (command: Command) => {
    new Int32Array(ticket)[0] = 0
    const others = crew?.run(command)
    try {
      work(command)
    } finally {
      await others
    }
  }

  const view = ({ bank, size, at }: Place, kind: Kind) => new Float32Array(banks[bank].memory.buffer, at[kind], size)
  const tensors = (kind: Kind, prefix: string): Record<string, OrtTensor> =>
    Object.fromEntries(
      places.map((place) => [
        `${prefix}${place.parameter.name}`,
        new ort.Tensor('float32', view(place, kind), place.parameter.shape) as OrtTensor,
      ]),
    )
  const [parameterTensors, gradientTensors] = [tensors('parameters', ''), tensors('gradients', 'gradient/')]
  const map = (kind: Kind): TensorMap =>
    new Map(places.map((place) => [place.parameter.name, { shape: place.parameter.shape, data: view(place, kind) }]))

  /** Tokens whose rows are not zero in the gradient of a table that is only looked up. */
  const touched = new Map<string, Int32Array[]>()
  const addRows = (place: Place, rows: Float32Array, { tokens, first }: { tokens: Int32Array; first: boolean }) => {
    const { name, shape } = place.parameter
    const [width, gradient] = [shape[1], view(place, 'gradients')]
    const before = touched.get(name) ?? []
    if (first) {
      for (const pass of before) for (const token of pass) gradient.fill(0, token * width, (token + 1) * width)
      before.length = 0
    }
    tokens.forEach((token, i) => {
      for (let j = 0, at = token * width, from = i * width; j < width; j++) gradient[at + j] += rows[from + j]
    })
    touched.set(name, [...before, tokens])
  }

  return {
    parameters: () => parameterTensors,
    gradients: () => gradientTensors,
    keep(results, pass) {
      for (const place of places) {
        const rows = results[`rows/${place.parameter.name}`]
        if (rows !== undefined) addRows(place, rows.data as Float32Array, pass)
      }
    },
    async norm() {
      await run('squares')
      let sum = 0
      for (const { bank, sums } of blocks) {
        const [a, b] = new Float64Array(banks[bank].memory.buffer, sums, 2)
        sum += a + b
      }
      return Math.sqrt(sum)
    },
    async update(scalars) {
      for (const { memory } of banks) writeScalars(memory, scalars)
      await run('update')
    },
    async read() {
      return { parameters: map('parameters'), first: map('first'), second: map('second') }
    },
    write(values) {
      for (const place of places) {
        for (const kind of ['parameters', 'first', 'second'] as const) {
          const tensor = (values as TrainingState)[kind].get(place.parameter.name)
          if (tensor === undefined) throw new Error(`state: ${kind} of '${place.parameter.name}' is missing`)
          view(place, kind).set(tensor.data)
        }
      }
    },
    async release() {
      await crew?.[Symbol.asyncDispose]()
    },
  }
}

function allocate(pages: number, shared: boolean): WasmMemory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
  } catch (error) {
    throw new WinnowError(
      'failure',
      {
        code: 'out-of-memory',
        message: 'there is not enough memory for the parameters, their gradients and moments',
        found: `${pages * PAGE} bytes asked for at once`,
        hint: 'Train low-rank adapters instead (--lora 16), or a smaller model.',
      },
      { cause: error },
    )
  }
}

/**
 * Whether ONNX Runtime takes tensors in memory that threads share: under Node 22 it does not, as Node-API there sees no shared buffers. The step
 * then runs on one thread.
 */
async function acceptsSharedMemory(ort: OrtApi): Promise<boolean> {
  const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const probe = await compile({ y: negate(input('x', [1])) }, { ort, name: 'cpu', threads: 1 })
  const tensor = (at: number) => new ort.Tensor('float32', new Float32Array(buffer, at, 1).fill(1), [1]) as OrtTensor
  try {
    const y = tensor(16)
    await probe.run({ x: tensor(0) }, { y })
    return (y.data as Float32Array)[0] === -1
  } catch {
    return false
  } finally {
    await probe.release()
  }
}

/** Scalars lie at the start of each memory: for matrices, which decay, and behind them for what does not. */
function writeScalars(memory: WasmMemory, scalars: AdamWScalars): void {
  const values = new Float32Array(memory.buffer, 0, (2 * SCALAR_BYTES) / 4)
  SCALAR_NAMES.forEach((name, i) => {
    values[i] = scalars[name]
    values[SCALAR_BYTES / 4 + i] = name === 'keep' ? 1 : scalars[name]
  })
}

function layOut(parameters: readonly Parameter[], options: HostOptions) {
  const { blockBytes = 2 ** 20, bankBytes: most = BANK_BYTES } = options
  const places: Place[] = []
  const blocks: Block[] = []
  const bankBytes: number[] = []
  const sizes = parameters.map(({ shape }) => shape.reduce((a, b) => a * b, 1))
  const padded = (size: number) => 16 * Math.ceil(size / 4)
  const needs = (size: number) => 4 * padded(size) + 16 * Math.ceil(padded(size) / blockBytes)
  let bank = -1
  parameters.forEach((parameter, i) => {
    const size = sizes[i]
    if (needs(size) + 2 * SCALAR_BYTES > most) throw tooLarge(parameter)
    if (bank < 0 || bankBytes[bank] + needs(size) > most) bankBytes[++bank] = 2 * SCALAR_BYTES
    const bytes = padded(size)
    const start = bankBytes[bank]
    const [p, g, m, v, sums] = [0, 1, 2, 3, 4].map((array) => start + array * bytes)
    bankBytes[bank] += needs(size)
    places.push({ parameter, bank, size, at: { parameters: p, gradients: g, first: m, second: v } })
    for (let from = 0, block = 0; from < bytes; from += blockBytes, block++) {
      blocks.push({
        bank,
        parameters: p + from,
        gradients: g + from,
        first: m + from,
        second: v + from,
        bytes: Math.min(blockBytes, bytes - from),
        scalars: parameter.decay ? 0 : SCALAR_BYTES,
        sums: sums + 16 * block,
      })
    }
  })
  return { places, blocks, bankBytes }
}

function tooLarge({ name, shape }: Parameter): WinnowError {
  return new WinnowError('input', {
    code: 'parameter-too-large',
    message: `parameter '${name}' is too large to be trained whole`,
    found: `[${shape.join(', ')}]`,
    expected: 'fewer than 2^28 values',
    hint: 'Train low-rank adapters instead: --lora 16.',
  })
}
