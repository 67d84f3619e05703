/** The stage that scores every row of some tokens once under fixed weights, resumable part by part. */

import { readFile } from 'node:fs/promises'
import type { TensorMap } from '../engine/tensor.ts'
import type { LanguageModel } from '../models/model.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { planBatches } from '../training/batches.ts'
import { collate } from '../training/collate.ts'
import type { LoraOptions } from '../training/lora.ts'
import type { TokenRows } from '../training/rows.ts'
import { compileScorer, type RowScores, type Scorer } from '../training/scorer.ts'
import { type Context, perform } from './context.ts'
import { scoringChunks } from './proxy.ts'
import { planParts, TOKENS_PER_BATCH } from './score-stage.ts'

export interface RowScoring {
  stage: 'initial' | 'unconditional'
  /** What is scored. */
  rows: TokenRows
  /** Hashes of what the rows and the weights come from. */
  inputs: Record<string, string>
  /** What else says which rows and which weights. */
  options: Record<string, Json>
  model: LanguageModel
  /** Read when the first part is scored: of a finished stage they are not needed. */
  weights(): Promise<TensorMap>
  /** Adapters among the weights. */
  lora?: LoraOptions
}

/** Means over each row's labels, [N] each; NaN where it has none within the longest length. */
export async function scoreRowsOnce(
  context: Context,
  { stage, rows, inputs, options: asked, model, weights, lora }: RowScoring,
): Promise<RowScores & { hash: string }> {
  const { options, run, device } = context
  const { maxLength } = options
  const plan = planParts(rows, maxLength)
  const files = (key: string) =>
    plan.map(({ from, to }) => ({
      from,
      to,
      file: `signals/${stage}/${key.slice(0, 12)}/rows-${String(from).padStart(9, '0')}.npy`,
    }))
  const all = rows.lengths.reduce((total, length) => total + Math.min(length, maxLength), 0)
  const result = await perform<Json>(context, {
    name: stage,
    version: 1,
    inputs,
    options: {
      ...asked,
      maxLength,
      tokensPerBatch: TOKENS_PER_BATCH,
      device: device.name,
      precision: options.precision,
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work, progress) {
      let scorer: Scorer | undefined
      const chunks = scoringChunks(Math.max(TOKENS_PER_BATCH, maxLength), model.vocabularySize)
      const open = async () =>
        compileScorer({ model, weights: await weights(), device, maxLength, scoringChunks: chunks, lora })
      const outputs: OutputRecord[] = []
      let [done, computed] = [0, 0]
      try {
        for (const { from, to, file } of files(work.key)) {
          const kept = work.parts.find(({ part }) => part === file)?.outputs[0]
          if (kept?.intact) {
            outputs.push({ path: kept.path, size: kept.size, sha256: kept.sha256 })
            for (let row = from; row < to; row++) done += Math.min(rows.lengths[row], maxLength)
            continue
          }
          scorer ??= await open()
          const data = await scoreRange(scorer, rows, { from, to, maxLength }, (tokens) => {
            context.signal?.throwIfAborted()
            done += tokens
            computed += tokens
            progress({ fraction: done / Math.max(1, all), done: computed, unit: 'tokens' })
          })
          const output = await work.write(file, writeNpy({ shape: [2, to - from], data }))
          await work.finishPart(file, [output])
          outputs.push(output)
        }
      } finally {
        await scorer?.release()
      }
      return { outputs, value: {} }
    },
    summary: () => `${rows.count.toLocaleString('en')} rows, ${all.toLocaleString('en')} tokens`,
  })
  const nll = new Float32Array(rows.count)
  const confidence = new Float32Array(rows.count)
  for (const { from, to, file } of files(result.key)) {
    const data = readNpy(await readFile(run.path(file))).data as Float32Array
    nll.set(data.subarray(0, to - from), from)
    confidence.set(data.subarray(to - from), from)
  }
  return { nll, confidence, hash: result.hash }
}

/** NLL of rows [from, to), then their confidence. */
async function scoreRange(
  scorer: Scorer,
  rows: TokenRows,
  { from, to, maxLength }: { from: number; to: number; maxLength: number },
  onBatch: (tokens: number) => void,
): Promise<Float32Array> {
  const found = new Float32Array(2 * (to - from)).fill(Number.NaN)
  const some = Uint32Array.from({ length: to - from }, (_, i) => from + i)
  for (const batch of planBatches(rows.lengths, { tokensPerBatch: TOKENS_PER_BATCH, maxLength, rows: some }).batches) {
    const scores = await scorer.score(collate(rows, batch, maxLength, scorer.padding))
    batch.rows.forEach((row, i) => {
      found[row - from] = scores.nll[i]
      found[to - from + row - from] = scores.confidence[i]
    })
    onBatch(batch.rows.reduce((sum, row) => sum + Math.min(rows.lengths[row], maxLength), 0))
  }
  return found
}
