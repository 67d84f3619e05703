/**
 * The cache that the Python client (huggingface_hub) and winnow share:
 *
 *     <cache>/models--<owner>--<name>/
 *       refs/<revision>                the commit that a branch or tag stood at
 *       blobs/<etag>                   contents, by their hash
 *       snapshots/<commit>/<file>      symbolic links to blobs; copies where there are no links
 *       .no_exist/<commit>/<file>      empty: the repository has no such file at this commit
 *       trees/<commit>.json            what the repository holds, where a recent Python client wrote it
 */

import { copyFile, mkdir, readFile, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { getRepoFolderName } from '@huggingface/hub'
import { errorCode, ioError } from '../runs/fault.ts'
import { makeDirectories, temporaryPath, writeFileAtomic } from '../runs/files.ts'
import type { RepositoryFile } from './listing.ts'
import { isCommit } from './reference.ts'
import type { Wanted } from './wanted.ts'

/** One repository's folder in the cache. */
export const repositoryFolder = (cacheDir: string, id: string) =>
  join(cacheDir, getRepoFolderName({ type: 'model', name: id }))

export const blobPath = (folder: string, etag: string) => join(folder, 'blobs', etag)
export const snapshotPath = (folder: string, commit: string) => join(folder, 'snapshots', commit)
const absencePath = (folder: string, commit: string, file: string) => join(folder, '.no_exist', commit, file)

/** Bytes of what stands at a path, links followed; undefined where there is nothing, or a link to nothing. */
export async function maybeSize(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    () => undefined,
  )
}

/** The commit that a branch or tag stood at when it was last asked for. */
export async function maybeRef(folder: string, revision: string): Promise<string | undefined> {
  const text = await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')
  return isCommit(text.trim()) ? text.trim() : undefined
}

export async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit || (await maybeRef(folder, revision)) === commit) return
  await writeFileAtomic(join(folder, 'refs', revision), commit)
}

/** Remembers that a repository has no such file at this commit, so that neither client asks again. Unsaid where it cannot be written. */
export async function writeAbsence(folder: string, commit: string, file: string): Promise<void> {
  const path = absencePath(folder, commit, file)
  await makeDirectories(dirname(path)).catch(() => undefined)
  await writeFile(path, '').catch(() => undefined)
}

/** The listing of a commit that a recent Python client left; undefined where there is none, or in a form that is not known. */
export async function maybeListing(folder: string, commit: string): Promise<RepositoryFile[] | undefined> {
  try {
    const tree = JSON.parse(await readFile(join(folder, 'trees', `${commit}.json`), 'utf8'))
    if (tree.format_version !== 1) return undefined
    const files = Object.entries(tree.files as Record<string, Record<string, unknown>>).map(([path, file]) => ({
      path,
      size: (file.lfs_size ?? file.size) as number,
      etag: (file.lfs_sha256 ?? file.blob_id) as string,
    }))
    const whole = files.every(
      ({ size, etag }) => Number.isSafeInteger(size) && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag),
    )
    return whole ? files : undefined
  } catch {
    return undefined
  }
}

/**
 * Puts a blob into a commit's snapshot: a relative link, or a copy where links cannot be made (Windows without the right to) or are
 * not wanted. It appears whole, and replaces what stood there.
 */
export async function placeInSnapshot(
  folder: string,
  { commit, path, etag, copies }: { commit: string; path: string; etag: string; copies: boolean },
): Promise<void> {
  const place = join(snapshotPath(folder, commit), path)
  const blob = blobPath(folder, etag)
  try {
    await makeDirectories(dirname(place))
    const temporary = temporaryPath(place)
    try {
      const linked = !copies && (await maybeLink(relative(dirname(place), blob), temporary))
      if (!linked) await copyFile(blob, temporary)
      await rename(temporary, place)
    } finally {
      await unlink(temporary).catch(() => undefined)
    }
  } catch (error) {
    throw ioError(error, place, 'write')
  }
}

async function maybeLink(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path, 'file')
    return true
  } catch (error) {
    if (['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'UNKNOWN'].includes(errorCode(error) ?? ''))
      return false
    throw error
  }
}

export interface SnapshotState {
  /** Files that are needed, or known to be in the repository, and that are not in the snapshot. */
  missing: string[]
  /** Whether every file that is wanted is there, or known not to be in the repository. */
  whole: boolean
}

/** How much of what is wanted a commit's snapshot holds. Asks nobody. */
export async function snapshotState(folder: string, commit: string, wanted: Wanted): Promise<SnapshotState> {
  const directory = snapshotPath(folder, commit)
  const has = async (file: string) => (await maybeSize(join(directory, file))) !== undefined
  const listing = await maybeListing(folder, commit)
  const missing: string[] = []
  let whole = true
  for (const file of wanted.files) {
    if (await has(file)) continue
    const listed = listing?.some(({ path }) => path === file)
    const absent = listed === false || (await maybeSize(absencePath(folder, commit, file))) !== undefined
    if (listed || (wanted.needed.includes(file) && !absent)) missing.push(file)
    else if (!absent) whole = false
  }
  missing.push(...(await wanted.lacking(directory, has)))
  return { missing, whole: whole && missing.length === 0 }
}

/** The directory for a repository's blobs, made if need be. Throws `unwritable-output` and the like. */
export async function makeBlobs(folder: string): Promise<string> {
  const blobs = join(folder, 'blobs')
  await makeDirectories(folder).catch((error) => {
    throw ioError(error, folder, 'write')
  })
  await mkdir(blobs).catch((error) => {
    if (errorCode(error) !== 'EEXIST') throw ioError(error, blobs, 'write')
  })
  return blobs
}
