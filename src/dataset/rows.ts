/** Inputs as parsed rows, each with its line or what is wrong with it: the step between bytes and formats. */

import { isUtf8 } from 'node:buffer'
import type { Fault } from '../errors.ts'
import { parseCsv, splitCsv } from './csv.ts'
import type { Row } from './fields.ts'
import { type ByteMeter, type Input, readBytes } from './inputs.ts'
import { type Span, splitArray, splitLines } from './spans.ts'

export interface RowEntry {
  /** 1-based line (JSONL, CSV) or record number (JSON array, Parquet). */
  line: number
  row?: Row
  /** Set instead of `row` where the bytes are no record. */
  fault?: Fault
}

export interface RowBatch {
  entries: RowEntry[]
  /** Blank lines passed over. */
  blank: number
  /** Bytes of the input read so far, as they lie on disk. */
  bytes: number
}

export interface RowOptions {
  /** Largest record in bytes. Default RECORD_LIMIT. */
  recordLimit?: number
}

/** The records of a JSONL, JSON or CSV input as spans of bytes, blank lines included; of CSV, the first one is the header. */
export function readSpans(input: Input, meter: ByteMeter, options: RowOptions = {}): AsyncGenerator<Span[]> {
  const chunks = readBytes(input, meter)
  const limits = { file: input.path, limit: options.recordLimit }
  if (input.dialect !== undefined) return splitCsv(chunks, { ...limits, delimiter: input.dialect.delimiter })
  return input.kind === 'json' ? splitArray(chunks, limits) : splitLines(chunks, limits)
}

/** Rows of a JSONL, JSON or CSV input, a batch for each chunk of about 1 MiB. */
export async function* readTextRows(
  input: Input,
  meter: ByteMeter,
  options: RowOptions = {},
): AsyncGenerator<RowBatch> {
  let header = input.dialect !== undefined
  for await (const spans of readSpans(input, meter, options)) {
    const entries: RowEntry[] = []
    let blank = 0
    for (const span of spans) {
      if (isBlank(span.bytes)) blank++
      else if (header) header = false
      else entries.push(parseSpan(span, input))
    }
    yield { entries, blank, bytes: meter.bytes }
  }
}

/** Whether a line holds nothing but white space. */
export function isBlank(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte !== 0x20 && (byte < 0x09 || byte > 0x0d)) return false
  }
  return true
}

/** Parses one record. Faults: `invalid-utf8`, `torn-line` (the last line, unfinished), `bad-json`, `not-an-object`, those of CSV. */
function parseSpan(span: Span, input: Input): RowEntry {
  const { bytes, line } = span
  if (!isUtf8(bytes)) {
    const at = invalidByte(bytes)
    const fault = {
      code: 'invalid-utf8',
      message: 'the row is not UTF-8',
      line,
      found: `byte 0x${bytes[at].toString(16).padStart(2, '0')} at offset ${span.offset + at}`,
      expected: 'UTF-8',
      hint: 'Convert the file with iconv, or leave the row out with --on-bad-row skip.',
    }
    return { line, fault }
  }
  if (input.dialect !== undefined) return { line, ...parseCsv(span, input.dialect) }
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    // Its own line and column are those of the record alone.
    const found = (error as Error).message
      .replace(/ \(line \d+ column \d+\)/, '')
      .replaceAll('\n', ' ')
      .slice(0, 160)
    // A last line that starts as an object and is none was cut off while it was written.
    const torn = input.kind === 'jsonl' && span.ending === 0 && bytes.toString('latin1').trimStart().startsWith('{')
    const fault = torn
      ? {
          code: 'torn-line',
          message: 'the last line is cut off',
          line,
          found,
          expected: 'a whole JSON object and a line feed',
          hint: 'The file was not written to its end: fetch it again, or leave the row out with --on-bad-row skip.',
        }
      : { code: 'bad-json', message: 'the row is not JSON', line, found, expected: 'one JSON object a record' }
    return { line, fault }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
    const fault = { code: 'not-an-object', message: 'the row is no record', line, found, expected: 'a JSON object' }
    return { line, fault }
  }
  return { line, row: value as Row }
}

/** Offset of the first byte that is not UTF-8. */
function invalidByte(bytes: Buffer): number {
  const text = bytes.toString('utf8')
  let offset = 0
  let from = 0
  for (let at = text.indexOf('\ufffd'); at >= 0; at = text.indexOf('\ufffd', from)) {
    offset += Buffer.byteLength(text.slice(from, at))
    // A replacement character that the text itself holds is three bytes EF BF BD.
    if (bytes.readUIntBE(offset, Math.min(3, bytes.length - offset)) !== 0xefbfbd) break
    offset += 3
    from = at + 1
  }
  return offset
}
