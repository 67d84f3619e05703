/** What a plan knows of a dataset without writing anything: its rows, its text, and how many tokens they make. */

import type { Dataset } from '../dataset/dataset.ts'
import { nanoVocabulary } from '../models/nano.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { recordEncoder, trainOnPool } from './pool.ts'

/** Text that is tokenised to count tokens; of a larger pool every k-th row. */
const COUNTED_BYTES = 2 ** 24
/** Text that the plan's tokenizer is trained on. */
const TOKENIZER_BYTES = 2 ** 22

/** What one pass over the records says. */
export interface TextFacts {
  rows: number
  textBytes: number
  /** Whether a record names its source. */
  sources: boolean
  /** Of the pass. */
  seconds: number
}

export async function readTexts(dataset: Dataset, signal?: AbortSignal): Promise<TextFacts> {
  const started = performance.now()
  let textBytes = 0
  let sources = false
  for await (const { records } of dataset.batches({ signal }))
    for (const { turns, source } of records) {
      sources ||= source !== undefined
      for (const { content } of turns) textBytes += Buffer.byteLength(content)
    }
  const seconds = (performance.now() - started) / 1000
  return { rows: dataset.report().rows, textBytes, sources, seconds }
}

export interface Counted extends TokenRows {
  tokens: number
  /** Labels of each row inside the window. */
  inWindow: Uint32Array
  /** Tokens inside the window, and the share of them that are labels. */
  cut: number
  density: number
  tokenizer: Tokenizer
  vocabularySize: number
  /** False where lengths are those of a sample, repeated. */
  exact: boolean
  /** Time to train the tokenizer and tokenise the whole pool. */
  secondsForPool: number
}

/** Tokens of rows that are cut to the window. */
export const cutTokens = (lengths: Uint32Array, maxLength: number): number =>
  lengths.reduce((total, length) => total + Math.min(length, maxLength), 0)

export interface CountOptions {
  /** Default: one that is trained on the rows. */
  tokenizer?: Tokenizer
  /** The window. */
  maxLength: number
  onBadRow: 'stop' | 'skip'
  signal?: AbortSignal
}

/** Lengths and labels of all rows, tokenised; of a large pool those of every k-th row, repeated. */
export async function countTokens(
  dataset: Dataset,
  { rows, textBytes }: Pick<TextFacts, 'rows' | 'textBytes'>,
  { tokenizer: given, maxLength, onBadRow, signal }: CountOptions,
): Promise<Counted> {
  const started = performance.now()
  const asked = { vocabularySize: nanoVocabulary(textBytes), textBytes, maximumBytes: TOKENIZER_BYTES }
  const tokenizer = given ?? loadTokenizer((await trainOnPool(dataset, asked, signal)).json)
  const trainingSeconds = (performance.now() - started) / 1000
  const stride = Math.max(1, Math.ceil(textBytes / COUNTED_BYTES))
  const sampled: { length: number; labels: number; inWindow: number }[] = []
  const encode = recordEncoder(tokenizer, onBadRow)
  let encoding = 0
  for await (const { records } of dataset.batches({ signal })) {
    const from = performance.now()
    for (const record of records) {
      if (record.row % stride !== 0) continue
      const ids = encode.tokens(record)
      const labels = (from: number, to: number) => ids.subarray(from, to).reduce((total, id) => total + (id >>> 31), 0)
      // The first token has nothing before it that could predict it.
      sampled.push({ length: ids.length, labels: labels(0, ids.length), inWindow: labels(1, maxLength) })
    }
    encoding += performance.now() - from
  }
  const ofRows = (name: 'length' | 'labels' | 'inWindow') =>
    Uint32Array.from({ length: rows }, (_, row) => sampled[Math.floor(row / stride)][name])
  const [lengths, inWindow] = [ofRows('length'), ofRows('inWindow')]
  const cut = cutTokens(lengths, maxLength)
  const sum = (values: Uint32Array) => values.reduce((total, value) => total + value, 0)
  return {
    count: rows,
    ...{ lengths, inWindow, labels: ofRows('labels') },
    tokens: sum(lengths),
    ...{ cut, density: sum(inWindow) / cut },
    tokenizer,
    vocabularySize: tokenizer.vocabularySize,
    exact: stride === 1 && (given !== undefined || textBytes <= TOKENIZER_BYTES),
    secondsForPool: trainingSeconds + (stride * encoding) / 1000,
    read: (row) => {
      throw new Error(`row ${row} of a plan has no tokens`)
    },
  }
}
