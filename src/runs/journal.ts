/**
 * The append-only record of a run: one JSON object a line, fsynced before anything relies on it. A line torn by a kill
 * or a power cut is the last one; it is cut off when the journal is next opened, and the work it stood for done again.
 */

import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ioError } from './fault.ts'
import { syncDirectory } from './files.ts'
import { canonicalJson, type FileRecord, type Json } from './hash.ts'

/** A file of the run: its path inside the run directory with forward slashes, and what it held when recorded. */
export interface OutputRecord extends FileRecord {
  path: string
}

export interface JournalRecord {
  event: 'part' | 'done'
  stage: string
  /** The stage's cache key, hex. */
  key: string
  /** Name of the finished part (`event: 'part'`), unique in the stage. */
  part?: string
  outputs: OutputRecord[]
  /** What the stage or part returned. */
  value: Json
  /** ISO 8601. */
  at: string
  /** Wall-clock seconds of the execution (`event: 'done'`). */
  seconds?: number
}

export interface Journal extends AsyncDisposable {
  readonly records: readonly JournalRecord[]
  /** Bytes of a torn last line that were cut off at opening. */
  readonly tornBytes: number
  /** Complete lines that are no journal records (damage from outside); they are passed over. */
  readonly damagedLines: number
  /** Append one record; it is on the disk when the promise resolves. */
  append(record: JournalRecord): Promise<void>
}

function parseRecord(line: string): JournalRecord | undefined {
  try {
    const value = JSON.parse(line)
    const isRecord =
      (value?.event === 'part' || value?.event === 'done') &&
      typeof value.stage === 'string' &&
      typeof value.key === 'string' &&
      Array.isArray(value.outputs)
    return isRecord ? value : undefined
  } catch {
    return undefined
  }
}

/** Read journal text: its records, and the length in bytes of what is whole. */
export function parseJournal(bytes: Uint8Array): {
  records: JournalRecord[]
  wholeBytes: number
  damagedLines: number
} {
  const records: JournalRecord[] = []
  const decoder = new TextDecoder()
  let damagedLines = 0
  let start = 0
  for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
    const record = parseRecord(decoder.decode(bytes.subarray(start, end)))
    if (record !== undefined) records.push(record)
    else if (end > start) damagedLines++
    start = end + 1
  }
  return { records, wholeBytes: start, damagedLines }
}

/** Open (or begin) the journal at `path`, cutting off a torn last line. */
export async function openJournal(path: string): Promise<Journal> {
  let handle: FileHandle
  let text: Uint8Array
  try {
    handle = await open(path, 'a+')
    text = await handle.readFile()
  } catch (error) {
    throw ioError(error, path, 'write')
  }
  const { records, wholeBytes, damagedLines } = parseJournal(text)
  let length = wholeBytes
  try {
    if (text.length > wholeBytes) await handle.truncate(wholeBytes)
    await handle.sync()
    await syncDirectory(dirname(path))
  } catch (error) {
    await handle.close()
    throw ioError(error, path, 'write')
  }

  const write = async (record: JournalRecord) => {
    const line = Buffer.from(`${canonicalJson(record as unknown as Json)}\n`)
    try {
      for (let done = 0; done < line.length; ) done += (await handle.write(line, done, line.length - done)).bytesWritten
      await handle.datasync()
    } catch (error) {
      // What came through of the line would join the next one.
      await handle.truncate(length).catch(() => undefined)
      throw ioError(error, path, 'write')
    }
    length += line.length
    records.push(record)
  }
  let queue: Promise<unknown> = Promise.resolve()
  return {
    records,
    tornBytes: text.length - wholeBytes,
    damagedLines,
    append: (record) => {
      const appended = queue.then(() => write(record))
      queue = appended.catch(() => undefined)
      return appended
    },
    [Symbol.asyncDispose]: async () => {
      await queue
      await handle.close()
    },
  }
}
