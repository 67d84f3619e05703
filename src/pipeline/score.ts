/** `score`: how likely a model finds each record of a dataset, as one Parquet file. */

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { type TableRows, writeTable } from '../dataset/columns.ts'
import { openDataset } from '../dataset/dataset.ts'
import { checkOutput } from '../dataset/output.ts'
import { WinnowError } from '../errors.ts'
import type { Notice } from '../methods/method.ts'
import type { FileRecord, Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import { planBatches } from '../training/batches.ts'
import { collate } from '../training/collate.ts'
import type { TokenRows } from '../training/rows.ts'
import { compileScorer, type Scorer } from '../training/scorer.ts'
import { windowLabels } from '../training/trajectories.ts'
import { type Context, openContext, perform } from './context.ts'
import { type ModelOptions, type ResolvedModelOptions, resolveModelOptions } from './model-options.ts'
import { readPool, tokenisePool } from './pool.ts'
import {
  type PipelineContext,
  type PoolOptions,
  poolName,
  type ResolvedPoolOptions,
  resolvePoolOptions,
} from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'
import { scoringChunks } from './proxy.ts'
import { isFile } from './selection.ts'

export interface ScoreOptions extends PoolOptions, ModelOptions {
  /** Parquet file. Default `<pool>.scores.parquet` in the working directory. */
  out?: string
  /** Also the NLL of every token. Default false. */
  perToken?: boolean
  /** Score every token of a record, not only its responses. Default false. */
  allTokens?: boolean
}

interface ResolvedScoreOptions extends ResolvedPoolOptions, ResolvedModelOptions {
  out: string
  perToken: boolean
  allTokens: boolean
}

export interface ScoreResult {
  rows: number
  /** Rows without a scored token inside the window: their NLL is null. */
  unscored: number
  /** Tokens inside the window, and those of them that were scored. */
  tokens: { read: number; scored: number }
  /** Mean over all scored tokens, nats. */
  nll: number
  perplexity: number
  out: { path: string; bytes: number; sha256: string }
  run: string
  model: { name: string; revision?: string }
  notices: Notice[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}

/** Largest rows * length of a batch. */
const TOKENS_PER_BATCH = 4096
/** Tokens of a part: what a killed run computes again, at most. */
const TOKENS_PER_PART = 2 ** 17

/**
 * Scores every record of a pool under a pretrained model and writes a Parquet file with a row for each: `row`, `file`, `line`, `tokens` (inside
 * the window), `scored`, `nll` (mean, nats a token), `perplexity` = exp(nll), `cut` (some of it lies beyond the window); with `perToken`
 * also `token_ids` and `token_nll` (null where a token carries no loss). Goes on after the last part that was finished.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function score(asked: ScoreOptions, pipeline: PipelineContext): Promise<ScoreResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveScoreOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  await checkOut(resolved)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const options = withModel(resolved, pretrained)
  const { maxLengthAsked: _, ...config } = options
  const context = await openContext(
    options,
    JSON.parse(JSON.stringify({ ...config, command: 'winnow score' })),
    pipeline,
  )
  await using run = context.run
  try {
    onEvent({ kind: 'plan', stages: ['read', 'tokens', 'score', 'write'] })
    const pool = await readPool(context, dataset)
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const rows = options.allTokens ? everyToken(tokens.store) : tokens.store
    const labels = windowLabels(rows, options.maxLength)
    const scored = await scoreParts(context, { rows, labels, tokensHash: tokens.hash, pretrained })
    const places = async function* () {
      for await (const { records } of dataset.batches({ signal })) yield* records
    }
    const record = await writeScores(context, { rows, labels, parts: scored.parts, places, hash: scored.hash })
    const count = labels.reduce((total, value) => total + value, 0)
    const read = rows.lengths.reduce((total, length) => total + Math.min(length, options.maxLength), 0)
    const nll = scored.total / count
    await run.update({ status: 'done', facts: { model: pretrained.files.source as unknown as Json, nll } })
    return {
      rows: rows.count,
      unscored: labels.reduce((total, value) => total + Number(value === 0), 0),
      tokens: { read, scored: count },
      nll,
      perplexity: Math.exp(nll),
      out: { path: options.out, bytes: record.size, sha256: record.sha256 },
      run: run.directory,
      model: { name: pretrained.name, revision: pretrained.files.source.revision },
      notices: context.notices,
      device: options.device,
      seconds: (performance.now() - started) / 1000,
      stages: context.stages,
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

/** @throws {WinnowError} `no-model`, and as `resolvePoolOptions` and `resolveModelOptions`. */
export function resolveScoreOptions(options: ScoreOptions): ResolvedScoreOptions {
  if (options.proxy === undefined || options.proxy === 'nano')
    throw new WinnowError('usage', {
      code: 'no-model',
      message: 'a model to score with was not named',
      path: '--proxy',
      expected: 'a hub id such as EleutherAI/pythia-70m-deduped, or a directory in the Hugging Face layout',
      hint: 'For example: winnow score pool.jsonl --proxy EleutherAI/pythia-70m-deduped.',
    })
  const { stem } = poolName(options.pool[0] ?? '')
  return {
    ...resolvePoolOptions(options, { run: `${stem}.scores.winnow`, command: 'winnow score' }),
    ...resolveModelOptions(options),
    out: options.out ?? `${stem}.scores.parquet`,
    perToken: options.perToken ?? false,
    allTokens: options.allTokens ?? false,
  }
}

/** Only Parquet is written. A file of that name is replaced only by the run that wrote it, or where asked to. */
async function checkOut({ out, overwrite, run }: ResolvedScoreOptions): Promise<void> {
  if (!/\.parquet$/i.test(out))
    throw new WinnowError('usage', {
      code: 'unknown-output',
      message: 'scores are written as Parquet',
      path: '--out',
      found: out,
      expected: 'a name that ends with .parquet',
    })
  await checkOutput(out, { overwrite: overwrite || (await isFile(`${run}/manifest.json`)) })
}

/** Every token but the first of a row carries loss. */
function everyToken(rows: TokenRows): TokenRows {
  return {
    count: rows.count,
    lengths: rows.lengths,
    labels: rows.lengths,
    read: (row) => rows.read(row).map((token) => (token | TRAINED_BIT) >>> 0),
  }
}

interface ScoredPart {
  /** Rows [from, to). */
  from: number
  to: number
  file: string
}

/** Consecutive rows of about TOKENS_PER_PART tokens. */
function planParts({ count, lengths }: TokenRows, maxLength: number): { from: number; to: number }[] {
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

async function scoreParts(context: Context<ResolvedScoreOptions>, { rows, labels, tokensHash, pretrained }: Scoring) {
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
    version: 1,
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
  return { parts: files(result.key), total: result.value.total, hash: result.hash }
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

interface Written {
  rows: TokenRows
  labels: Uint32Array
  parts: ScoredPart[]
  places: () => AsyncIterable<{ file: string; line: number }>
  hash: string
}

const COLUMNS = {
  row: 'UINTEGER',
  file: 'VARCHAR',
  line: 'UINTEGER',
  tokens: 'UINTEGER',
  scored: 'UINTEGER',
  nll: 'DOUBLE',
  perplexity: 'DOUBLE',
  cut: 'BOOLEAN',
} as const
const TOKEN_COLUMNS = { token_ids: 'UINTEGER[]', token_nll: 'FLOAT[]' } as const

async function writeScores(
  { run, options, ...context }: Context<ResolvedScoreOptions>,
  { rows, labels, parts, places }: Written,
): Promise<FileRecord> {
  const { maxLength, perToken, memoryLimit, out } = options
  const started = performance.now()
  context.emit({ kind: 'stage-start', stage: 'write', resumedParts: 0 })
  const pieces = async function* (): AsyncGenerator<TableRows> {
    const place = places()[Symbol.asyncIterator]()
    for (const { from, to, file } of parts) {
      const nll = readNpy(await readFile(run.path(file))).data as Float32Array
      const columns: unknown[][] = Object.keys(perToken ? { ...COLUMNS, ...TOKEN_COLUMNS } : COLUMNS).map(() => [])
      let at = 0
      for (let row = from; row < to; row++) {
        const { value } = (await place.next()) as { value: { file: string; line: number } }
        const own = nll.subarray(at, at + labels[row])
        at += labels[row]
        const mean = own.reduce((total, x) => total + x, 0) / own.length
        const kept = Math.min(rows.lengths[row], maxLength)
        const cells = [row, value.file, value.line, kept, own.length, mean, Math.exp(mean), rows.lengths[row] > kept]
        const lists = perToken ? tokenLists(rows.read(row).subarray(0, kept), own) : []
        ;[...cells, ...lists].forEach((cell, i) => {
          columns[i].push(cell)
        })
      }
      context.emit({
        kind: 'stage-progress',
        stage: 'write',
        progress: { fraction: to / rows.count, done: to, unit: 'rows' },
      })
      yield columns
    }
  }
  const types = perToken ? { ...COLUMNS, ...TOKEN_COLUMNS } : COLUMNS
  const record = await writeTable(out, types, pieces(), memoryLimit)
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'write', seconds, cached: false })
  context.emit({
    kind: 'stage-end',
    stage: 'write',
    cached: false,
    seconds,
    summary: `${rows.count.toLocaleString('en')} rows in ${basename(out)}`,
  })
  return record
}

/** Ids, and the NLL of each, NaN where it carries no loss. The first token is never predicted. */
function tokenLists(tokens: Uint32Array, nll: Float32Array): [Uint32Array, Float32Array] {
  let at = 0
  const losses = Float32Array.from(tokens, (token, i) =>
    i > 0 && (token & TRAINED_BIT) !== 0 ? nll[at++] : Number.NaN,
  )
  return [tokens.map((token) => token & TOKEN_MASK), losses]
}
