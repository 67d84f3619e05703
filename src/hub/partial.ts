/**
 * Downloads that were not finished: `blobs/<etag>.<writer>.incomplete`. Every writer has a file of its own, so that two processes never
 * write into one; what a writer that has ended left behind is taken over by the next, who goes on where it stopped.
 */

import { constants, copyFile, readdir, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode } from '../runs/fault.ts'
import { ownProcess, processState } from '../runs/process.ts'

const OWN = /^\.([0-9a-f]{12})-(\d+)-([0-9a-f]{12})?-\d+\.incomplete$/
/** A Python client's: one for all writers under a lock in older ones, one a writer in recent ones (huggingface_hub 2.4). */
const PYTHON = /^(\.[0-9a-f]{8})?\.incomplete$/
/** A Python client's file that nobody has written for so long is taken for abandoned, milliseconds. */
const ABANDONED = 3_600_000

const inUse = new Set<string>()
let serial = 0

export interface Partial extends Disposable {
  /** This writer's own file. It may not be there yet. */
  path: string
}

/**
 * The file to download a blob into, with the longest beginning that is to be had already in it. Held until disposed: another download of
 * the same blob in this process gets a file of its own.
 */
export async function claimPartial(blob: string): Promise<Partial> {
  const directory = dirname(blob)
  const { host, pid, start } = ownProcess()
  const path = join(directory, `${basename(blob)}.${host}-${pid}-${start}-${serial++}.incomplete`)
  inUse.add(path)
  for (const found of await candidates(blob)) {
    try {
      // Whoever renames it first has it.
      if (found.copy) await copyFile(found.path, path, constants.COPYFILE_FICLONE)
      else await rename(found.path, path)
      break
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error
    }
  }
  return { path, [Symbol.dispose]: () => inUse.delete(path) }
}

/** Removes what is left of unfinished downloads of a blob that is whole by now. */
export async function removePartials(blob: string): Promise<void> {
  for (const { path, copy } of await candidates(blob)) if (!copy) await unlink(path).catch(() => undefined)
}

interface Candidate {
  path: string
  bytes: number
  /** Its writer may still be at work: its beginning is taken as a copy. */
  copy: boolean
}

/** Beginnings of a blob that may be used, the longest first. */
async function candidates(blob: string): Promise<Candidate[]> {
  const directory = dirname(blob)
  const found: Candidate[] = []
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${basename(blob)}.`)) continue
    const path = join(directory, name)
    const ending = name.slice(basename(blob).length)
    const own = OWN.exec(ending)
    const info = await stat(path).catch(() => undefined)
    if (info === undefined || (own === null && !PYTHON.test(ending))) continue
    if (own === null) {
      const abandoned = Date.now() - info.mtimeMs > ABANDONED
      // The shared file of older clients only grows, so any beginning of it is one of the blob too.
      if (abandoned || ending === '.incomplete') found.push({ path, bytes: info.size, copy: !abandoned })
      continue
    }
    const writer = { host: own[1], pid: Number(own[2]), start: own[3] ?? '' }
    const ours = writer.pid === process.pid && writer.host === ownProcess().host && writer.start === ownProcess().start
    const idle = ours ? !inUse.has(path) : processState(writer) === 'ended'
    if (idle) found.push({ path, bytes: info.size, copy: false })
  }
  return found.sort((a, b) => b.bytes - a.bytes)
}
