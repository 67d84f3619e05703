/**
 * CSV (RFC 4180, with a header row) as spans of bytes and as rows. Ours rather than DuckDB's reader, since selected rows are
 * written back byte for byte, and since DuckDB 1.5 drops all rows after a quote that is never closed without a word.
 * Line ends may be `\n` or `\r\n`, mixed; a quote inside an unquoted field is text.
 */

import type { Fault } from '../errors.ts'
import type { Row } from './fields.ts'
import { RECORD_LIMIT, type Span, type SpanOptions, tooLarge } from './spans.ts'

export interface CsvDialect {
  /** `,`, tab, `;` or `|`. */
  delimiter: string
  /** Column names; a repeated one has `_2`, `_3`, … added, an empty one is `column` and its number. */
  columns: string[]
}

const LF = 10
const CR = 13
const QUOTE = 0x22

/**
 * The dialect by the start of a file: of the four delimiters the one most frequent in the header outside quotes
 * (`,` where there is none), and the header's names.
 */
export async function csvDialect(head: Buffer): Promise<CsvDialect> {
  const text = head.toString('utf8').trimStart()
  // Quoted parts first, so that line ends and delimiters inside them count for nothing.
  const header = text.replace(/"(?:[^"]|"")*"/g, '').split('\n')[0]
  const counts = [',', '\t', ';', '|'].map((mark) => [mark, header.split(mark).length] as const)
  const delimiter = counts.reduce((a, b) => (b[1] > a[1] ? b : a))[0]
  const chunks = (async function* () {
    yield head
  })()
  for await (const spans of splitCsv(chunks, { file: '', delimiter })) {
    const first = spans.find((span) => span.bytes.toString('utf8').trim() !== '')
    if (first !== undefined) return { delimiter, columns: columnNames(parseFields(first.bytes, delimiter) ?? []) }
  }
  return { delimiter, columns: [] }
}

function columnNames(names: readonly string[]): string[] {
  const columns: string[] = []
  for (const [i, name] of names.entries()) {
    const base = name.trim() === '' ? `column${i + 1}` : name
    let column = base
    for (let copy = 2; columns.includes(column); copy++) column = `${base}_${copy}`
    columns.push(column)
  }
  return columns
}

/**
 * Records of CSV text, the header included, one array of spans for each chunk that ends one. `line` is where a record
 * starts: quoted line breaks count. A quote that is never closed makes the rest of the text one last record.
 * Throws `record-too-large`. O(bytes), memory of one record.
 */
export async function* splitCsv(
  chunks: AsyncIterable<Buffer>,
  options: SpanOptions & { delimiter: string },
): AsyncGenerator<Span[]> {
  const limit = options.limit ?? RECORD_LIMIT
  const delimiter = options.delimiter.charCodeAt(0)
  const carry: Buffer[] = []
  let carried = 0
  let quoted = false
  // The last byte closed a quoted part: another quote right after it is an escaped one (`""`) and opens it again.
  let closed = false
  let fieldStart = true
  let line = 1
  let breaks = 0
  let offset = 0
  for await (const chunk of chunks) {
    const spans: Span[] = []
    let start = 0
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]
      if (quoted) {
        if (byte === QUOTE) {
          quoted = false
          closed = true
        } else if (byte === LF) breaks++
        continue
      }
      const reopens = closed
      closed = false
      if (byte === QUOTE) {
        quoted = fieldStart || reopens
        fieldStart = false
      } else if (byte === delimiter) fieldStart = true
      else if (byte === LF) {
        fieldStart = true
        let bytes = chunk.subarray(start, i)
        if (carried > 0) {
          bytes = Buffer.concat([...carry, bytes])
          carry.length = 0
          carried = 0
        }
        if (bytes.length > limit) throw tooLarge(options.file, limit, { line })
        const length = bytes.length + 1
        const crlf = bytes.length > 0 && bytes[bytes.length - 1] === CR
        spans.push({ bytes: crlf ? bytes.subarray(0, -1) : bytes, ending: crlf ? 2 : 1, line, offset })
        line += 1 + breaks
        breaks = 0
        offset += length
        start = i + 1
      } else fieldStart = false
    }
    if (start < chunk.length) {
      carry.push(chunk.subarray(start))
      carried += chunk.length - start
      if (carried > limit) throw tooLarge(options.file, limit, { line })
    }
    if (spans.length > 0) yield spans
  }
  if (carried > 0) yield [{ bytes: Buffer.concat(carry), ending: 0, line, offset }]
}

/** One record as a row of strings by column, or its fault: `torn-row`, `bad-csv`. Its bytes must be UTF-8. */
export function parseCsv(span: Span, dialect: CsvDialect): { row: Row } | { fault: Fault } {
  const { line } = span
  const fields = parseFields(span.bytes, dialect.delimiter)
  if (fields === undefined) {
    const torn = span.ending === 0
    const fault = {
      code: torn ? 'torn-row' : 'bad-csv',
      message: torn ? 'a quoted field is never closed' : 'a quoted field goes on after its closing quote',
      line,
      expected: torn
        ? 'a closing quote before the end of the file'
        : 'a delimiter after it, and quotes inside it doubled',
    }
    return { fault }
  }
  if (fields.length !== dialect.columns.length) {
    const fault = {
      code: 'bad-csv',
      message: 'the row is of another width than the header',
      line,
      found: `${fields.length} fields`,
      expected: `${dialect.columns.length} (${dialect.columns.join(', ')}), separated by ${JSON.stringify(dialect.delimiter)}`,
    }
    return { fault }
  }
  const row: Row = {}
  for (let i = 0; i < fields.length; i++) row[dialect.columns[i]] = fields[i]
  return { row }
}

/** Fields of one record; undefined where a quoted field is not closed, or goes on after its closing quote. */
function parseFields(bytes: Buffer, delimiter: string): string[] | undefined {
  const text = bytes.toString('utf8')
  const fields: string[] = []
  let at = 0
  for (;;) {
    if (text[at] === '"') {
      let field = ''
      let from = at + 1
      for (;;) {
        const end = text.indexOf('"', from)
        if (end < 0) return undefined
        field += text.slice(from, end)
        at = end + 1
        if (text[at] !== '"') break
        field += '"'
        from = at + 1
      }
      if (at < text.length && text[at] !== delimiter) return undefined
      fields.push(field)
    } else {
      const end = text.indexOf(delimiter, at)
      fields.push(text.slice(at, end < 0 ? text.length : end))
      at = end < 0 ? text.length : end
    }
    if (at >= text.length) return fields
    at++
  }
}
