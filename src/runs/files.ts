/**
 * Files that appear whole or not at all: written beside their place under a temporary name, fsynced, renamed, and the
 * directory fsynced. A process killed at any point leaves the old file or the new one, and at most a temporary file,
 * which the next writer of that directory removes.
 */

import { createHash } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { link, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from './fault.ts'
import { type FileRecord, hashFile } from './hash.ts'
import { ownProcess, processState } from './process.ts'

export interface AtomicOptions {
  /** Replace a file that is already there. Default true; false fails with `output-exists` and leaves it alone. */
  overwrite?: boolean
}

/** A file being written; it takes its place at `commit`, and without it vanishes at the end of `await using`. */
export interface AtomicFile extends AsyncDisposable {
  /** Where it will stand. */
  readonly path: string
  /** Append. Small pieces are gathered to 1 MiB; await each call, so that memory stays bounded. */
  write(chunk: Uint8Array | string): Promise<void>
  /** Give the file its name. The record is of the bytes as written. */
  commit(): Promise<FileRecord>
}

const TEMPORARY = /^\.(.+)\.([0-9a-f]{12})-(\d+)-([0-9a-f]{12})?-\d+\.tmp$/
const BUFFER = 1 << 20
let serial = 0

/** A name beside `path` for a file on its way there; it tells its writer, so that leftovers can be recognised. */
export function temporaryPath(path: string): string {
  const { host, pid, start } = ownProcess()
  return join(dirname(path), `.${basename(path)}.${host}-${pid}-${start}-${serial++}.tmp`)
}

/**
 * Remove temporary files whose writers have ended; those of running processes and of other hosts stay. `name` limits it
 * to leftovers of one file. Returns the number removed; a directory that does not exist has none.
 */
export async function removeStaleTemporaries(
  directory: string,
  options: { name?: string; recursive?: boolean } = {},
): Promise<number> {
  let entries: Dirent[]
  try {
    entries = await readdir(directory, { withFileTypes: true })
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0
    throw ioError(error, directory, 'read')
  }
  let removed = 0
  for (const entry of entries) {
    if (entry.isDirectory()) {
      if (options.recursive) removed += await removeStaleTemporaries(join(directory, entry.name), options)
      continue
    }
    const match = TEMPORARY.exec(entry.name)
    if (match === null || (options.name !== undefined && match[1] !== options.name)) continue
    if (processState({ host: match[2], pid: Number(match[3]), start: match[4] ?? '' }) !== 'ended') continue
    // Another process may be clearing the same leftovers.
    await unlink(join(directory, entry.name)).then(
      () => removed++,
      () => undefined,
    )
  }
  return removed
}

/**
 * Makes a directory and those above it; returns the topmost one made, undefined where all were there. Node's own `recursive` never ends, and
 * takes all memory, where a directory is there but nothing can be made in it: /proc, or a working directory that was removed.
 */
export async function makeDirectories(path: string): Promise<string | undefined> {
  const make = (): Promise<boolean> =>
    mkdir(path).then(
      () => true,
      async (error) => {
        const found = await stat(path).catch(() => undefined)
        if (found?.isDirectory()) return false
        throw found === undefined ? error : Object.assign(error, { code: 'ENOTDIR' })
      },
    )
  try {
    return (await make()) ? path : undefined
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error
    const top = await makeDirectories(dirname(path))
    return (await make()) ? (top ?? path) : top
  }
}

/** Make what happened in a directory (a rename, a new file) last. Where directories cannot be synced, nothing. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EISDIR'].includes(errorCode(error) ?? '')) throw error
  } finally {
    await handle.close()
  }
}

/** Whether the error says that the file system (exFAT, some network shares) knows no hard links. */
export function isLinkless(error: unknown): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errorCode(error) ?? '')
}

async function moveIntoPlace(temporary: string, path: string, overwrite: boolean): Promise<void> {
  if (overwrite) await rename(temporary, path)
  else {
    try {
      // link, unlike rename, refuses a name that is taken, also by a process that was quicker by a moment.
      await link(temporary, path)
    } catch (error) {
      if (errorCode(error) === 'EEXIST') throw outputExists(path)
      if (!isLinkless(error)) throw error
      if ((await stat(path).catch(() => undefined)) !== undefined) throw outputExists(path)
      await rename(temporary, path)
    }
    await unlink(temporary).catch(() => undefined)
  }
  await syncDirectory(dirname(path))
}

function outputExists(path: string): WinnowError {
  return new WinnowError('input', {
    code: 'output-exists',
    message: 'the file already exists and is left as it is',
    file: path,
    hint: 'Choose another name, or remove it first.',
  })
}

/**
 * Give a finished temporary file (from `temporaryPath`, written by other code, a database for example) its place:
 * fsync, hash, rename, fsync the directory. On failure the temporary file is removed.
 */
export async function commitTemporary(
  temporary: string,
  path: string,
  options: AtomicOptions = {},
): Promise<FileRecord> {
  try {
    const handle = await open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    const record = await hashFile(temporary)
    await moveIntoPlace(temporary, path, options.overwrite ?? true)
    return record
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw ioError(error, path, 'write')
  }
}

/**
 * Begin a file at `path`, its directories created as needed. Bytes are hashed as they pass.
 *
 * @throws {WinnowError} `disk-full`, `unwritable-output`, `output-exists`, … from here, `write` or `commit`; the
 * temporary file is gone by then and whatever stood at `path` is untouched.
 */
export async function createAtomicFile(path: string, options: AtomicOptions = {}): Promise<AtomicFile> {
  const overwrite = options.overwrite ?? true
  const temporary = temporaryPath(path)
  const directory = dirname(path)
  const handle = await (async () => {
    try {
      await makeDirectories(directory)
      await removeStaleTemporaries(directory, { name: basename(path) })
      const occupant = await stat(path).catch(() => undefined)
      if (occupant !== undefined) {
        if (occupant.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' })
        // Found now rather than after hours of work; moveIntoPlace decides for good.
        if (!overwrite) throw outputExists(path)
      }
      return await open(temporary, 'wx')
    } catch (error) {
      throw ioError(error, path, 'write')
    }
  })()

  const hash = createHash('sha256')
  let size = 0
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  let state: 'open' | 'committed' | 'failed' = 'open'

  const abandon = async () => {
    state = 'failed'
    pending = []
    await handle.close().catch(() => undefined)
    await unlink(temporary).catch(() => undefined)
  }
  const flush = async () => {
    const bytes = pending.length === 1 ? pending[0] : Buffer.concat(pending, pendingBytes)
    pending = []
    pendingBytes = 0
    // A nearly full disk takes part of a write and fails the next one.
    for (let done = 0; done < bytes.length; )
      done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten
  }
  const attempt = async <T>(action: () => Promise<T>): Promise<T> => {
    if (state !== 'open') throw new Error(`${path}: the file is already ${state}`)
    try {
      return await action()
    } catch (error) {
      await abandon()
      throw ioError(error, path, 'write')
    }
  }

  return {
    path,
    write: (chunk) =>
      attempt(async () => {
        // A copy: the caller may fill its buffer again before these bytes are flushed.
        const bytes =
          typeof chunk === 'string' ? Buffer.from(chunk) : chunk.length < BUFFER ? Uint8Array.from(chunk) : chunk
        hash.update(bytes)
        size += bytes.length
        pending.push(bytes)
        pendingBytes += bytes.length
        if (pendingBytes >= BUFFER) await flush()
      }),
    commit: () =>
      attempt(async () => {
        if (pendingBytes > 0) await flush()
        await handle.sync()
        await handle.close()
        await moveIntoPlace(temporary, path, overwrite)
        state = 'committed'
        return { size, sha256: hash.digest('hex') }
      }),
    [Symbol.asyncDispose]: async () => {
      if (state === 'open') await abandon()
    },
  }
}

/** Write a whole file atomically. */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string,
  options: AtomicOptions = {},
): Promise<FileRecord> {
  await using file = await createAtomicFile(path, options)
  await file.write(content)
  return await file.commit()
}
