/** What becomes of one row: its turns, and the tokens that a model is trained on. Reads only; the command line draws it. */

import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { PoolRecord, Turn } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import { resolveModelTexts } from '../hub/resolve.ts'
import { languageModel } from '../models/config.ts'
import { isNano, nanoVocabulary } from '../models/nano.ts'
import { readManifest } from '../runs/manifest.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import { TOKEN_MASK, type Tokenizer, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import { type ExplainedSelection, maybeSelection } from './explained-selection.ts'
import { type ModelOptions, resolveModelOptions } from './model-options.ts'
import { modelTokenizer } from './model-tokenizer.ts'
import { TOKENIZER_BYTES, trainOnPool } from './pool.ts'
import { type PoolOptions, poolName, resolvePoolOptions } from './pool-options.ts'

export interface ExplainOptions
  extends Pick<PoolOptions, 'pool' | 'fields' | 'template' | 'onBadRow' | 'memoryLimit' | 'run'>,
    Pick<ModelOptions, 'proxy' | 'revision' | 'offline' | 'maxLength'> {
  /** Row of the pool, from 0, as in selection.parquet. */
  row: number
  /** With its tokens. Default false. */
  tokens?: boolean
}

/** Where the tokenizer came from: a run directory, this pool just now, or a model. */
export interface TokenizerSource {
  kind: 'run' | 'pool' | 'model'
  /** The run directory or the model; the first pool file. */
  name: string
  layout: Tokenizer['layout']
  vocabularySize: number
  hash: string
}

/** One token, or several that only together are characters. */
export interface TokenPiece {
  ids: number[]
  text: string
  /** Carries loss. */
  trained: boolean
  /** Beyond the maximum length: never seen. */
  cut: boolean
}

export interface Explanation {
  row: number
  file: string
  line: number
  source?: string
  format: string
  turns: Turn[]
  /** What the run directory's selection says of it, where there is one of this pool. */
  selection?: ExplainedSelection
  tokens?: {
    tokenizer: TokenizerSource
    maxLength: number
    count: number
    trained: number
    /** Of the tokens and trained tokens, those within `maxLength`. */
    kept: { count: number; trained: number }
    pieces: TokenPiece[]
  }
}

/**
 * Explains a row. Its tokens are those of `proxy`, a model directory or hub id, cut where its positions end; without one, or with `nano`, those of the run directory
 * (`run`, default as for `select`) if one is there: its tokenizer and maximum length, its proxy if that is a model. Else a tokenizer
 * is trained on the pool as `select` would, which reads the pool twice.
 *
 * @throws {WinnowError} `no-such-row`, and what readers, the hub and tokenizers throw.
 */
export async function explainRow(options: ExplainOptions, signal?: AbortSignal): Promise<Explanation> {
  const { pool, row, tokens = false } = options
  const defaults = {
    run: `${poolName(pool[0] ?? '').stem}.winnow`,
    command: 'winnow explain',
    example: 'winnow explain pool.jsonl --row 0 --tokens',
  }
  const { run } = resolvePoolOptions(options, defaults)
  const { maxLength } = resolveModelOptions({ maxLength: options.maxLength })
  const dataset = await openDataset(pool, options)
  const earlier = tokens ? await maybeRun(run) : undefined
  const { proxy: asked = 'nano', ...fetching } = options.proxy === undefined && earlier ? earlier.model : options
  const { revision, offline = options.offline } = fetching
  const texts = tokens && !isNano(asked) ? await resolveModelTexts(asked, { revision, offline, signal }) : undefined
  const model = texts && modelTokenizer(texts)
  const trains = tokens && model === undefined && earlier?.tokenizer === undefined
  const { record, textBytes } = await findRow(dataset, row, trains, signal)
  const told: Explanation = {
    row,
    file: record.file,
    line: record.line,
    ...(record.source === undefined ? {} : { source: record.source }),
    format: dataset.format.name,
    turns: record.turns,
  }
  const selection = await maybeSelection(run, row, dataset.inputs)
  if (selection !== undefined) told.selection = selection
  if (!tokens) return told
  const tokenizer = model ?? earlier?.tokenizer ?? (await trained(dataset, textBytes, signal))
  const kind = model ? 'model' : earlier?.tokenizer ? 'run' : 'pool'
  const { layout, vocabularySize, hash } = tokenizer
  const name = { model: asked, run, pool: dataset.inputs[0].path }[kind]
  const positions = texts?.config && maybePositions(texts.config)
  const length = options.maxLength ?? earlier?.maxLength ?? Math.min(maxLength, positions ?? maxLength)
  const ids = tokenizer.encodeTurns(record.turns, record)
  const count = (part: Uint32Array) => ({
    count: part.length,
    trained: part.reduce((total, token) => total + (token >>> 31), 0),
  })
  return {
    ...told,
    tokens: {
      tokenizer: { kind, name, layout, vocabularySize, hash },
      maxLength: length,
      ...count(ids),
      kept: count(ids.subarray(0, length)),
      pieces: tokenPieces(ids, tokenizer, length),
    },
  }
}

/** Reads up to the row; `whole`: to the end, to know how much text there is. */
async function findRow(
  dataset: Dataset,
  row: number,
  whole: boolean,
  signal?: AbortSignal,
): Promise<{ record: PoolRecord; textBytes: number }> {
  let found: PoolRecord | undefined
  let [rows, textBytes] = [0, 0]
  for await (const { records } of dataset.batches({ signal })) {
    found ??= records.find((record) => record.row === row)
    rows += records.length
    if (whole) for (const { turns } of records) for (const { content } of turns) textBytes += Buffer.byteLength(content)
    else if (found !== undefined) break
  }
  if (found !== undefined) return { record: found, textBytes }
  throw new WinnowError('usage', {
    code: 'no-such-row',
    message: 'the pool has no such row',
    path: '--row',
    found: String(row),
    expected: `0 to ${rows - 1}: rows are counted from 0 over all inputs, as in selection.parquet`,
  })
}

/** Positions of a model; undefined where winnow has no such model, whose tokens can be shown all the same. */
function maybePositions(config: Record<string, unknown>): number | undefined {
  try {
    return languageModel(config).maxLength
  } catch (error) {
    if (error instanceof WinnowError) return undefined
    throw error
  }
}

async function trained(dataset: Dataset, textBytes: number, signal?: AbortSignal): Promise<Tokenizer> {
  const asked = { vocabularySize: nanoVocabulary(textBytes), textBytes, maximumBytes: TOKENIZER_BYTES }
  return loadTokenizer((await trainOnPool(dataset, asked, signal)).json)
}

interface EarlierRun {
  /** Undefined where the run's proxy is a model, or got no tokenizer yet. */
  tokenizer?: Tokenizer
  model: Pick<ModelOptions, 'proxy' | 'revision' | 'offline'>
  maxLength?: number
}

/** What a run directory tells of its tokens, if it is there. */
async function maybeRun(run: string): Promise<EarlierRun | undefined> {
  const manifest = join(run, 'manifest.json')
  const there = await access(manifest).then(
    () => true,
    () => false,
  )
  if (!there) return undefined
  const { proxy, revision, maxLength } = (await readManifest(manifest)).config
  const nano = typeof proxy !== 'string' || isNano(proxy)
  const file = join(run, 'tokenizer.json')
  const json = nano ? await readFile(file, 'utf8').catch(() => undefined) : undefined
  return {
    ...(json === undefined ? {} : { tokenizer: loadTokenizer(json, { file }) }),
    model: nano ? {} : { proxy, ...(typeof revision === 'string' ? { revision } : {}) },
    ...(typeof maxLength === 'number' ? { maxLength } : {}),
  }
}

/** Bytes of a character at most: as many tokens are put together before a broken one is shown as it is. */
const CHARACTER_BYTES = 4

/** Tokens with their texts. Each is decoded behind a letter, since some decoders strip the space that a text begins with. */
export function tokenPieces(
  ids: Uint32Array,
  tokenizer: Pick<Tokenizer, 'encode' | 'decode'>,
  maxLength: number,
): TokenPiece[] {
  const anchor = Array.from(tokenizer.encode('a'))
  const before = tokenizer.decode(anchor).length
  // A row repeats its tokens, and a decoder in another thread takes its time.
  const texts = new Map<string, string>()
  const textOf = (tokens: number[]) => {
    const key = tokens.join(' ')
    const text = texts.get(key) ?? tokenizer.decode([...anchor, ...tokens]).slice(before)
    texts.set(key, text)
    return text
  }
  const pieces: TokenPiece[] = []
  for (let i = 0; i < ids.length; ) {
    const isTrained = ids[i] >= TRAINED_BIT
    const take = (count: number) => Array.from(ids.subarray(i, i + count), (token) => token & TOKEN_MASK)
    const whole = [1, 2, 3, CHARACTER_BYTES].find((count) => {
      const same = ids.subarray(i, i + count)
      return (
        same.length === count &&
        same.every((token) => token >= TRAINED_BIT === isTrained) &&
        !textOf(take(count)).includes('\ufffd')
      )
    })
    const tokens = take(whole ?? 1)
    pieces.push({ ids: tokens, text: textOf(tokens), trained: isTrained, cut: i >= maxLength })
    i += tokens.length
  }
  return pieces
}
