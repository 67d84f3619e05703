/** A run directory: opened by one process at a time, holding the journal, the manifest and the outputs of stages. */

import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from './fault.ts'
import { makeDirectories, removeStaleTemporaries } from './files.ts'
import { type Journal, openJournal } from './journal.ts'
import { acquireLock, type RunLock } from './lock.ts'
import { type Manifest, readManifest, writeManifest } from './manifest.ts'

/** What a command says of itself when it opens a run. */
export type RunFacts = Pick<Manifest, 'config' | 'seeds' | 'versions'> & Partial<Pick<Manifest, 'inputs' | 'device'>>

export interface Run extends AsyncDisposable {
  readonly directory: string
  readonly journal: Journal
  readonly manifest: Manifest
  /** What was found and mended at opening, to tell the user. */
  readonly recovered: {
    /** Pid of a killed process whose lock was taken over. */
    takenFrom?: number
    temporaries: number
    tornBytes: number
    damagedLines: number
  }
  /** Absolute path of a file inside the run, given with forward slashes. */
  path(relative: string): string
  /** Merge into the manifest (`counts` and `facts` by member, other fields whole) and write it. */
  update(patch: Partial<Manifest>): Promise<void>
}

const MARKS = ['manifest.json', 'journal.jsonl', 'lock']

/** What lies in a run before its first stage is recorded. */
const UNRECORDED = ['manifest.json', 'journal.jsonl', 'signals']

/**
 * Open a run directory, making it where there is none, or going on with the run it holds. Takes the lock, clears
 * temporary files of killed processes, cuts off a torn journal line, writes a first manifest. A run that fails with nothing in its journal
 * leaves no directory behind where it found none.
 *
 * @throws {WinnowError} `not-a-run` for a directory with other things in it, `run-locked`, `unwritable-output`,
 * `bad-manifest`, `disk-full`.
 */
export async function openRun(directory: string, facts: RunFacts): Promise<Run> {
  let made: string | undefined
  try {
    made = await makeDirectories(directory)
    const entries = await readdir(directory)
    if (entries.some((name) => !name.startsWith('.')) && !MARKS.some((mark) => entries.includes(mark)))
      throw new WinnowError('input', {
        code: 'not-a-run',
        message: 'the directory is neither empty nor a run of winnow, and is left as it is',
        file: directory,
        found: entries.slice(0, 3).join(', '),
        hint: 'Choose another --run directory.',
      })
  } catch (error) {
    throw ioError(error, directory, 'write')
  }

  const lock = await acquireLock(join(directory, 'lock'))
  let journal: Journal | undefined
  let run: Run | undefined
  // AsyncDisposableStack would say this in a word, but Node 22 lacks it.
  const release = async () => {
    await journal?.[Symbol.asyncDispose]()
    const empty = made !== undefined && run?.manifest.status === 'failed' && journal?.records.length === 0
    // While the lock is held: nobody else has begun anything here.
    if (empty) for (const name of UNRECORDED) await rm(join(directory, name), { recursive: true, force: true })
    await lock[Symbol.asyncDispose]()
    if (empty) await removeDirectories(directory, made as string)
  }
  try {
    journal = await openJournal(join(directory, 'journal.jsonl'))
    run = await openLocked(directory, facts, journal, lock, release)
    return run
  } catch (error) {
    await release()
    throw error
  }
}

/** Removes empty directories from `directory` up to `top`; one that something else is in stays, and those above it. */
async function removeDirectories(directory: string, top: string): Promise<void> {
  for (let path = resolve(directory); path.length >= resolve(top).length; path = dirname(path)) {
    const removed = await rmdir(path).then(
      () => true,
      () => false,
    )
    if (!removed) return
  }
}

async function openLocked(
  directory: string,
  facts: RunFacts,
  journal: Journal,
  lock: RunLock,
  release: () => Promise<void>,
): Promise<Run> {
  const temporaries = await removeStaleTemporaries(directory, { recursive: true })
  const manifestPath = join(directory, 'manifest.json')
  const earlier = await readManifest(manifestPath).catch((error) => {
    if (error instanceof WinnowError && error.fault.code === 'missing-file') return undefined
    throw error
  })
  const now = new Date().toISOString()
  const manifest: Manifest = {
    format: 'winnow-run',
    formatVersion: 1,
    createdAt: earlier?.createdAt ?? now,
    updatedAt: now,
    status: 'running',
    config: facts.config,
    seeds: facts.seeds,
    versions: facts.versions,
    inputs: facts.inputs ?? [],
    device: facts.device,
    stages: [],
    counts: {},
    facts: {},
  }
  await writeManifest(manifestPath, manifest)

  let written: Promise<unknown> = Promise.resolve()
  return {
    directory,
    journal,
    manifest,
    recovered: {
      takenFrom: lock.takenFrom,
      temporaries,
      tornBytes: journal.tornBytes,
      damagedLines: journal.damagedLines,
    },
    path: (relative) => join(directory, ...relative.split('/')),
    update: async (patch) => {
      const { counts, facts: more, ...rest } = patch
      Object.assign(manifest, rest, { updatedAt: new Date().toISOString() })
      Object.assign(manifest.counts, counts)
      Object.assign(manifest.facts, more)
      // One after the other: an earlier state must not replace a later one.
      const write = written.then(() => writeManifest(manifestPath, manifest))
      written = write.catch(() => undefined)
      await write
    },
    [Symbol.asyncDispose]: release,
  }
}

/** A path below the run directory as the journal names it, or undefined when it leads outside. */
export function relativePath(relative: string): string | undefined {
  const parts = relative.split(sep).join('/').split('/')
  return parts.some((part) => part === '' || part === '.' || part === '..') ? undefined : parts.join('/')
}

/** Whether a directory holds a run. */
export async function isRun(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).includes('manifest.json')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return false
    throw ioError(error, directory, 'read')
  }
}
