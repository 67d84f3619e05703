/** The stage that scores: the NLL of every label of a pool, resumable part by part. */

import { readFile } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import { planBatches } from '../training/batches.ts'
import { collate } from '../training/collate.ts'
import type { TokenRows } from '../training/rows.ts'
import { compileScorer, type Scorer } from '../training/scorer.ts'
import { type BaseOptions, type Context, perform } from './context.ts'
import type { Pretrained } from './pretrained.ts'
import { scoringChunks } from './proxy.ts'

/** Largest rows * length of a batch. */
export const TOKENS_PER_BATCH = 4096
/** Tokens of a part: what a killed run computes again, at most. */
const TOKENS_PER_PART = 2 ** 16

/** Every token but the first of a row carries loss. */
export function everyToken(rows: TokenRows): TokenRows {
  return {
    count: rows.count,
    lengths: rows.lengths,
    labels: rows.lengths,
    read: (row) => rows.read(row).map((token) => (token | TRAINED_BIT) >>> 0),
  }
}

export interface ScoredPart {
  /** Rows [from, to). */
  from: number
  to: number
  file: string
}

/** Consecutive rows of about TOKENS_PER_PART tokens. */
export function planParts({ count, lengths }: TokenRows, maxLength: number): { from: number; to: number }[] {
  const parts: { from: number; to: number }[] = []
  for (let from = 0; from < count; ) {
    let [to, tokens] = [from, 0]
    while (to < count && (to === from || tokens + Math.min(lengths[to], maxLength) <= TOKENS_PER_PART))
      tokens += Math.min(lengths[to++], maxLength)
    parts.push({ from, to })
    from = to
  }
  return parts
}

interface Scoring {
  rows: TokenRows
  labels: Uint32Array
  tokensHash: string
  pretrained: Pretrained
}

/** Runs the stage: NLLs of all labels in files of consecutive rows, and their sum. Goes on after the last part that was finished. */
export async function scoreParts(
  context: Context<BaseOptions & { allTokens: boolean }>,
  { rows, labels, tokensHash, pretrained }: Scoring,
): Promise<{ parts: ScoredPart[]; total: number }> {
  const { options, run, device } = context
  const { maxLength, allTokens } = options
  const plan = planParts(rows, maxLength)
  const files = (key: string) =>
    plan.map(({ from, to }) => ({
      from,
      to,
      file: `scores/${key.slice(0, 12)}/rows-${String(from).padStart(9, '0')}.npy`,
    }))
  const result = await perform(context, {
    name: 'score',
    version: 2,
    inputs: { tokens: tokensHash, model: pretrained.hash },
    options: {
      maxLength,
      allTokens,
      tokensPerBatch: TOKENS_PER_BATCH,
      device: device.name,
      precision: options.precision,
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work, progress) {
      const model = pretrained.model
      const chunks = scoringChunks(Math.max(TOKENS_PER_BATCH, maxLength), model.vocabularySize)
      const weights = await pretrained.weights()
      await using scorer = disposable(await compileScorer({ model, weights, device, maxLength, scoringChunks: chunks }))
      const all = rows.lengths.reduce((total, length) => total + Math.min(length, maxLength), 0)
      const outputs: OutputRecord[] = []
      let [done, computed, total] = [0, 0, 0]
      for (const { from, to, file } of files(work.key)) {
        const kept = work.parts.find(({ part }) => part === file)?.outputs[0]
        if (kept?.intact) {
          outputs.push({ path: kept.path, size: kept.size, sha256: kept.sha256 })
          for (const nll of readNpy(await readFile(work.path(file))).data) total += nll
          for (let row = from; row < to; row++) done += Math.min(rows.lengths[row], maxLength)
          continue
        }
        const nll = await scoreRange(scorer.value, rows, labels, { from, to, maxLength }, (tokens) => {
          context.signal?.throwIfAborted()
          done += tokens
          computed += tokens
          progress({ fraction: done / all, done: computed, unit: 'tokens' })
        })
        const bad = nll.findIndex((value) => !Number.isFinite(value))
        if (bad >= 0) throw notFinite(rowOf(labels, from, bad), nll[bad])
        for (const value of nll) total += value
        const output = await work.write(file, writeNpy({ shape: [nll.length], data: nll }))
        await work.finishPart(file, [output])
        outputs.push(output)
      }
      return { outputs, value: { total } }
    },
    summary: ({ total }) => {
      const count = labels.reduce((sum, value) => sum + value, 0)
      return `${count.toLocaleString('en')} tokens, ${(total / count).toFixed(3)} nats a token, perplexity ${Math.exp(total / count).toFixed(2)}`
    },
  })
  return { parts: files(result.key), total: result.value.total }
}

const disposable = (value: Scorer) => ({ value, [Symbol.asyncDispose]: () => value.release() })

/** NLL of every label of rows [from, to), row by row. */
async function scoreRange(
  scorer: Scorer,
  rows: TokenRows,
  labels: Uint32Array,
  { from, to, maxLength }: { from: number; to: number; maxLength: number },
  onBatch: (tokens: number) => void,
): Promise<Float32Array> {
  const starts = new Map<number, number>()
  let size = 0
  for (let row = from; row < to; row++) {
    starts.set(row, size)
    size += labels[row]
  }
  const nll = new Float32Array(size)
  const some = Uint32Array.from({ length: to - from }, (_, i) => from + i)
  for (const batch of planBatches(rows.lengths, { tokensPerBatch: TOKENS_PER_BATCH, maxLength, rows: some }).batches) {
    const collated = collate(rows, batch, maxLength, scorer.padding)
    const found = await scorer.labelNll(collated)
    let at = 0
    batch.rows.forEach((row, i) => {
      const count = collated.labelsPerRow[i]
      nll.set(found.subarray(at, at + count), starts.get(row) as number)
      at += count
    })
    onBatch(batch.rows.reduce((sum, row) => sum + Math.min(rows.lengths[row], maxLength), 0))
  }
  return nll
}

function rowOf(labels: Uint32Array, from: number, index: number): number {
  let [row, end] = [from, labels[from]]
  while (end <= index) end += labels[++row]
  return row
}

function notFinite(row: number, found: number): WinnowError {
  return new WinnowError('failure', {
    code: 'not-finite',
    message: `the model gives a token of row ${row} no finite loss`,
    found: String(found),
    expected: 'a finite number of nats',
    hint: 'With --precision float16 numbers may overflow: use float32. Otherwise the weights are damaged or made for another precision.',
  })
}
