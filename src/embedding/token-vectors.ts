/** Texts to the vectors of their tokens, with an encoder's graph: what BERTScore compares. */

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { resolveEncoder } from '../hub/encoder.ts'
import { planTextBatches } from './batches.ts'
import type { EncoderOptions } from './encoder.ts'
import { openEncoderSession } from './encoder-session.ts'
import { tokenLimit } from './encoder-settings.ts'
import { openTextTokenizer } from './text-tokens.ts'

export interface EncodedText {
  /** Special tokens included. */
  ids: ArrayLike<number>
  /** Hidden states, row-major [tokens, d]. */
  vectors: Float32Array
}

export interface TokenEncoder extends AsyncDisposable {
  readonly name: string
  readonly dimensions: number
  /** Ids that the tokenizer puts about every text, even an empty one. */
  readonly special: readonly number[]
  encode(texts: readonly string[], options?: { signal?: AbortSignal }): Promise<EncodedText[]>
}

export type TokenEncoderOptions = Omit<EncoderOptions, 'pooling' | 'normalise' | 'prefix'>

/**
 * Opens an encoder for its tokens' vectors: the hidden states that its graph gives, which are those of the last layer of what was exported. Longer texts are
 * cut to the model's limit. Batches, files, errors and bits as `openEncoder`; all vectors of a call are held at once, 4 d bytes a token.
 */
export async function openTokenEncoder(options: TokenEncoderOptions): Promise<TokenEncoder> {
  const { model, device = 'cpu', dtype = 'fp32', tokensPerBatch = 512, signal } = options
  const { revision, offline, cacheDir, endpoint, token, onDownload } = options
  const resolving = { revision, offline, cacheDir, endpoint, token, signal, onProgress: onDownload, dtype }
  const files = await resolveEncoder(model, resolving)
  const file = join(files.directory, 'tokenizer.json')
  const maxTokens = tokenLimit(files, options.maxTokens)
  const tokenizer = await openTextTokenizer({ json: files.tokenizerJson, maxTokens, file })
  const [empty] = (await tokenizer.encode([''])).ids
  const threads = options.threads ?? Math.min(availableParallelism(), 16)
  const session = await openEncoderSession({ files, device, dtype, threads, pooled: false })
  const { dimensions: d } = session
  return {
    name: model,
    dimensions: d,
    special: Array.from(empty),
    async encode(texts, { signal: stop } = {}) {
      const { ids } = await tokenizer.encode(texts, stop)
      const encoded = ids.map((own) => ({ ids: own, vectors: new Float32Array(own.length * d) }))
      const plan = planTextBatches(
        Uint32Array.from(ids, ({ length }) => length),
        { tokensPerBatch },
      )
      for (const { rows, length } of plan.batches) {
        stop?.throwIfAborted()
        const padded = new Int32Array(rows.length * length)
        const tokens = Uint32Array.from(rows, (row) => ids[row].length)
        rows.forEach((row, i) => void padded.set(ids[row] as number[], i * length))
        const states = await session.run(padded, tokens, length)
        rows.forEach((row, i) => {
          const own = states.subarray(i * length * d, (i * length + tokens[i]) * d)
          if (!own.every(Number.isFinite)) throw notFinite(model, texts[row])
          encoded[row].vectors.set(own)
        })
      }
      return encoded
    },
    [Symbol.asyncDispose]: () => session.release(),
  }
}

const notFinite = (model: string, text: string) =>
  new WinnowError('failure', {
    code: 'bad-embedding',
    message: `the encoder '${model}' gives numbers that are not finite`,
    found: `NaN or an infinity for the text ${JSON.stringify(text.slice(0, 60))}`,
    hint: 'Use dtype fp32, or another model.',
  })
