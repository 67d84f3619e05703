/** Sentence-embedding and encoder models: a hub id or a directory with config.json, tokenizer.json and an ONNX graph. */

import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { DeviceName } from '../engine/session.ts'
import { WinnowError } from '../errors.ts'
import { DTYPE_SUFFIXES, type EncoderDtype, type EncoderFiles, resolveEncoder } from '../hub/encoder.ts'
import type { ResolveOptions } from '../hub/resolve.ts'
import { planTextBatches } from './batches.ts'
import type { Embedder, EmbedderIdentity, EmbedOptions } from './embedder.ts'
import { type EncoderSession, openEncoderSession } from './encoder-session.ts'
import { ownPooling, tokenLimit } from './encoder-settings.ts'
import { maybeBrokenRow, normaliseRows, type Pooling, pool } from './pooling.ts'
import { openTextTokenizer, type TextTokenizer } from './text-tokens.ts'

export interface EncoderOptions extends Pick<ResolveOptions, 'cacheDir' | 'endpoint' | 'token'> {
  /** Hub id (`owner/name`, `owner/name@revision`) or a directory with config.json, tokenizer.json and onnx/model.onnx (or model.onnx). */
  model: string
  /** Branch, tag or commit of a hub id. */
  revision?: string
  /** Ask no hub, use the cache. */
  offline?: boolean
  /**
   * How the hidden states of a text's tokens become one vector; padding never counts (pooling.ts has the formulas). Default `auto`: the graph's
   * own `sentence_embedding` where it has one, else what the model's sentence-transformers files say, else `mean`.
   */
  pooling?: 'auto' | Pooling
  /** Scale vectors to Euclidean length 1. Default true. */
  normalise?: boolean
  /** Longer texts are cut to this many tokens, special tokens included. Default: the model's own limit, at most 512. */
  maxTokens?: number
  /** Put before each text: `passage: ` for the e5 models. Default none. */
  prefix?: string
  /** Tokens of a batch, padding included. Default 512 on cpu (docs/benchmarks/encoder.md), 16,384 on other devices. */
  tokensPerBatch?: number
  /** Default cpu. */
  device?: DeviceName
  /** Threads of the cpu device. Default: as many as the machine runs at once, at most 16. */
  threads?: number
  /** Which graph: `fp16` reads onnx/model_fp16.onnx, `q8` onnx/model_quantized.onnx. Default fp32. */
  dtype?: EncoderDtype
  onDownload?: (progress: { file: string; bytes: number; total: number }) => void
  /** Ends the opening, downloads too, with its own reason. */
  signal?: AbortSignal
}

/** What an encoder has done since it was opened. */
export interface EncoderCounts {
  texts: number
  /** Texts longer than `maxTokens`. */
  cut: number
  /** Real tokens, after cutting. */
  tokens: number
  /** Tokens computed: the share of padding is 1 - tokens / padded. */
  padded: number
}

export interface Encoder extends Embedder {
  readonly counts: Readonly<EncoderCounts>
  /** What the reader should know although nothing failed: a hub that was not reached, say. */
  readonly notices: readonly string[]
}

/** Grows when the same files and options give other vectors than before. */
const VERSION = 1
const MOST_THREADS = 16
/** Activations of so many tokens stay in a core's cache; a GPU wants more work at a time. */
const TOKENS_PER_BATCH = { cpu: 512, webgpu: 16_384, cuda: 16_384 }

/**
 * Opens an encoder. Nothing of the model is run as code: the graph goes to ONNX Runtime (through @huggingface/transformers, which is loaded
 * now, not before), the tokenizer to `tokenizers`. A directory is read and nothing else; a hub id is fetched once, at one commit, verified.
 *
 * Texts of one call are sorted by length and cut into batches (batches.ts); which texts share a batch depends on the texts and
 * `tokensPerBatch` alone, so the same call gives the same bits. On cpu it gives them with any number of threads too: weights in a graph are packed when it is
 * loaded, and sums then do not depend on how ONNX Runtime cuts a product (checked with 1 to 8 threads). In other company a text's vector differs by rounding,
 * less than 1e-6. A text of no tokens gets the zero vector. Memory: the graph's weights, one batch, and the ids of the call's texts.
 *
 * @throws {WinnowError} `missing-model`, `no-onnx`, `missing-tokenizer`, `incomplete-model`, `bad-json`, `bad-tokenizer`, `lfs-pointer`, `bad-onnx`,
 * `not-an-encoder`, `unknown-input`, `bad-encoder-output`, `unsupported-pooling`, `unsupported-module`, `bad-option`, `device-unavailable`; for a hub
 * id as `resolveModel`. `embed` throws `bad-embedding` where a vector is not finite, `out-of-memory`, `device-lost`, and the signal's reason.
 */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  const { model, device = 'cpu', dtype = 'fp32', normalise = true, prefix = '', signal } = options
  if (!Object.hasOwn(DTYPE_SUFFIXES, dtype))
    throw badOption('dtype', String(dtype), Object.keys(DTYPE_SUFFIXES).join(', '))
  const threads = positive('threads', options.threads ?? Math.min(availableParallelism(), MOST_THREADS))
  const tokensPerBatch = positive('tokensPerBatch', options.tokensPerBatch ?? TOKENS_PER_BATCH[device])
  const { revision, offline, cacheDir, endpoint, token, onDownload } = options
  const resolving = { revision, offline, cacheDir, endpoint, token, signal, onProgress: onDownload, dtype }
  const files = await resolveEncoder(model, resolving)
  signal?.throwIfAborted()
  const maxTokens = tokenLimit(files, options.maxTokens)
  const tokenizer = await openTextTokenizer({
    json: files.tokenizerJson,
    maxTokens,
    file: join(files.directory, 'tokenizer.json'),
  })
  const asked = options.pooling ?? 'auto'
  const session = await openEncoderSession({ files, device, dtype, threads, pooled: asked === 'auto' })
  try {
    const pooling = session.pooled ? undefined : asked === 'auto' ? ownPooling(files) : asked
    const lowercase = files.sentenceConfig?.do_lower_case === true
    const identity: EmbedderIdentity = {
      kind: 'encoder',
      version: VERSION,
      files: await filesHash(files),
      pooling: pooling ?? session.output,
      normalise,
      maxTokens,
      prefix,
      dtype,
      onnxruntime: session.version,
    }
    signal?.throwIfAborted()
    const prepare = (text: string) => prefix + (lowercase ? text.toLowerCase() : text)
    const setup = { session, tokenizer, prepare, pooling, normalise, tokensPerBatch, name: model }
    return encoder(setup, identity, files.notices)
  } catch (error) {
    await session.release()
    throw error
  }
}

interface Setup {
  session: EncoderSession
  tokenizer: TextTokenizer
  prepare: (text: string) => string
  /** Undefined where the graph pools. */
  pooling: Pooling | undefined
  normalise: boolean
  tokensPerBatch: number
  name: string
}

function encoder(setup: Setup, identity: EmbedderIdentity, notices: readonly string[]): Encoder {
  const { session, tokenizer, tokensPerBatch } = setup
  const { dimensions: d } = session
  const counts: EncoderCounts = { texts: 0, cut: 0, tokens: 0, padded: 0 }
  let open = true
  return {
    name: setup.name,
    dimensions: d,
    identity,
    counts,
    notices,
    async embed(texts, { signal, onProgress }: EmbedOptions = {}) {
      if (!open) throw new Error(`the encoder '${setup.name}' is closed`)
      const { ids, cut } = await tokenizer.encode(texts.map(setup.prepare), signal)
      const lengths = Uint32Array.from(ids, ({ length }) => length)
      const plan = planTextBatches(lengths, { tokensPerBatch })
      const vectors = new Float32Array(texts.length * d)
      let done = lengths.reduce((empty, length) => empty + (length === 0 ? 1 : 0), 0)
      for (const { rows, length } of plan.batches) {
        signal?.throwIfAborted()
        const found = await embedBatch(setup, rows, { ids, length })
        const broken = maybeBrokenRow(found, d)
        if (broken !== undefined) throw notFinite(setup, texts[rows[broken]])
        rows.forEach((row, i) => {
          vectors.set(found.subarray(i * d, (i + 1) * d), row * d)
        })
        done += rows.length
        onProgress?.(done)
      }
      counts.texts += texts.length
      counts.cut += cut
      counts.tokens += plan.tokens
      counts.padded += plan.padded
      return vectors
    },
    async [Symbol.asyncDispose]() {
      if (!open) return
      open = false
      await session.release()
    },
  }
}

interface BatchTokens {
  ids: readonly ArrayLike<number>[]
  length: number
}

/** Vectors of the rows, [rows, d]. */
async function embedBatch(setup: Setup, rows: Uint32Array, { ids, length }: BatchTokens): Promise<Float64Array> {
  const { session, pooling, normalise } = setup
  const { dimensions } = session
  const padded = new Int32Array(rows.length * length)
  const tokens = new Uint32Array(rows.length)
  rows.forEach((row, i) => {
    padded.set(ids[row] as number[], i * length)
    tokens[i] = ids[row].length
  })
  const states = await session.run(padded, tokens, length)
  const found =
    pooling === undefined ? Float64Array.from(states) : pool(pooling, { states, length, dimensions, tokens })
  return normalise ? normaliseRows(found, dimensions) : found
}

const notFinite = ({ name }: Setup, text: string) =>
  new WinnowError('failure', {
    code: 'bad-embedding',
    message: `the encoder '${name}' gives numbers that are not finite`,
    found: `NaN or an infinity for the text ${JSON.stringify(text.slice(0, 60))}${text.length > 60 ? '…' : ''}`,
    hint: 'Use dtype fp32 (half precision overflows in some models), or another model.',
  })

async function filesHash(files: EncoderFiles): Promise<string> {
  const records = Object.entries(await files.hashes()).map(([path, { sha256 }]) => `${sha256}  ${path}\n`)
  return createHash('sha256').update(records.sort().join('')).digest('hex')
}

function positive(path: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw badOption(path, String(value), 'a whole number above 0')
}

const badOption = (path: string, found: string, expected: string) =>
  new WinnowError('usage', { code: 'bad-option', message: `'${path}' of the encoder is none`, path, found, expected })
