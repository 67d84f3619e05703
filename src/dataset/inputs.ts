/** An input file: what it holds by its first bytes (its name only decides what bytes cannot), and its bytes as a stream. */

import type { Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { type Duplex, pipeline } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { WinnowError } from '../errors.ts'
import { type CsvDialect, csvDialect } from './csv.ts'

export type InputKind = 'jsonl' | 'json' | 'csv' | 'parquet'
export type Compression = 'none' | 'gzip' | 'zstd'

export interface Input {
  path: string
  /** `jsonl`: one record a line; `json`: one array of records; `csv`: with a header row. */
  kind: InputKind
  compression: Compression
  /** Size on disk, in bytes. */
  bytes: number
  /** Modification time, in milliseconds: with the size, a cheap sign of change between passes. */
  modified: number
  /** Of CSV: delimiter and column names. */
  dialect?: CsvDialect
}

/** Bytes read at a time. */
const CHUNK = 1 << 20

/** Size of the first look at a file. */
const HEAD = 1 << 16

/**
 * Looks at a file's first bytes. Throws `empty-file`, `unreadable-file`, `unknown-kind`, `invalid-encoding` (UTF-16),
 * `truncated-gzip`, `bad-gzip` or `bad-csv` (a header that is none).
 */
export async function inspectInput(path: string): Promise<Input> {
  const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw new WinnowError(
      'input',
      {
        code: 'unreadable-file',
        message: `the file cannot be opened (${cause.code})`,
        file: path,
        hint: 'Change its permissions, or make a copy that you can read.',
      },
      { cause },
    )
  })
  const head = Buffer.alloc(4)
  let read: number
  let info: { size: number; mtimeMs: number }
  try {
    info = await file.stat()
    read = (await file.read(head, 0, 4, 0)).bytesRead
  } finally {
    await file.close()
  }
  const input: Input = { path, kind: 'jsonl', compression: 'none', bytes: info.size, modified: info.mtimeMs }
  if (read === 0) throw emptyFile(path)
  if (head.toString('latin1') === 'PAR1') return { ...input, kind: 'parquet' }
  if (head[0] === 0x1f && head[1] === 0x8b) input.compression = 'gzip'
  if (head.readUInt32LE() === 0xfd2fb528) input.compression = 'zstd'
  const start: Buffer[] = []
  let size = 0
  for await (const chunk of readBytes(input)) {
    start.push(chunk)
    size += chunk.length
    if (size >= HEAD) break
  }
  if (size === 0) throw emptyFile(path)
  const text = Buffer.concat(start)
  input.kind = textKind(path, text)
  if (input.kind !== 'csv') return input
  const dialect = await csvDialect(text)
  if (dialect.columns.length === 0 && text.toString('utf8').trim() !== '') {
    throw new WinnowError('input', {
      code: 'bad-csv',
      message: 'the header is not CSV',
      file: path,
      line: 1,
      found: JSON.stringify(text.toString('utf8', 0, 48)),
      expected: 'column names, with every quote closed',
    })
  }
  return { ...input, dialect }
}

function textKind(path: string, head: Buffer): InputKind {
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    throw new WinnowError('input', {
      code: 'invalid-encoding',
      message: 'the file is not UTF-8',
      file: path,
      found: 'the byte order mark of UTF-16',
      expected: 'UTF-8',
      hint: `Convert it: iconv -f UTF-16 -t UTF-8 ${path}.`,
    })
  }
  const name = path.toLowerCase().replace(/\.(gz|zst)$/, '')
  const text = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart()
  if (text.startsWith('{')) return 'jsonl'
  // A line of JSON Lines may be an array too (a bad row); only a file that does not say .jsonl is an array of records.
  if (text.startsWith('[')) return /\.(jsonl|ndjson)$/.test(name) && /^\[.*\]\s*\n\s*[[{]/.test(text) ? 'jsonl' : 'json'
  if (/\.(csv|tsv)$/.test(name)) return 'csv'
  if (text === '' || /\.(jsonl|ndjson|json)$/.test(name)) return 'jsonl'
  throw new WinnowError('input', {
    code: 'unknown-kind',
    message: 'the file is of no kind that winnow reads',
    file: path,
    found: `first bytes ${JSON.stringify(text.slice(0, 24))}`,
    expected: 'JSON Lines, a JSON array, CSV or TSV (by its name), or Parquet; all but Parquet also .gz or .zst',
    hint: 'Plain text has to be put into records: {"text": …} on each line.',
  })
}

function emptyFile(path: string): WinnowError {
  return new WinnowError('input', {
    code: 'empty-file',
    message: 'the file is empty',
    file: path,
    found: '0 bytes',
    expected: 'at least one record',
    hint: 'Check that it was written or fetched to its end.',
  })
}

/** What a pass over a file's bytes learns on the way. */
export interface ByteMeter {
  /** Bytes of the file read so far, compressed if it is. */
  bytes: number
  /** Updated with the file's own bytes, compressed if it is. */
  hash?: Hash
  /** Whether the text starts with a UTF-8 byte order mark. */
  bom?: boolean
}

/**
 * A file's text as chunks of bytes: decompressed, without its byte order mark. `meter` is brought up to date before
 * each chunk. Throws `truncated-gzip` or `bad-gzip` (`-zstd`), `unreadable-file`.
 */
export async function* readBytes(input: Input, meter: ByteMeter = { bytes: 0 }): AsyncGenerator<Buffer> {
  let first = true
  let held: Buffer | undefined
  for await (const chunk of decompressed(input, meter)) {
    if (!first) yield chunk
    else {
      held = held === undefined ? chunk : Buffer.concat([held, chunk])
      if (held.length < 3) continue
      first = false
      meter.bom = hasBom(held)
      yield meter.bom ? held.subarray(3) : held
    }
  }
  if (first && held !== undefined) yield held
}

const hasBom = (bytes: Buffer) => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf

async function* metered(input: Input, meter: ByteMeter): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(input.path, { highWaterMark: CHUNK }) as AsyncIterable<Buffer>) {
    meter.bytes += chunk.length
    meter.hash?.update(chunk)
    yield chunk
  }
}

async function* decompressed(input: Input, meter: ByteMeter): AsyncGenerator<Buffer> {
  try {
    if (input.compression === 'none') return yield* metered(input, meter)
    const inflate: Duplex =
      input.compression === 'gzip' ? createGunzip({ chunkSize: CHUNK }) : createZstdDecompress({ chunkSize: CHUNK })
    // Errors of either stream end the iteration below; the callback only keeps them from being unhandled.
    pipeline(metered(input, meter), inflate, () => {})
    yield* inflate as AsyncIterable<Buffer>
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (input.compression !== 'none' && !code?.startsWith('E')) {
      const truncated = code === 'Z_BUF_ERROR' || message.includes('unexpected end')
      const fault = {
        code: `${truncated ? 'truncated' : 'bad'}-${input.compression}`,
        message: truncated
          ? `the ${input.compression} data end too early`
          : `the ${input.compression} data are damaged`,
        file: input.path,
        found: message,
        hint: 'Fetch or compress the file again.',
      }
      throw new WinnowError('input', fault, { cause })
    }
    const fault = { code: 'unreadable-file', message: `the file cannot be read (${code ?? message})`, file: input.path }
    throw new WinnowError('failure', fault, { cause })
  }
}
