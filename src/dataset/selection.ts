/** Writing a selection: a second pass that copies the selected records, as their inputs wrote them, in input order. */

import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Duplex, pipeline } from 'node:stream'
import { createGzip, createZstdCompress } from 'node:zlib'
import { WinnowError } from '../errors.ts'
import { ioError } from '../runs/fault.ts'
import { commitTemporary, createAtomicFile, makeDirectories, temporaryPath } from '../runs/files.ts'
import { type FileRecord, hashFile } from '../runs/hash.ts'
import { type CsvDialect, parseCsv } from './csv.ts'
import { type Dataset, inputChanged, mustBeUnchanged, type PassProgress, type Scan } from './dataset.ts'
import type { ByteMeter, Input } from './inputs.ts'
import { checkOutput, type Output } from './output.ts'
import { copyParquet, Database, parquetJson } from './parquet.ts'
import { isBlank, readSpans } from './rows.ts'
import type { Span } from './spans.ts'

export interface WriteOptions {
  /** Replace a file that is there. Default false. */
  overwrite?: boolean
  /** Progress of the second pass; `rows` are rows written. */
  onProgress?: (progress: PassProgress) => void
  signal?: AbortSignal
}

export interface WrittenSelection extends FileRecord {
  path: string
  kind: Output['kind']
  rows: number
}

/**
 * Copies the rows `selected` (ascending pool rows) to `out`; its extension says the kind.
 *
 * - JSON Lines to JSON Lines: the lines' own bytes and endings (a missing last line feed is added; the byte order mark is kept
 *   if the first input has one).
 * - JSON array to .json: the elements' own bytes; to .jsonl: the same, with white space between tokens removed where it
 *   holds a line break. JSON Lines to .json: the lines as elements.
 * - CSV to CSV: the header, then the rows' own bytes and line ends. Parquet to Parquet: by DuckDB, columns and types kept;
 *   several inputs united by column name. CSV and Parquet to .jsonl or .json: one object a row; CSV values are strings.
 *
 * The output appears whole, by rename after fsync. Throws what `checkOutput` throws, `input-changed`, `disk-full`;
 * a RangeError where `selected` is not ascending rows of the pool. Runs the first pass itself if none was completed.
 */
export async function writeSelection(
  dataset: Dataset,
  selected: Uint32Array,
  out: string,
  options: WriteOptions = {},
): Promise<WrittenSelection> {
  const output = await checkOutput(out, { overwrite: options.overwrite, inputs: dataset.inputs })
  if (dataset.scan === undefined) for await (const _ of dataset.batches({ signal: options.signal }));
  const scan = dataset.scan!
  for (let i = 0; i < selected.length; i++) {
    if (selected[i] >= scan.rows || (i > 0 && selected[i] <= selected[i - 1])) {
      throw new RangeError(`selected[${i}] = ${selected[i]} is not an ascending row of a pool of ${scan.rows}`)
    }
  }
  const ordinals = ordinalsByInput(selected, scan)
  const record =
    output.kind === 'parquet'
      ? await writeParquet(dataset, scan, ordinals, output, options)
      : await writeText(dataset, scan, ordinals, output, options)
  return { ...record, path: out, kind: output.kind, rows: selected.length }
}

/** For each input, the ordinals of its selected records: pool rows counted within it, bad records before them added. */
export function ordinalsByInput(selected: Uint32Array, scan: Scan): Uint32Array[] {
  let before = 0
  let at = 0
  return scan.inputRows.map((rows, input) => {
    const skipped = scan.skipped[input]
    const end = before + rows
    const ordinals: number[] = []
    let bad = 0
    for (; at < selected.length && selected[at] < end; at++) {
      const row = selected[at] - before
      while (bad < skipped.length && skipped[bad] <= row + bad) bad++
      ordinals.push(row + bad)
    }
    before = end
    return Uint32Array.from(ordinals)
  })
}

async function writeParquet(
  dataset: Dataset,
  scan: Scan,
  ordinals: readonly Uint32Array[],
  output: Output,
  options: WriteOptions,
): Promise<FileRecord> {
  for (let i = 0; i < dataset.inputs.length; i++) await mustHaveHash(dataset.inputs[i], scan.hashes[i])
  options.signal?.throwIfAborted()
  await makeDirectories(dirname(output.path)).catch((error) => {
    throw ioError(error, output.path, 'write')
  })
  const temporary = temporaryPath(output.path)
  try {
    await using database = await Database.open(dataset.options.memoryLimit)
    await copyParquet(database, dataset.inputs, ordinals, temporary)
    for (const input of dataset.inputs) await mustBeUnchanged(input)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  return await commitTemporary(temporary, output.path, { overwrite: options.overwrite ?? false })
}

async function mustHaveHash(input: Input, sha256: string): Promise<void> {
  await mustBeUnchanged(input)
  if ((await hashFile(input.path)).sha256 !== sha256) throw inputChanged(input.path)
}

async function writeText(
  dataset: Dataset,
  scan: Scan,
  ordinals: readonly Uint32Array[],
  output: Output,
  options: WriteOptions,
): Promise<FileRecord> {
  await using file = await createAtomicFile(output.path, { overwrite: options.overwrite ?? false })
  const records = selectedRecords(dataset, scan, ordinals, output, options)
  const bytes = output.kind === 'json' ? arrayText(records) : linesText(records, output.kind === 'jsonl')
  for await (const chunk of compressed(bytes, output)) await file.write(chunk)
  return await file.commit()
}

async function* compressed(bytes: AsyncIterable<Buffer>, output: Output): AsyncIterable<Buffer> {
  if (output.compression === 'none') return yield* bytes
  const deflate: Duplex = output.compression === 'gzip' ? createGzip() : createZstdCompress()
  // An error of the source ends the iteration below with that error.
  pipeline(bytes, deflate, () => {})
  yield* deflate as AsyncIterable<Buffer>
}

interface SelectedRecord {
  bytes: Buffer
  /** Line ending in the input; 0 where it has none. */
  ending: 0 | 1 | 2
  /** First record of an output whose first input starts with a byte order mark. */
  bom: boolean
}

/** The selected records of all inputs, a list for each chunk read. Every input is read to its end, to prove its hash. */
async function* selectedRecords(
  dataset: Dataset,
  scan: Scan,
  ordinals: readonly Uint32Array[],
  output: Output,
  options: WriteOptions,
): AsyncGenerator<SelectedRecord[]> {
  const bytesTotal = dataset.inputs.reduce((sum, input) => sum + input.bytes, 0)
  let before = 0
  // The header of CSV is handed on like a row, but is none.
  let rows = output.kind === 'csv' ? -1 : 0
  let started = false
  let bom = false
  for (let i = 0; i < dataset.inputs.length; i++) {
    const input = dataset.inputs[i]
    const meter: ByteMeter = { bytes: 0, hash: createHash('sha256') }
    const parquet = input.kind === 'parquet'
    if (parquet) await mustHaveHash(input, scan.hashes[i])
    else await mustBeUnchanged(input)
    const records = parquet
      ? parquetRecords(dataset, input, ordinals[i])
      : textRecords(dataset, input, meter, ordinals[i], {
          header: i === 0 && output.kind === 'csv',
          json: output.kind !== 'csv',
        })
    for await (const chunk of records) {
      options.signal?.throwIfAborted()
      bom ||= i === 0 && meter.bom === true
      if (chunk.length > 0) {
        chunk[0].bom = bom && !started
        started = true
        rows += chunk.length
        yield chunk
      }
      options.onProgress?.({ rows, bytes: before + meter.bytes, bytesTotal })
    }
    if (parquet) await mustBeUnchanged(input)
    else if (meter.hash!.digest('hex') !== scan.hashes[i]) throw inputChanged(input.path)
    before += input.bytes
  }
}

/** Selected records of a text input; of CSV, the header if asked for, and rows as JSON if asked for. */
async function* textRecords(
  dataset: Dataset,
  input: Input,
  meter: ByteMeter,
  ordinals: Uint32Array,
  form: { header: boolean; json: boolean },
): AsyncGenerator<SelectedRecord[]> {
  let header = input.dialect !== undefined
  let ordinal = 0
  let next = 0
  for await (const spans of readSpans(input, meter, { recordLimit: dataset.options.recordLimit })) {
    const records: SelectedRecord[] = []
    for (const span of spans) {
      if (isBlank(span.bytes)) continue
      const { bytes, ending } = span
      if (header) {
        header = false
        if (form.header) records.push({ bytes, ending, bom: false })
        continue
      }
      if (next === ordinals.length || ordinals[next] !== ordinal++) continue
      next++
      if (input.dialect === undefined || !form.json) records.push({ bytes, ending, bom: false })
      else records.push({ bytes: jsonRow(span, input.dialect), ending: 0, bom: false })
    }
    yield records
  }
}

function jsonRow(span: Span, dialect: CsvDialect): Buffer {
  const parsed = parseCsv(span, dialect)
  // Selected rows were good in the first pass, and the input's hash is that pass's.
  if ('fault' in parsed) throw new WinnowError('input', parsed.fault)
  return Buffer.from(JSON.stringify(parsed.row))
}

async function* parquetRecords(
  dataset: Dataset,
  input: Input,
  ordinals: Uint32Array,
): AsyncGenerator<SelectedRecord[]> {
  await using database = await Database.open(dataset.options.memoryLimit)
  let ordinal = 0
  let next = 0
  for await (const texts of parquetJson(database, input)) {
    const records: SelectedRecord[] = []
    for (const text of texts) {
      if (next === ordinals.length || ordinals[next] !== ordinal++) continue
      records.push({ bytes: Buffer.from(text), ending: 0, bom: false })
      next++
    }
    yield records
  }
}

const BOM = Buffer.from([0xef, 0xbb, 0xbf])
const ENDINGS = [Buffer.from('\n'), Buffer.from('\n'), Buffer.from('\r\n')]

async function* linesText(chunks: AsyncIterable<SelectedRecord[]>, json: boolean): AsyncGenerator<Buffer> {
  for await (const records of chunks) {
    const parts: Buffer[] = []
    for (const { bytes, ending, bom } of records) {
      if (bom) parts.push(BOM)
      // Array elements can hold line feeds between their tokens; a JSON line cannot.
      parts.push(json && ending === 0 && bytes.includes(10) ? compactJson(bytes) : bytes, ENDINGS[ending])
    }
    yield Buffer.concat(parts)
  }
}

async function* arrayText(chunks: AsyncIterable<SelectedRecord[]>): AsyncGenerator<Buffer> {
  let first = true
  for await (const records of chunks) {
    const parts: Buffer[] = []
    for (const { bytes, bom } of records) {
      parts.push(Buffer.from(first ? `${bom ? '\ufeff' : ''}[\n` : ',\n'), bytes)
      first = false
    }
    yield Buffer.concat(parts)
  }
  yield Buffer.from(first ? '[]\n' : '\n]\n')
}

/** JSON without white space between its tokens; strings, numbers and key order keep their bytes. */
export function compactJson(bytes: Buffer): Buffer {
  const compact = Buffer.allocUnsafe(bytes.length)
  let length = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === 0x5c) compact[length++] = bytes[i++]
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) continue
    compact[length++] = bytes[i]
  }
  return compact.subarray(0, length)
}
