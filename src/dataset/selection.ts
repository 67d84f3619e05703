/** Writing a selection: a second pass that copies the selected records, as their inputs wrote them, in input order. */

import { createHash } from 'node:crypto'
import { type Duplex, pipeline } from 'node:stream'
import { createGzip, createZstdCompress } from 'node:zlib'
import { commitTemporary, createAtomicFile, temporaryPath } from '../runs/files.ts'
import { type FileRecord, hashFile } from '../runs/hash.ts'
import { type Dataset, inputChanged, mustBeUnchanged, type PassProgress, type Scan } from './dataset.ts'
import type { ByteMeter, Input } from './inputs.ts'
import { checkOutput, type Output } from './output.ts'
import { isBlank, readSpans } from './rows.ts'
import { columnChunks, copyTables, jsonColumns, Tables, tableColumns, tableSource } from './tables.ts'

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
 * - CSV to CSV and Parquet to Parquet: by DuckDB, columns and (Parquet) types kept; several inputs by column name.
 *   CSV and Parquet to .jsonl or .json: one object a row; CSV values are strings, empty fields null.
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
    output.kind === 'csv' || output.kind === 'parquet'
      ? await writeTables(dataset, scan, ordinals, output, options)
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

async function writeTables(
  dataset: Dataset,
  scan: Scan,
  ordinals: readonly Uint32Array[],
  output: Output,
  options: WriteOptions,
): Promise<FileRecord> {
  for (let i = 0; i < dataset.inputs.length; i++) await mustHaveHash(dataset.inputs[i], scan.hashes[i])
  const temporary = temporaryPath(output.path)
  await using tables = await Tables.open(dataset.options.memoryLimit)
  const lenient = dataset.options.onBadRow === 'skip'
  const sources = await Promise.all(dataset.inputs.map((input) => tableSource(input, { lenient })))
  options.signal?.throwIfAborted()
  await copyTables(tables, sources, ordinals, { path: temporary, kind: output.kind, tabs: /\.tsv$/i.test(output.path) })
  for (const input of dataset.inputs) await mustBeUnchanged(input)
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
  const text = output.kind === 'json' ? arrayText : linesText
  const bytes = text(selectedRecords(dataset, scan, ordinals, options))
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
  options: WriteOptions,
): AsyncGenerator<SelectedRecord[]> {
  const bytesTotal = dataset.inputs.reduce((sum, input) => sum + input.bytes, 0)
  let before = 0
  let rows = 0
  let bom = false
  for (let i = 0; i < dataset.inputs.length; i++) {
    const input = dataset.inputs[i]
    const meter: ByteMeter = { bytes: 0, hash: createHash('sha256') }
    const table = input.kind === 'csv' || input.kind === 'parquet'
    if (table) await mustHaveHash(input, scan.hashes[i])
    else await mustBeUnchanged(input)
    const records = table ? tableRecords(dataset, input, ordinals[i]) : textRecords(dataset, input, meter, ordinals[i])
    for await (const chunk of records) {
      options.signal?.throwIfAborted()
      if (i === 0 && meter.bom === true && rows === 0) bom = true
      if (chunk.length > 0) {
        chunk[0].bom = bom
        bom = false
        rows += chunk.length
        yield chunk
      }
      options.onProgress?.({ rows, bytes: before + meter.bytes, bytesTotal })
    }
    if (table) await mustBeUnchanged(input)
    else if (meter.hash!.digest('hex') !== scan.hashes[i]) throw inputChanged(input.path)
    before += input.bytes
  }
}

async function* textRecords(
  dataset: Dataset,
  input: Input,
  meter: ByteMeter,
  ordinals: Uint32Array,
): AsyncGenerator<SelectedRecord[]> {
  let ordinal = 0
  let next = 0
  for await (const spans of readSpans(input, meter, { recordLimit: dataset.options.recordLimit })) {
    const records: SelectedRecord[] = []
    for (const { bytes, ending } of spans) {
      if (isBlank(bytes)) continue
      if (next < ordinals.length && ordinals[next] === ordinal) {
        records.push({ bytes, ending, bom: false })
        next++
      }
      ordinal++
    }
    yield records
  }
}

async function* tableRecords(dataset: Dataset, input: Input, ordinals: Uint32Array): AsyncGenerator<SelectedRecord[]> {
  await using tables = await Tables.open(dataset.options.memoryLimit)
  const source = await tableSource(input, { lenient: dataset.options.onBadRow === 'skip' })
  const json = jsonColumns(await tableColumns(tables, source))
  let ordinal = 0
  let next = 0
  for await (const [texts] of columnChunks(tables, input, `SELECT ${json} FROM ${source.sql}`)) {
    const records: SelectedRecord[] = []
    for (const text of texts) {
      if (next < ordinals.length && ordinals[next] === ordinal++) {
        records.push({ bytes: Buffer.from(String(text)), ending: 0, bom: false })
        next++
      }
    }
    yield records
  }
}

const BOM = Buffer.from([0xef, 0xbb, 0xbf])
const ENDINGS = [Buffer.from('\n'), Buffer.from('\n'), Buffer.from('\r\n')]

async function* linesText(chunks: AsyncIterable<SelectedRecord[]>): AsyncGenerator<Buffer> {
  for await (const records of chunks) {
    const parts: Buffer[] = []
    for (const { bytes, ending, bom } of records) {
      if (bom) parts.push(BOM)
      // Lines hold no line feed; only array elements can.
      parts.push(ending === 0 && bytes.includes(10) ? compactJson(bytes) : bytes, ENDINGS[ending])
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
