/** The stages that turn files into tokens: read, tokenizer, tokens. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import type { PoolRecord } from '../dataset/record.ts'
import { type Fault, formatFault, WinnowError } from '../errors.ts'
import { nanoVocabulary } from '../models/nano.ts'
import { hashFile, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageResult } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { categories, type Signal, signal } from '../signals/signal.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import { createTokenStore, openTokenStore, type TokenStore } from '../tokenizer/store.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { type TrainedTokenizer, tokenizerTrainer } from '../tokenizer/train.ts'
import { type Context, countsOf, notify, perform, placed, stageName } from './context.ts'

/** Text that the nano tokenizer is trained on, at most. */
export const TOKENIZER_BYTES = 2 ** 26

/** What reading the pool established. */
export type PoolFacts = {
  rows: number
  /** UTF-8 bytes of all turns. */
  textBytes: number
  blank: number
  badCount: number
  bad: Fault[]
  duplicates: number
  /** Rows of each input. */
  inputRows: number[]
  /** Different sources; 0 where no row names one. */
  sources: number
  format: string
}

export interface Pool {
  facts: PoolFacts
  /** Of the input bytes and how they are read: what depends on the pool depends on this. */
  hash: string
  source?: Signal
}

/** Reads the whole pool once: counts, faults, sources. */
export async function readPool(context: Context, dataset: Dataset): Promise<Pool> {
  const { options } = context
  const hashes: Record<string, string> = {}
  const stage = stageName(context, 'read')
  context.emit({ kind: 'stage-start', stage, resumedParts: 0 })
  const bytesTotal = dataset.inputs.reduce((total, input) => total + input.bytes, 0)
  let hashed = 0
  for (const [i, { path, kind, bytes }] of dataset.inputs.entries()) {
    const progress = { fraction: 0, detail: `hashing ${path}`, done: hashed, unit: 'bytes' as const }
    context.emit({ kind: 'stage-progress', stage, progress })
    // The kind counts too: the same bytes are other rows as .csv than as .jsonl.
    hashes[`input ${i} (${kind})`] = (await hashFile(path)).sha256
    hashed += bytes
  }
  const result = await perform<Json>(context, {
    name: 'read',
    started: true,
    version: 2,
    inputs: hashes,
    options: { fields: options.fields, template: options.template, onBadRow: options.onBadRow },
    async execute(work, progress) {
      const sources: (string | undefined)[] = []
      let textBytes = 0
      const pass = dataset.batches({
        signal: context.signal,
        onProgress: ({ bytes }) => progress({ fraction: bytes / bytesTotal, done: bytes, unit: 'bytes' }),
      })
      for await (const { records } of pass) {
        for (const record of records) {
          sources.push(record.source)
          for (const turn of record.turns) textBytes += Buffer.byteLength(turn.content)
        }
      }
      const { rows, blank, badCount, bad, duplicates } = dataset.report()
      const outputs: OutputRecord[] = []
      let labels: string[] = []
      if (sources.some((source) => source !== undefined)) {
        const source = categories('source', sources, rows)
        labels = source.labels as string[]
        outputs.push(
          await work.write(placed(context, 'signals/source.npy'), writeNpy({ shape: [rows], data: source.data })),
        )
        outputs.push(await work.write(placed(context, 'signals/source.json'), JSON.stringify(labels)))
      }
      const facts: PoolFacts = {
        rows,
        textBytes,
        blank,
        badCount,
        bad,
        duplicates,
        inputRows: dataset.scan?.inputRows ?? [],
        sources: labels.length,
        format: dataset.format.name,
      }
      return { outputs, value: JSON.parse(JSON.stringify(facts)) as Json }
    },
    summary: (value) => {
      const { rows, format, sources } = value as unknown as PoolFacts
      return `${rows.toLocaleString('en')} rows, format ${format}${sources > 0 ? `, ${sources} source${sources > 1 ? 's' : ''}` : ''}`
    },
  })
  const facts = result.value as unknown as PoolFacts
  await context.run.update({
    inputs: [
      ...context.run.manifest.inputs,
      ...dataset.inputs.map(({ path, bytes }, i) => ({
        path,
        size: bytes,
        sha256: Object.values(hashes)[i],
        rows: facts.inputRows[i],
      })),
    ],
    counts: countsOf(context, {
      ...{ rows: facts.rows, textBytes: facts.textBytes, badRows: facts.badCount, duplicates: facts.duplicates },
    }),
  })
  tellAboutRows(context, dataset, facts)
  const source = facts.sources === 0 ? undefined : await readSource(context, facts.rows)
  return { facts, hash: result.hash, source }
}

function tellAboutRows(context: Context, dataset: Dataset, { badCount, bad, duplicates, blank }: PoolFacts): void {
  if (dataset.format.note !== undefined) notify(context, { code: 'format', message: dataset.format.note })
  if (badCount > 0)
    notify(context, {
      code: 'bad-rows',
      message: `${badCount === 1 ? 'a bad row was left out' : `${badCount} bad rows were left out; the first`}: ${formatFault(bad[0]).replace(/\.$/, '')}`,
      rows: badCount,
    })
  if (duplicates > 0)
    notify(context, {
      code: 'duplicates',
      message:
        duplicates === 1
          ? 'a row is an exact duplicate of an earlier one; it stays in the pool'
          : `${duplicates} rows are exact duplicates of earlier ones; they stay in the pool`,
      rows: duplicates,
    })
  if (blank > 0)
    notify(context, {
      code: 'blank-lines',
      message: `${blank} blank line${blank === 1 ? ' was' : 's were'} passed over`,
      rows: blank,
    })
}

async function readSource(context: Context, rows: number): Promise<Signal> {
  const file = (name: string) => context.run.path(placed(context, `signals/source.${name}`))
  const { data } = readNpy(await readFile(file('npy')))
  const labels = JSON.parse(await readFile(file('json'), 'utf8')) as string[]
  return signal('source', data, { rows, labels })
}

export interface Tokens extends Disposable {
  tokenizer: Tokenizer
  store: TokenStore
  /** Of the token ids. */
  hash: string
}

/** Tokenises the pool with the model's tokenizer, or with one that is trained on the pool. The store must be disposed of. */
export async function tokenisePool(
  context: Context,
  dataset: Dataset,
  pool: Pool,
  pretrained?: { tokenizer: Tokenizer },
): Promise<Tokens> {
  const { tokenizer, hash } = pretrained
    ? { tokenizer: pretrained.tokenizer, hash: pretrained.tokenizer.hash }
    : await trainedTokenizer(context, dataset, pool)
  const { rows } = pool.facts
  const file = placed(context, 'tokens.bin')
  const result = await perform<Json>(context, {
    name: 'tokens',
    version: 2,
    inputs: { pool: pool.hash, tokenizer: hash },
    options: {},
    async execute(work, progress) {
      using writer = createTokenStore(work.path(file), { tokenizerHash: tokenizer.hash })
      const encode = recordEncoder(tokenizer, context.options.onBadRow)
      for await (const { records } of dataset.batches({ signal: context.signal })) {
        for (const record of records) writer.append(encode.tokens(record))
        progress({ fraction: writer.rows / rows, done: writer.tokens, unit: 'tokens' })
      }
      writer.finish()
      const value: TokenFacts = {
        tokens: writer.tokens,
        labels: writer.labels,
        refused: encode.refused.slice(0, SHOWN),
      }
      if (encode.refused.length > 0) value.refusedCount = encode.refused.length
      return { outputs: [await work.record(file)], value: JSON.parse(JSON.stringify(value)) as Json }
    },
    summary: (value) => {
      const { tokens, labels } = value as unknown as TokenFacts
      return `${tokens.toLocaleString('en')} tokens, ${labels.toLocaleString('en')} of them trained on`
    },
  })
  const { tokens, labels, refused, refusedCount = 0 } = result.value as unknown as TokenFacts
  await context.run.update({
    counts: countsOf(context, { tokens, labels, vocabulary: tokenizer.vocabularySize, refusedRows: refusedCount }),
  })
  if (refusedCount > 0)
    notify(context, {
      code: 'refused-rows',
      message: `${refusedCount === 1 ? 'the model cannot write a row, which has no tokens and takes no part' : `the model cannot write ${refusedCount} rows, which have no tokens and take no part; the first`}: ${formatFault(refused[0]).replace(/\.$/, '')}`,
      rows: refusedCount,
    })
  const store = openTokenStore(context.run.path(file))
  return { tokenizer, store, hash: result.hash, [Symbol.dispose]: () => store[Symbol.dispose]() }
}

type TokenFacts = {
  tokens: number
  labels: number
  /** The first rows that the tokenizer cannot write, and how many there are. */
  refused: Fault[]
  refusedCount?: number
}

/** Faults that are kept of all that were counted. */
const SHOWN = 5

/**
 * Tokens of records. A row that the chat template refuses, or that it writes so that nobody can tell what is trained, ends the run, naming
 * file and line; with `skip` it has no tokens, so that it has no loss and is never selected, and its fault is among `refused`.
 */
export function recordEncoder(tokenizer: Tokenizer, onBadRow: 'stop' | 'skip') {
  const refused: Fault[] = []
  return {
    refused,
    tokens({ turns, file, line }: PoolRecord): Uint32Array {
      try {
        return tokenizer.encodeTurns(turns, { file, line })
      } catch (error) {
        if (onBadRow === 'stop' || !(error instanceof WinnowError)) throw error
        refused.push(error.fault)
        return new Uint32Array()
      }
    },
  }
}

async function trainedTokenizer(context: Context, dataset: Dataset, pool: Pool) {
  const { hash } = await tokenizerOf(context, dataset, pool)
  return { tokenizer: loadTokenizer(await readFile(context.run.path('tokenizer.json'), 'utf8')), hash }
}

function tokenizerOf(context: Context, dataset: Dataset, pool: Pool): Promise<StageResult<Json>> {
  const { textBytes } = pool.facts
  const vocabularySize = nanoVocabulary(textBytes)
  return perform<Json>(context, {
    name: 'tokenizer',
    version: 1,
    inputs: { pool: pool.hash },
    options: { kind: 'nano', vocabularySize, bytes: TOKENIZER_BYTES },
    async execute(work, progress) {
      const asked = { vocabularySize, textBytes, maximumBytes: TOKENIZER_BYTES }
      const trained = await trainOnPool(dataset, asked, context.signal, (fraction) =>
        progress({ fraction: 0.9 * fraction }),
      )
      return {
        outputs: [await work.write('tokenizer.json', trained.json)],
        value: { vocabularySize: trained.vocabularySize, bytes: trained.bytes },
      }
    },
    summary: (value) =>
      `byte-level BPE, ${(value as { vocabularySize: number }).vocabularySize.toLocaleString('en')} ids`,
  })
}

/** A byte-level BPE tokenizer of the pool's text in order, of which about `maximumBytes` bytes, thinned evenly, are counted. */
export async function trainOnPool(
  dataset: Dataset,
  options: { vocabularySize: number; textBytes: number; maximumBytes: number },
  signal?: AbortSignal,
  onFraction?: (fraction: number) => void,
): Promise<TrainedTokenizer> {
  const { vocabularySize, textBytes, maximumBytes } = options
  const trainer = tokenizerTrainer({ vocabularySize, maximumBytes, sourceBytes: textBytes })
  let passed = 0
  for await (const { records } of dataset.batches({ signal })) {
    for (const { turns } of records) {
      for (const { content } of turns) {
        trainer.add(content)
        passed += Buffer.byteLength(content)
      }
    }
    onFraction?.(passed / Math.max(1, textBytes))
  }
  return trainer.finish()
}
