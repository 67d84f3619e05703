/** Records as spans of bytes, still unparsed: the lines of JSON Lines and the elements of a JSON array. */

import { WinnowError } from '../errors.ts'

export interface Span {
  /** The record's own bytes, without its line ending. Valid after the next chunk too. */
  bytes: Buffer
  /** Bytes of the line ending: 0 (end of file, or an array element), 1 (`\n`) or 2 (`\r\n`). */
  ending: 0 | 1 | 2
  /** 1-based line on which it starts, or record number in an array. */
  line: number
  /** Offset of the first byte in the (decompressed) text, the byte order mark not counted. */
  offset: number
}

/** Largest record read, in bytes: 64 MiB. */
export const RECORD_LIMIT = 64 * 2 ** 20

export interface SpanOptions {
  file: string
  /** Largest record in bytes. Default RECORD_LIMIT. */
  limit?: number
}

/**
 * Lines of a stream of chunks, empty ones included; one array of spans for each chunk that ends a line. A last line without line feed is a line.
 * Bytes inside a chunk are not copied; a line over several chunks is, once. Throws `record-too-large`.
 */
export async function* splitLines(chunks: AsyncIterable<Buffer>, options: SpanOptions): AsyncGenerator<Span[]> {
  const limit = options.limit ?? RECORD_LIMIT
  const carry: Buffer[] = []
  let carried = 0
  let line = 1
  let offset = 0
  for await (const chunk of chunks) {
    const spans: Span[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      let bytes = chunk.subarray(start, end)
      if (carried > 0) {
        carry.push(bytes)
        bytes = Buffer.concat(carry)
        carry.length = 0
        carried = 0
      }
      if (bytes.length > limit) throw tooLarge(options.file, limit, { line })
      const length = bytes.length + 1
      const crlf = bytes.length > 0 && bytes[bytes.length - 1] === 13
      if (crlf) bytes = bytes.subarray(0, -1)
      spans.push({ bytes, ending: crlf ? 2 : 1, line, offset })
      line++
      offset += length
      start = end + 1
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

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)

/**
 * Elements of the JSON array that a stream of chunks holds, as bytes trimmed of white space. Only the structure is
 * read (strings, brackets, commas); whether an element is JSON is for its parser to say.
 * Throws `torn-array` (the text ends inside the array), `bad-json` (anything but white space around it, an empty
 * element) with byte offsets, `record-too-large`. O(bytes), memory of one element.
 */
export async function* splitArray(chunks: AsyncIterable<Buffer>, options: SpanOptions): AsyncGenerator<Span[]> {
  const limit = options.limit ?? RECORD_LIMIT
  const carry: Buffer[] = []
  let carried = 0
  let record = 0
  let base = 0
  // Depth 0 is outside the array, 1 between its elements' values, more inside one. -1: the array has ended.
  let depth = 0
  let inString = false
  let escaped = false
  // Where the current element starts in the text; -1 between elements.
  let from = -1
  let afterComma = false
  const bad = (message: string, at: number) =>
    new WinnowError('input', {
      code: 'bad-json',
      message,
      file: options.file,
      path: `byte ${at}, near record ${record + 1}`,
      expected: 'one JSON array of records',
    })
  for await (const chunk of chunks) {
    const spans: Span[] = []
    const finish = (i: number) => {
      let bytes = chunk.subarray(Math.max(0, from - base), i)
      if (carried > 0) bytes = Buffer.concat([...carry, bytes])
      carry.length = 0
      carried = 0
      let length = bytes.length
      while (length > 0 && isSpace(bytes[length - 1])) length--
      if (length > limit) throw tooLarge(options.file, limit, { record: record + 1 })
      spans.push({ bytes: bytes.subarray(0, length), ending: 0, line: ++record, offset: from })
      from = -1
    }
    for (let i = 0; i < chunk.length; i++) {
      if (inString) {
        const end = chunk.indexOf(QUOTE, i)
        const stop = end < 0 ? chunk.length : end
        let backslashes = 0
        while (stop - backslashes > i && chunk[stop - backslashes - 1] === BACKSLASH) backslashes++
        // A backslash left over from the chunk before belongs to a run that reaches back to here.
        if (escaped && backslashes === stop - i) backslashes++
        escaped = backslashes % 2 === 1
        if (end >= 0) {
          inString = escaped
          escaped = false
        }
        i = stop
        continue
      }
      const byte = chunk[i]
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) continue
      if (depth <= 0) {
        if (depth === 0 && byte === 0x5b) depth = 1
        else throw bad(depth === 0 ? 'the text is no JSON array' : 'text follows the end of the array', base + i)
        continue
      }
      const ends = depth === 1 && (byte === COMMA || byte === 0x5d)
      if (ends) {
        if (from >= 0) finish(i)
        else if (byte === COMMA || afterComma) throw bad('the array has an empty element', base + i)
        afterComma = byte === COMMA
        if (byte === 0x5d) depth = -1
        continue
      }
      if (from < 0) from = base + i
      if (byte === QUOTE) inString = true
      else if (byte === 0x7b || byte === 0x5b) depth++
      else if (byte === 0x7d || byte === 0x5d) {
        depth--
        if (depth < 1) throw bad('a bracket closes what was never opened', base + i)
      }
    }
    if (from >= 0) {
      carry.push(chunk.subarray(Math.max(0, from - base)))
      carried += carry.at(-1)!.length
      if (carried > limit) throw tooLarge(options.file, limit, { record: record + 1 })
    }
    base += chunk.length
    if (spans.length > 0) yield spans
  }
  if (depth !== -1) {
    throw new WinnowError('input', {
      code: 'torn-array',
      message: 'the file ends inside its JSON array',
      file: options.file,
      path: `record ${record + 1}`,
      found: `the end of the text after ${base} bytes`,
      expected: '`]`',
      hint: 'The file was cut off: write or fetch it again.',
    })
  }
}

/** The fault of a record over the limit, by its line or its number in an array. */
export function tooLarge(file: string, limit: number, at: { line?: number; record?: number }): WinnowError {
  return new WinnowError('input', {
    code: 'record-too-large',
    message: 'the record is too large to be a training example',
    file,
    line: at.line,
    path: at.record === undefined ? undefined : `record ${at.record}`,
    found: `more than ${limit} bytes`,
    expected: `at most ${limit} bytes a record`,
    hint: 'Split it, or check that every record ends with a line feed.',
  })
}
