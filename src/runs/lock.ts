/** One process at a time writes into a run directory. The lock of a process that has ended is taken over. */

import { randomUUID } from 'node:crypto'
import { constants, copyFile, link, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from './fault.ts'
import { isLinkless, temporaryPath } from './files.ts'
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
  const temporary = temporaryPath(path)
  let takenFrom: number | undefined
  try {
    await writeFile(temporary, text, { flag: 'wx' })
    while (true) {
      try {
        await link(temporary, path).catch((error) => {
          if (!isLinkless(error)) throw error
          return writeFile(path, text, { flag: 'wx' })
        })
        break
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
      }
      const found = await readFile(path, 'utf8').catch(() => undefined)
      if (found === undefined) continue
      const other = parseHolder(found)
      if (other !== undefined && processState(other) !== 'ended') throw lockedError(path, other)
      if (await removeExactly(path, found)) takenFrom = other?.pid
    }
  } catch (error) {
    throw ioError(error, path, 'write')
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
  return {
    takenFrom,
    [Symbol.asyncDispose]: async () => {
      await removeExactly(path, text)
    },
  }
}

/** Remove the lock if it is still the one that was read; a newer one, put there meanwhile, is put back. */
async function removeExactly(path: string, expected: string): Promise<boolean> {
  const aside = temporaryPath(path)
  try {
    await rename(path, aside)
  } catch {
    return false
  }
  const isExpected = (await readFile(aside, 'utf8').catch(() => undefined)) === expected
  if (!isExpected) await copyFile(aside, path, constants.COPYFILE_EXCL).catch(() => undefined)
  await unlink(aside).catch(() => undefined)
  return isExpected
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
