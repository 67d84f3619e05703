/** One process at a time writes into a run directory. The lock of a process that has ended is taken over. */

import { randomUUID } from 'node:crypto'
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from './fault.ts'
import { isLinkless, temporaryPath } from './files.ts'
import { sha256 } from './hash.ts'
import { ownProcess, type ProcessIdentity, processState } from './process.ts'

export interface RunLock extends AsyncDisposable {
  /** The ended process whose lock was taken over, if there was one. */
  readonly takenFrom?: number
}

interface Holder extends ProcessIdentity {
  hostname: string
  since: string
  /** Tells two holders apart, whatever else they share. */
  nonce: string
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text)
    return typeof value?.pid === 'number' && typeof value?.host === 'string' && typeof value?.nonce === 'string'
      ? value
      : undefined
  } catch {
    return undefined
  }
}

/**
 * Take the lock file at `path`. It is made whole under another name and linked into place, so that a reader never sees
 * half of it and only one process can win.
 *
 * @throws {WinnowError} `run-locked` while its holder runs, or is on another host, where that cannot be known.
 */
export async function acquireLock(path: string): Promise<RunLock> {
  const holder: Holder = { ...ownProcess(), hostname: hostname(), since: new Date().toISOString(), nonce: randomUUID() }
  const text = JSON.stringify(holder)
  const takenFrom = await take(path, text).catch((error) => {
    throw ioError(error, path, 'write')
  })
  return {
    takenFrom,
    [Symbol.asyncDispose]: async () => {
      // Nobody replaces the lock of a running process, so what was read is what is removed.
      if ((await readFile(path, 'utf8').catch(() => undefined)) === text) await unlink(path).catch(() => undefined)
    },
  }
}

/** Puts `text` at `path` as its lock; returns the pid of the ended holder it replaced, if there was one. */
async function take(path: string, text: string): Promise<number | undefined> {
  const temporary = temporaryPath(path)
  await writeFile(temporary, text, { flag: 'wx' })
  try {
    while (true) {
      try {
        await link(temporary, path).catch((error) => {
          if (!isLinkless(error)) throw error
          return writeFile(path, text, { flag: 'wx' })
        })
        return undefined
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
      }
      const found = await readFile(path, 'utf8').catch(() => undefined)
      if (found === undefined) continue
      const other = parseHolder(found)
      if (other !== undefined && processState(other) !== 'ended') throw lockedError(path, other)
      // Several processes may have read this stale lock. Only the one that holds a lock on that very text may replace
      // it, and it looks again first: the others then find the new lock, never remove it.
      const claim = `${path}.${sha256(found).slice(0, 16)}`
      await take(claim, text)
      try {
        if ((await readFile(path, 'utf8').catch(() => undefined)) !== found) continue
        await rename(temporary, path)
        return other?.pid
      } finally {
        await unlink(claim).catch(() => undefined)
      }
    }
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}

function lockedError(path: string, holder: Holder): WinnowError {
  const here = processState(holder) === 'running'
  return new WinnowError('input', {
    code: 'run-locked',
    message: 'the run directory is in use',
    file: path,
    found: `process ${holder.pid} on ${holder.hostname}, since ${holder.since}`,
    hint: here
      ? 'Wait for it to end, or choose another --run directory.'
      : `If no winnow runs there any more, remove ${path}.`,
  })
}
