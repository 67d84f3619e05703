/** An encoder's ONNX graph as a function from padded token ids to hidden states, through the session of @huggingface/transformers. */

import { join, posix } from 'node:path'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common'
import { isDeviceLost, isOutOfMemory, runtimeError } from '../engine/faults.ts'
import type { DeviceName } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import { DTYPE_SUFFIXES, type EncoderDtype, type EncoderFiles } from '../hub/encoder.ts'
import { decodeInto } from '../models/float-formats.ts'

export interface EncoderSessionOptions {
  files: EncoderFiles
  device: DeviceName
  dtype: EncoderDtype
  /** Inside an operator, on cpu. */
  threads: number
  /** Take the vectors that the graph pools itself, where it has them. */
  pooled: boolean
  /** Take the logits of a classifier instead: one vector a text, d labels. */
  logits?: boolean
}

export interface EncoderSession {
  /** The output that is read. */
  readonly output: string
  /** Whether it is one vector a text, [rows, d], and not hidden states, [rows, length, d]. */
  readonly pooled: boolean
  /** d */
  readonly dimensions: number
  /** ONNX Runtime's version. */
  readonly version: string
  /** Ids [rows, length], row-major, padded on the right; `tokens` of each row are real. Gives [rows, length, d] or [rows, d]. */
  run(ids: Int32Array, tokens: ArrayLike<number>, length: number): Promise<Float32Array>
  release(): Promise<void>
}

const HIDDEN = ['last_hidden_state', 'token_embeddings', 'hidden_states']
const POOLED = 'sentence_embedding'

/**
 * Opens the graph and runs it once on a token, so that what is no encoder is told now.
 *
 * @throws {WinnowError} `bad-onnx`, `not-an-encoder`, `unknown-input`, `bad-encoder-output`, `device-unavailable`, `out-of-memory`.
 */
export async function openEncoderSession(options: EncoderSessionOptions): Promise<EncoderSession> {
  const { files, device } = options
  const session = await openGraph(options)
  try {
    const output = options.logits ? logitsOf(session, files) : outputOf(session, files, options.pooled)
    const feedsOf = await feeder(session, files)
    const raw = async (ids: Int32Array, tokens: ArrayLike<number>, length: number): Promise<OrtTensor> => {
      try {
        return (await session.run(feedsOf(ids, tokens, length), [output]))[output] as OrtTensor
      } catch (error) {
        throw runFault(error, options, session)
      }
    }
    const trial = await raw(Int32Array.of(0, 0, 0, 0), [2, 2], 2)
    const dimensions = dimensionsOf(trial.dims, output, files)
    const pooled = trial.dims.length === 2
    const { env } = await import('onnxruntime-node')
    return {
      output,
      pooled,
      dimensions,
      version: env.versions.node ?? env.versions.common,
      async run(ids, tokens, length) {
        const result = await raw(ids, tokens, length)
        const rows = ids.length / length
        const expected = pooled ? [rows, dimensions] : [rows, length, dimensions]
        if (result.dims.join() !== expected.join()) throw badShape(result.dims, expected, output, files)
        return floats(result, output, files)
      },
      release: () => session.release(),
    }
  } catch (error) {
    await session.release()
    throw device === 'cpu' ? error : deviceFault(error, device)
  }
}

async function openGraph({ files, device, dtype, threads }: EncoderSessionOptions): Promise<InferenceSession> {
  const { PreTrainedModel } = await import('@huggingface/transformers')
  const folder = posix.dirname(files.graph)
  try {
    const model = await PreTrainedModel.from_pretrained(files.directory, {
      // `custom` is the library's name for one graph of no family that it knows: it is the graph that says what it takes and gives.
      config: { ...files.config, model_type: 'custom' } as never,
      local_files_only: true,
      subfolder: folder === '.' ? '' : folder,
      model_file_name: posix.basename(files.graph, `${DTYPE_SUFFIXES[dtype]}.onnx`),
      device,
      dtype,
      use_external_data_format: false,
      session_options: {
        graphOptimizationLevel: 'all',
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        // Batches have many shapes: a plan of memory for each would keep as many arenas.
        enableMemPattern: false,
        logSeverityLevel: 3,
      },
    })
    return (model.sessions as Record<string, InferenceSession>).model
  } catch (error) {
    if (device !== 'cpu') throw deviceFault(error, device)
    if (isOutOfMemory(error)) throw runtimeError(error, device)
    throw new WinnowError(
      'input',
      {
        code: 'bad-onnx',
        message: 'ONNX Runtime cannot load the graph',
        file: join(files.directory, files.graph),
        found: reason(error),
        hint: 'Fetch or export it again; tensors kept outside it (…_data) belong beside it.',
      },
      { cause: error },
    )
  }
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n')[0].slice(0, 300)

function deviceFault(error: unknown, device: DeviceName): unknown {
  if (error instanceof WinnowError || isOutOfMemory(error) || isDeviceLost(error)) return runtimeError(error, device)
  return new WinnowError(
    'failure',
    {
      code: 'device-unavailable',
      message: `${device} cannot run the encoder`,
      found: reason(error),
      hint: '`winnow doctor` says more; the cpu device works everywhere.',
    },
    { cause: error },
  )
}

/** Which output to read. Throws `not-an-encoder`. */
function outputOf({ outputNames }: InferenceSession, files: EncoderFiles, pooled: boolean): string {
  if (pooled && outputNames.includes(POOLED)) return POOLED
  const named = HIDDEN.find((name) => outputNames.includes(name))
  if (named !== undefined) return named
  const [first] = outputNames.filter(
    (name) => !/^(logits|loss|present|start_|end_)|pooler|sentence_embedding/.test(name),
  )
  if (first !== undefined) return first
  throw new WinnowError('input', {
    code: 'not-an-encoder',
    message: outputNames.includes('logits')
      ? 'the graph predicts tokens or labels (a language model or a classifier) and gives no hidden states'
      : 'the graph gives no hidden states',
    file: join(files.directory, files.graph),
    found: `outputs ${outputNames.slice(0, 6).join(', ')}`,
    expected: `${HIDDEN.slice(0, 2).join(', ')} or ${POOLED}`,
    hint: 'Export it with `optimum-cli export onnx --task feature-extraction`, or name an encoder.',
  })
}

/** Throws `not-a-classifier`. */
function logitsOf({ outputNames }: InferenceSession, files: EncoderFiles): string {
  if (outputNames.includes('logits')) return 'logits'
  throw new WinnowError('input', {
    code: 'not-a-classifier',
    message: 'the graph gives no logits of labels',
    file: join(files.directory, files.graph),
    found: `outputs ${outputNames.slice(0, 6).join(', ')}`,
    expected: 'logits, [rows, labels]',
    hint: 'Export it with `optimum-cli export onnx --task text-classification`.',
  })
}

/** d of [2, 2, d] or [2, d]. Throws `bad-encoder-output`. */
function dimensionsOf(dims: readonly number[], output: string, files: EncoderFiles): number {
  const d = dims[dims.length - 1]
  const isRight = dims.length === 3 ? dims[0] === 2 && dims[1] === 2 : dims.length === 2 && dims[0] === 2
  if (isRight && d > 0) return d
  throw badShape(dims, ['rows', 'length', 'd'], output, files)
}

const badShape = (dims: readonly number[], expected: readonly unknown[], output: string, files: EncoderFiles) =>
  new WinnowError('input', {
    code: 'bad-encoder-output',
    message: `the output '${output}' has not the shape of hidden states`,
    file: join(files.directory, files.graph),
    found: `[${dims.join(', ')}]`,
    expected: `[${expected.join(', ')}]`,
    hint: 'Export it with `optimum-cli export onnx --task feature-extraction`, its batch and sequence axes dynamic.',
  })

function runFault(error: unknown, { files, device }: EncoderSessionOptions, { inputNames }: InferenceSession): unknown {
  if (device !== 'cpu' || isOutOfMemory(error) || isDeviceLost(error)) return deviceFault(error, device)
  return new WinnowError(
    'input',
    {
      code: 'bad-onnx',
      message: 'ONNX Runtime cannot run the graph',
      file: join(files.directory, files.graph),
      found: `${reason(error)} (inputs ${inputNames.slice(0, 4).join(', ')})`,
      hint: 'Export it with `optimum-cli export onnx --task feature-extraction`, its batch and sequence axes dynamic.',
    },
    { cause: error },
  )
}

function floats(tensor: OrtTensor, output: string, files: EncoderFiles): Float32Array {
  if (tensor.type === 'float32') return tensor.data as Float32Array
  const { buffer, byteOffset, byteLength } = tensor.data as Uint16Array
  const formats = { float16: 'F16', bfloat16: 'BF16', float64: 'F64' } as const
  const format = formats[tensor.type as keyof typeof formats]
  if (format === undefined)
    throw new WinnowError('input', {
      code: 'bad-encoder-output',
      message: `the output '${output}' holds no floating-point numbers`,
      file: join(files.directory, files.graph),
      found: tensor.type,
      expected: 'float32 or float16',
    })
  const values = new Float32Array(tensor.size)
  decodeInto(values, 0, new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength), format)
  return values
}

type Feeder = (ids: Int32Array, tokens: ArrayLike<number>, length: number) => Record<string, OrtTensor>

/**
 * What the graph takes, made from ids: `input_ids`, `attention_mask`, `token_type_ids` (0), `position_ids` (0 to length - 1) and an empty
 * cache of keys and values, as far as it has these inputs. Throws `unknown-input`.
 */
async function feeder({ inputMetadata }: InferenceSession, files: EncoderFiles): Promise<Feeder> {
  const { Tensor } = await import('onnxruntime-common')
  const makers = inputMetadata.map((input) => {
    const kind = input.name.startsWith('past_key_values.') ? 'past' : input.name
    if (!input.isTensor || !['input_ids', 'attention_mask', 'token_type_ids', 'position_ids', 'past'].includes(kind))
      throw new WinnowError('input', {
        code: 'unknown-input',
        message: `the graph asks for '${input.name}', which is no part of a text`,
        file: join(files.directory, files.graph),
        expected: 'input_ids, attention_mask, token_type_ids, position_ids',
        hint: 'Export it with `optimum-cli export onnx --task feature-extraction`.',
      })
    const { type, shape } = input
    return { name: input.name, kind, type, shape }
  })
  return (ids, tokens, length) => {
    const rows = ids.length / length
    const value = (kind: string, row: number, column: number) => {
      if (kind === 'input_ids') return ids[row * length + column]
      if (kind === 'attention_mask') return column < tokens[row] ? 1 : 0
      return kind === 'position_ids' ? column : 0
    }
    const integers = (kind: string, wide: boolean) => {
      // An int64 is its lower word and, for what is not negative, 0.
      const words = new Int32Array(ids.length * (wide ? 2 : 1))
      for (let row = 0, at = 0; row < rows; row++)
        for (let column = 0; column < length; column++, at += wide ? 2 : 1) words[at] = value(kind, row, column)
      return wide ? new BigInt64Array(words.buffer) : words
    }
    return Object.fromEntries(
      makers.map(({ name, kind, type, shape }) => {
        if (kind !== 'past')
          return [name, new Tensor(type as 'int64', integers(kind, type === 'int64') as never, [rows, length])]
        const dims = shape.map((side) => (typeof side === 'number' ? side : /batch/.test(side) ? rows : 0))
        return [
          name,
          new Tensor(type as 'float32', new (type === 'float16' ? Uint16Array : Float32Array)(0) as never, dims),
        ]
      }),
    )
  }
}
