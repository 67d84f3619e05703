/**
 * A pool's tokens on disk, one file: all tokens in row order (uint32, little endian, TRAINED_BIT marks those that carry
 * loss), then the length and the label count of each row (uint32, [N] each), then a footer of 72 bytes:
 *
 * ```
 * magic "WINTOK1\n" | rows u64 | tokens u64 | crc32 of the tokens u32 | crc32 of lengths and labels u32 | tokenizer hash 32 | zeros 4 | crc32 of the footer u32
 * ```
 *
 * The footer comes last and the file gets its name after fsync, so a file with this name is whole; sizes and sums are
 * checked when it is opened. Memory: 8 bytes a row, one buffer for writing or reading ahead.
 */

import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { endianness } from 'node:os'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { WinnowError } from '../errors.ts'
import type { TokenRows } from '../training/rows.ts'

const MAGIC = 'WINTOK1\n'
const FOOTER = 72
const BUFFER_TOKENS = 1 << 18

export interface TokenWriter extends Disposable {
  /** Appends the next row. */
  append(tokens: Uint32Array): void
  /** Rows, tokens and trained tokens so far. */
  readonly rows: number
  readonly tokens: number
  readonly labels: number
  /** Writes what is left, syncs, and gives the file its name; the writer is closed afterwards. */
  finish(): void
  /** Drops the unfinished file; nothing happens after `finish`. */
  [Symbol.dispose](): void
}

export interface TokenStore extends TokenRows, Disposable {
  /** Tokens of all rows. */
  readonly tokens: number
  /** Trained tokens of all rows. */
  readonly trained: number
  /** `Tokenizer.hash` of the tokenizer that made them. */
  readonly tokenizerHash: string
  [Symbol.dispose](): void
}

/**
 * A writer of `file`; the directory is made if need be. `tokenizerHash` is `Tokenizer.hash`. Throws a WinnowError
 * `disk-full` or `unwritable-file` (kind `failure`) when the disk refuses, at any call.
 */
export function createTokenStore(file: string, options: { tokenizerHash: string }): TokenWriter {
  refuseBigEndian()
  const temporary = `${file}.tmp`
  const refused = (error: unknown) => {
    const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
    return new WinnowError(
      'failure',
      {
        code: full ? 'disk-full' : 'unwritable-file',
        message: full ? 'no space is left on the disk' : 'token store cannot be written',
        file,
        found: error instanceof Error ? error.message : String(error),
        hint: `${full ? 'Free some space' : 'Check the permissions there'}, then run the same command again; finished stages are kept.`,
      },
      { cause: error },
    )
  }
  let fd = -1
  const guarded = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw error instanceof WinnowError ? error : refused(error)
    }
  }
  guarded(() => {
    mkdirSync(dirname(file), { recursive: true })
    fd = openSync(temporary, 'w')
  })

  const buffer = new Uint32Array(BUFFER_TOKENS)
  let buffered = 0
  let sum = 0
  let rows = 0
  let tokens = 0
  let labels = 0
  let lengthOf = new Uint32Array(1024)
  let labelsOf = new Uint32Array(1024)

  const flush = () => {
    const bytes = asBytes(buffer.subarray(0, buffered))
    sum = crc32(bytes, sum)
    writeAll(fd, bytes)
    buffered = 0
  }
  const close = () => {
    if (fd !== -1) closeSync(fd)
    fd = -1
  }

  return {
    get rows() {
      return rows
    },
    get tokens() {
      return tokens
    },
    get labels() {
      return labels
    },
    append: (row) =>
      guarded(() => {
        if (fd === -1) throw new Error('the writer is closed')
        for (let from = 0; from < row.length; ) {
          if (buffered === BUFFER_TOKENS) flush()
          const part = row.subarray(from, from + BUFFER_TOKENS - buffered)
          buffer.set(part, buffered)
          buffered += part.length
          from += part.length
        }
        let trained = 0
        for (let i = 0; i < row.length; i++) trained += row[i] >>> 31
        if (rows === lengthOf.length) {
          lengthOf = doubled(lengthOf)
          labelsOf = doubled(labelsOf)
        }
        lengthOf[rows] = row.length
        labelsOf[rows] = trained
        rows++
        tokens += row.length
        labels += trained
      }),
    finish: () =>
      guarded(() => {
        if (fd === -1) throw new Error('the writer is closed')
        flush()
        const index = [asBytes(lengthOf.subarray(0, rows)), asBytes(labelsOf.subarray(0, rows))]
        for (const part of index) writeAll(fd, part)
        const footer = Buffer.alloc(FOOTER)
        footer.write(MAGIC, 0, 'latin1')
        footer.writeBigUInt64LE(BigInt(rows), 8)
        footer.writeBigUInt64LE(BigInt(tokens), 16)
        footer.writeUInt32LE(sum, 24)
        footer.writeUInt32LE(crc32(index[1], crc32(index[0])), 28)
        footer.write(options.tokenizerHash, 32, 'hex')
        footer.writeUInt32LE(crc32(footer.subarray(0, FOOTER - 4)), FOOTER - 4)
        writeAll(fd, footer)
        fsyncSync(fd)
        close()
        renameSync(temporary, file)
        syncDirectory(dirname(file))
      }),
    [Symbol.dispose]() {
      const unfinished = fd !== -1
      close()
      if (unfinished) rmSync(temporary, { force: true })
    },
  }
}

/**
 * Opens a token store. Everything is verified first: footer, size, both sums (one pass over the file, about 1 GB/s).
 * Throws a WinnowError `missing-file` or `damaged-token-store` (kind `failure`).
 */
export function openTokenStore(file: string): TokenStore {
  refuseBigEndian()
  const damaged = (found: string, expected?: string) =>
    new WinnowError('failure', {
      code: 'damaged-token-store',
      message: 'token store is not whole',
      file,
      found,
      expected,
      hint: 'Delete it and run the same command again: it is made anew from the pool.',
    })
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    throw new WinnowError(
      'failure',
      { code: 'missing-file', message: 'token store cannot be opened', file, found: (error as Error).message },
      { cause: error },
    )
  }
  try {
    const size = fstatSync(fd).size
    if (size < FOOTER) throw damaged(`${size} bytes`, `at least ${FOOTER}`)
    const footer = Buffer.alloc(FOOTER)
    readAll(fd, footer, size - FOOTER)
    if (footer.toString('latin1', 0, 8) !== MAGIC || crc32(footer.subarray(0, FOOTER - 4)) !== footer.readUInt32LE(68))
      throw damaged('a footer with a wrong sum')
    const count = Number(footer.readBigUInt64LE(8))
    const tokens = Number(footer.readBigUInt64LE(16))
    const expected = 4 * tokens + 8 * count + FOOTER
    if (size !== expected) throw damaged(`${size} bytes`, `${expected}`)
    const lengths = new Uint32Array(count)
    const labels = new Uint32Array(count)
    readAll(fd, asBytes(lengths), 4 * tokens)
    readAll(fd, asBytes(labels), 4 * tokens + 4 * count)
    if (crc32(asBytes(labels), crc32(asBytes(lengths))) !== footer.readUInt32LE(28))
      throw damaged('lengths with a wrong sum')
    const window = new Uint32Array(BUFFER_TOKENS)
    let sum = 0
    for (let at = 0; at < tokens; at += BUFFER_TOKENS) {
      const part = asBytes(window.subarray(0, Math.min(BUFFER_TOKENS, tokens - at)))
      readAll(fd, part, 4 * at)
      sum = crc32(part, sum)
    }
    if (sum !== footer.readUInt32LE(24)) throw damaged('tokens with a wrong sum')
    return reader(fd, { lengths, labels, tokens, window, tokenizerHash: footer.toString('hex', 32, 64) })
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function reader(
  file: number,
  store: { lengths: Uint32Array; labels: Uint32Array; tokens: number; window: Uint32Array; tokenizerHash: string },
): TokenStore {
  const { lengths, labels, tokens, window, tokenizerHash } = store
  let fd = file
  const count = lengths.length
  const starts = new Float64Array(count + 1)
  for (let row = 0; row < count; row++) starts[row + 1] = starts[row] + lengths[row]
  if (starts[count] !== tokens) throw new RangeError(`lengths add up to ${starts[count]}, not to ${tokens} tokens`)
  // A row that follows the one read last is taken from a window read ahead; any other is read alone.
  let windowStart = 0
  let windowEnd = 0
  let last = -1
  return {
    count,
    lengths,
    labels,
    tokens,
    trained: labels.reduce((sum, rowLabels) => sum + rowLabels, 0),
    tokenizerHash,
    read(row) {
      if (!(Number.isInteger(row) && row >= 0 && row < count))
        throw new RangeError(`row ${row} is not in [0, ${count})`)
      const [start, end] = [starts[row], starts[row + 1]]
      const sequential = row === last + 1
      last = row
      if (sequential && end - start <= window.length && !(start >= windowStart && end <= windowEnd)) {
        windowStart = start
        windowEnd = Math.min(start + window.length, tokens)
        readAll(fd, asBytes(window.subarray(0, windowEnd - windowStart)), 4 * start)
      }
      if (start >= windowStart && end <= windowEnd) return window.slice(start - windowStart, end - windowStart)
      const own = new Uint32Array(end - start)
      readAll(fd, asBytes(own), 4 * start)
      return own
    },
    [Symbol.dispose]() {
      if (fd !== -1) closeSync(fd)
      fd = -1
    },
  }
}

function asBytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

function doubled(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * array.length)
  larger.set(array)
  return larger
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

function readAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(fd, bytes, at, bytes.length - at, position + at)
    if (read === 0) throw new RangeError(`the file ends at byte ${position + at}`)
    at += read
  }
}

/** Makes a rename last through a power failure; Windows has no such call for directories. */
function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Typed arrays go to the file as they lie in memory. */
function refuseBigEndian(): void {
  if (endianness() === 'BE')
    throw new WinnowError('failure', {
      code: 'unsupported-machine',
      message: 'this machine stores numbers big end first, which token stores do not support',
    })
}
