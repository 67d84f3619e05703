/** A pool of records over several inputs, read in passes: batches of records out, a report of what was met on the way. */

import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { type Fault, WinnowError } from '../errors.ts'
import { hashFile } from '../runs/hash.ts'
import { duplicateSet } from './duplicates.ts'
import { type FieldMap, parseFields, type Row } from './fields.ts'
import { detectFormat, type Format, type FormatDescription } from './formats.ts'
import { type ByteMeter, type Input, inspectInput } from './inputs.ts'
import { Database, readParquetRows } from './parquet.ts'
import { resolvePaths } from './paths.ts'
import type { PoolRecord, Turn } from './record.ts'
import { type RowBatch, readTextRows } from './rows.ts'
import { type DatasetReport, reportOf, type Tally, tally } from './tally.ts'

/** Rows that format detection looks at, in each input. */
const SAMPLE_ROWS = 64

export interface DatasetOptions {
  /** `--fields`: `prompt=query,response=reply`, or the same as an object. */
  fields?: string | FieldMap
  /** `--template`: see template.ts. Excludes all of `fields` but `source`. */
  template?: string
  /** `stop` (default): a pass with bad rows counts them all, then throws. `skip`: they are counted and left out. */
  onBadRow?: 'stop' | 'skip'
  /** DuckDB's memory limit for Parquet, such as `512MB` (default). */
  memoryLimit?: string
  /** Largest record of a JSONL, JSON or CSV input, in bytes. Default 64 MiB; a larger one ends the pass. */
  recordLimit?: number
}

export interface PassProgress {
  /** Good rows so far. */
  rows: number
  /** Bytes of the inputs read so far, as they lie on disk, of `bytesTotal`. */
  bytes: number
  bytesTotal: number
}

export interface PassOptions {
  onProgress?: (progress: PassProgress) => void
  signal?: AbortSignal
}

export interface Batch {
  /** Consecutive rows of the pool: those of about 1 MiB of text, or up to 2,048 rows of Parquet. */
  records: PoolRecord[]
  /** Bytes of input behind this batch. */
  bytes: number
}

export interface DatasetInput extends Input {
  format: FormatDescription
}

/** What a whole pass established: which records are rows, and the inputs' bytes. */
export interface Scan {
  rows: number
  /** Rows of each input. */
  inputRows: number[]
  /** For each input the ordinals (0-based, blank lines not counted) of its bad records, ascending. */
  skipped: Uint32Array[]
  /** sha256 of each input's bytes on disk, hex. */
  hashes: string[]
}

export interface Dataset {
  readonly inputs: DatasetInput[]
  /** The pool's format; `mixed` where inputs differ. */
  readonly format: FormatDescription
  /** The first whole pass; undefined before it. */
  readonly scan: Scan | undefined
  readonly options: Readonly<DatasetOptions>
  /**
   * One pass over all inputs, in order. Memory stays bounded by a few chunks and 16 bytes a row (duplicates).
   * Throws the first bad row under `onBadRow: 'stop'` (at the end, counted), `no-rows`, `input-changed` where the bytes differ from an earlier
   * pass, and what readers throw. May be run any number of times.
   */
  batches(options?: PassOptions): AsyncGenerator<Batch>
  /** What the first whole pass met, or the latest pass so far (`complete` says which). */
  report(): DatasetReport
}

/**
 * Opens files and globs as one pool: finds their kinds and formats from their first rows. Reads no more than that.
 * Throws faults of paths, kinds, formats, fields and templates, `no-rows` where an input has none.
 */
export async function openDataset(paths: readonly string[], options: DatasetOptions = {}): Promise<Dataset> {
  const fields = options.fields === undefined ? undefined : parseFields(options.fields)
  if (options.template !== undefined && Object.keys(fields ?? {}).some((slot) => slot !== 'source')) {
    throw new WinnowError('usage', {
      code: 'bad-fields',
      message: '--fields and --template exclude each other',
      path: '--fields',
      expected: 'with --template, at most source=…',
    })
  }
  const inputs: DatasetInput[] = []
  const formats: Format[] = []
  for (const path of await resolvePaths(paths)) {
    const input = await inspectInput(path)
    const format = detectFormat(await sampleRows(input, options), path, { fields, template: options.template })
    formats.push(format)
    inputs.push({ ...input, format: { name: format.name, reason: format.reason, note: format.note } })
  }
  let scan: Scan | undefined
  let latest = tally(inputs.length)
  let first: Tally | undefined

  async function* batches(pass: PassOptions = {}): AsyncGenerator<Batch> {
    const counts = tally(inputs.length)
    latest = counts
    // The report is the first whole pass's: later ones need not look for duplicates again.
    const duplicates = first === undefined ? duplicateSet() : undefined
    const hashes: string[] = []
    const bytesTotal = inputs.reduce((sum, input) => sum + input.bytes, 0)
    let before = 0
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i]
      await mustBeUnchanged(input)
      const hash = createHash('sha256')
      const meter: ByteMeter = { bytes: 0, hash }
      let last = 0
      for await (const rows of readRows(input, formats[i], meter, options)) {
        pass.signal?.throwIfAborted()
        const records: PoolRecord[] = []
        counts.blank += rows.blank
        for (const { line, row, fault } of rows.entries) {
          const turns = row === undefined ? fault! : rowTurns(formats[i], row)
          if (!Array.isArray(turns)) {
            counts.bad(i, { ...turns, file: input.path, line })
            continue
          }
          const source = formats[i].source(row!)
          if (duplicates?.add(turns) === true) counts.duplicates++
          records.push({ row: counts.rows, turns, source, file: input.path, line })
          counts.good(i, source)
        }
        const bytes = Math.min(rows.bytes, input.bytes)
        pass.onProgress?.({ rows: counts.rows, bytes: before + bytes, bytesTotal })
        // Under `stop` nothing more is handed out once a row was bad, but the rest is still counted.
        const stopped = options.onBadRow !== 'skip' && counts.badCount > 0
        if (records.length > 0 && !stopped) yield { records, bytes: bytes - last }
        last = bytes
      }
      await mustBeUnchanged(input)
      hashes.push(input.kind === 'parquet' ? (await hashFile(input.path)).sha256 : hash.digest('hex'))
      if (scan !== undefined && scan.hashes[i] !== hashes[i]) throw inputChanged(input.path)
      before += input.bytes
    }
    counts.hashes = hashes
    counts.complete = true
    if (counts.badCount > 0 && options.onBadRow !== 'skip') throw badRows(counts)
    if (counts.rows === 0) throw noRows(inputs[0].path, counts)
    first ??= counts
    scan ??= { rows: counts.rows, inputRows: counts.inputRows, skipped: counts.skipped(), hashes }
  }

  return {
    inputs,
    format: describe(inputs),
    get scan() {
      return scan
    },
    options,
    batches,
    report: () => reportOf(first ?? latest),
  }
}

/** Turns of a row that is good: some turn is trained, and not all trained text is white space. */
function rowTurns(format: Format, row: Row): Turn[] | Fault {
  const turns = format.turns(row)
  if (!Array.isArray(turns)) return turns
  if (turns.some((turn) => turn.trained && turn.content.trim() !== '')) return turns
  if (turns.some((turn) => turn.trained || turn.role === 'assistant')) {
    return {
      code: 'empty-response',
      message: 'the response is empty',
      path: format.response(row),
      found: 'nothing to train on',
      expected: 'text in the response',
      hint: 'Remove the row, or leave such rows out with --on-bad-row skip.',
    }
  }
  const found = `turns of ${[...new Set(turns.map((turn) => turn.role))].join(', ')}`
  const path = format.response(row)
  return { code: 'no-response', message: 'the dialogue has no assistant turn', path, found, expected: 'at least one' }
}

async function* readRows(
  input: Input,
  format: Format | undefined,
  meter: ByteMeter,
  options: DatasetOptions,
): AsyncGenerator<RowBatch> {
  if (input.kind !== 'parquet') return yield* readTextRows(input, meter, options)
  await using database = await Database.open(options.memoryLimit)
  yield* readParquetRows(database, input, format?.columns)
}

/** The first good rows of an input. Throws the first fault where there are only bad ones, `no-rows` where there are none. */
async function sampleRows(input: Input, options: DatasetOptions): Promise<Row[]> {
  const rows: Row[] = []
  let fault: Fault | undefined
  let seen = 0
  for await (const batch of readRows(input, undefined, { bytes: 0 }, options)) {
    for (const entry of batch.entries) {
      if (entry.row !== undefined) rows.push(entry.row)
      else fault ??= entry.fault
      if (++seen === SAMPLE_ROWS) break
    }
    if (seen >= SAMPLE_ROWS) break
  }
  if (rows.length > 0) return rows
  if (fault === undefined) throw noRows(input.path)
  const squeezed = input.compression === 'none' ? /\.(gz|zst)$/i.exec(input.path)?.[0] : undefined
  if (squeezed !== undefined) fault.hint = `Its name ends in ${squeezed}, but its bytes are not compressed.`
  else if (fault.line === 1 && fault.code === 'bad-json')
    fault.hint ??= 'Is it one object over many lines? Winnow reads one record a line, or an array.'
  throw new WinnowError('input', { ...fault, file: input.path })
}

function describe(inputs: readonly DatasetInput[]): FormatDescription {
  const names = [...new Set(inputs.map((input) => input.format.name))]
  if (names.length === 1) return inputs[0].format
  return { name: 'mixed', reason: inputs.map((input) => `${input.path}: ${input.format.name}`).join(', ') }
}

/** Throws `input-changed` where the file's size or time differs from when the dataset was opened. */
export async function mustBeUnchanged(input: Input): Promise<void> {
  const info = await stat(input.path).catch(() => undefined)
  if (info === undefined || info.size !== input.bytes || info.mtimeMs !== input.modified) throw inputChanged(input.path)
}

export function inputChanged(file: string): WinnowError {
  return new WinnowError('input', {
    code: 'input-changed',
    message: 'the file has changed since it was read first',
    file,
    hint: 'Start again, with inputs that nobody writes to.',
  })
}

function badRows(counts: Tally): WinnowError {
  const fault = counts.examples[0]
  if (counts.badCount === 1)
    return new WinnowError('input', { hint: 'Mend the row, or leave it out with --on-bad-row skip.', ...fault })
  const where = counts.examples.map((bad) => `${bad.file === fault.file ? '' : `${bad.file}:`}${bad.line}`).join(', ')
  const more = counts.badCount > counts.examples.length ? ', …' : ''
  const total = `${counts.badCount} rows are bad in all (lines ${where}${more}): mend them, or leave them out with --on-bad-row skip.`
  return new WinnowError('input', { ...fault, hint: total })
}

function noRows(file: string, counts?: Tally): WinnowError {
  return new WinnowError('input', {
    code: 'no-rows',
    message: 'the input has no rows',
    file,
    found: counts === undefined ? 'nothing but white space or a header' : `${counts.badCount} bad rows and no good one`,
    expected: 'at least one record',
    hint:
      counts?.examples[0] === undefined
        ? 'Check that it was written or fetched to its end.'
        : `The first bad row: ${counts.examples[0].message}, line ${counts.examples[0].line}.`,
  })
}
