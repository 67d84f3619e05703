/** Classifiers of texts in the Hugging Face layout: config.json, tokenizer.json and an ONNX graph that gives logits of labels. No code is run. */

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { resolveEncoder } from '../hub/encoder.ts'
import { planTextBatches } from './batches.ts'
import type { EncoderOptions } from './encoder.ts'
import { openEncoderSession } from './encoder-session.ts'
import { tokenLimit } from './encoder-settings.ts'
import { openTextTokenizer } from './text-tokens.ts'

export type ClassifierOptions = Omit<EncoderOptions, 'pooling' | 'normalise' | 'prefix'>

export interface TextClassifier extends AsyncDisposable {
  readonly name: string
  /** By place, from `id2label` of config.json. */
  readonly labels: readonly string[]
  /** Whether labels exclude each other: probabilities of a text then sum to 1, and else each label has its own. */
  readonly exclusive: boolean
  /** Row-major [texts, labels]. */
  probabilities(texts: readonly string[], options?: { signal?: AbortSignal }): Promise<Float64Array>
}

/**
 * Opens a classifier: a directory or a hub id with onnx/model.onnx, such as optimum's export of a toxicity model. Probabilities are the softmax of a text's
 * logits, or for `problem_type: multi_label_classification` and for a single label the logistic function of each. Longer texts are cut to
 * the model's limit.
 *
 * @throws {WinnowError} as `openEncoder`; `not-a-classifier` where there are no logits, or not as many as labels.
 */
export async function openTextClassifier(options: ClassifierOptions): Promise<TextClassifier> {
  const { model, device = 'cpu', dtype = 'fp32', tokensPerBatch = 512, signal } = options
  const { revision, offline, cacheDir, endpoint, token, onDownload } = options
  const resolving = { revision, offline, cacheDir, endpoint, token, signal, onProgress: onDownload, dtype }
  const files = await resolveEncoder(model, resolving)
  const maxTokens = tokenLimit(files, options.maxTokens)
  const file = join(files.directory, 'tokenizer.json')
  const tokenizer = await openTextTokenizer({ json: files.tokenizerJson, maxTokens, file })
  const threads = options.threads ?? Math.min(availableParallelism(), 16)
  const session = await openEncoderSession({ files, device, dtype, threads, pooled: false, logits: true })
  const count = session.dimensions
  const names = Object.entries((files.config.id2label ?? {}) as Record<string, string>)
  const labels = Array.from({ length: count }, (_, i) => names.find(([id]) => Number(id) === i)?.[1] ?? `LABEL_${i}`)
  if (!session.pooled || (names.length > 0 && names.length !== count)) {
    await session.release()
    throw new WinnowError('input', {
      code: 'not-a-classifier',
      message: 'the graph gives not one logit for each label of a text',
      file: join(files.directory, files.graph),
      found: session.pooled ? `${count} logits` : 'logits of each token',
      expected: names.length > 0 ? `${names.length}, the labels of config.json` : '[rows, labels]',
    })
  }
  const exclusive = count > 1 && files.config.problem_type !== 'multi_label_classification'
  return {
    name: model,
    labels,
    exclusive,
    async probabilities(texts, { signal: stop } = {}) {
      const { ids } = await tokenizer.encode(texts, stop)
      const lengths = Uint32Array.from(ids, ({ length }) => length)
      const found = new Float64Array(texts.length * count)
      for (const { rows, length } of planTextBatches(lengths, { tokensPerBatch }).batches) {
        stop?.throwIfAborted()
        const padded = new Int32Array(rows.length * length)
        const tokens = Uint32Array.from(rows, (row) => lengths[row])
        rows.forEach((row, i) => void padded.set(ids[row] as number[], i * length))
        const logits = await session.run(padded, tokens, length)
        rows.forEach((row, i) => {
          found.set(probabilitiesOf(logits.subarray(i * count, (i + 1) * count), exclusive), row * count)
        })
      }
      const broken = found.findIndex((value) => !Number.isFinite(value))
      if (broken >= 0)
        throw new WinnowError('failure', {
          code: 'bad-logits',
          message: `the classifier '${model}' gives numbers that are not finite`,
          found: `a text of ${JSON.stringify(texts[Math.floor(broken / count)].slice(0, 60))}`,
          hint: 'Use dtype fp32, or another model.',
        })
      return found
    },
    [Symbol.asyncDispose]: () => session.release(),
  }
}

function probabilitiesOf(logits: Float32Array, exclusive: boolean): Float64Array {
  const values = Float64Array.from(logits)
  if (!exclusive) return values.map((value) => 1 / (1 + Math.exp(-value)))
  const most = values.reduce((a, b) => Math.max(a, b))
  const powers = values.map((value) => Math.exp(value - most))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((value) => value / sum)
}
