/** Downloads one file by its content hash: resumed where it stopped, verified, and given its name only when it is what it should be. */

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { constants, type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { WinnowError } from '../errors.ts'
import { ioError } from '../runs/fault.ts'
import { syncDirectory } from '../runs/files.ts'
import { blobPath, makeBlobs, maybeSize } from './cache.ts'
import { connectionFault, type HubRequest, PassingFailure } from './faults.ts'
import type { RepositoryFile } from './listing.ts'
import { claimPartial, removePartials } from './partial.ts'
import type { OpenAnswer, Transport } from './transport.ts'

/** How far the download of a file is. */
export interface DownloadProgress {
  /** Inside the repository. */
  file: string
  /** Of it that are there, those of earlier attempts included. */
  bytes: number
  total: number
}

export interface BlobRequest {
  file: RepositoryFile
  url: string
  /** The repository's folder in the cache. */
  folder: string
  hub: HubRequest
  transport: Transport
  onProgress?: (progress: DownloadProgress) => void
}

/** sha256 of the bytes, or git's hash of them as a blob: sha1 of `blob <size>`, a zero byte and the bytes. */
function contentHash({ etag, size }: RepositoryFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

/**
 * Makes sure that `blobs/<etag>` is there. Afterwards its size and content hash are those of the listing; on any failure there is no
 * file of that name, and what was fetched is kept aside for the next attempt, unless it was wrong.
 *
 * @throws {WinnowError} `hash-mismatch`, `size-mismatch`, `disk-full` and the like, or as the transport.
 */
export async function downloadBlob(request: BlobRequest): Promise<void> {
  const { file, folder } = request
  const blob = blobPath(folder, file.etag)
  if ((await maybeSize(blob)) === file.size) return
  await makeBlobs(folder)
  try {
    using partial = await claimPartial(blob)
    const handle = await open(partial.path, constants.O_RDWR | constants.O_CREAT)
    try {
      await fill(handle, partial.path, request)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(partial.path, blob).catch(async (error) => {
      // Windows gives no name of a file that somebody has open: another process was quicker with the same bytes.
      if ((await maybeSize(blob)) !== file.size) throw error
      await unlink(partial.path)
    })
    await syncDirectory(dirname(blob))
    await removePartials(blob)
  } catch (error) {
    // Faults of the connection are told apart already, and an abort has its caller's own reason.
    throw isSystemError(error) ? ioError(error, blob, 'write') : error
  }
}

const isSystemError = (error: unknown) => error instanceof Error && 'syscall' in error

/** Brings the file to the blob's content. On a mismatch it is removed. */
async function fill(handle: FileHandle, path: string, request: BlobRequest): Promise<void> {
  const { file, hub, transport, onProgress } = request
  let hash = contentHash(file)
  let bytes = (await handle.stat()).size
  const restart = async () => {
    await handle.truncate(0)
    hash = contentHash(file)
    bytes = 0
  }
  if (bytes > file.size) await restart()
  let resumed = bytes > 0
  if (resumed) for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece)
  const report = () => onProgress?.({ file: file.path, bytes, total: file.size })
  const attempt = async () => {
    const from = bytes
    const answer = await transport.open(request.url, {
      'Accept-Encoding': 'identity',
      ...(from > 0 ? { Range: `bytes=${from}-` } : {}),
    })
    try {
      if (!continues(answer, from, file.size)) {
        await restart()
        resumed = false
        if (answer.status !== 200)
          throw new PassingFailure(
            sizeFault(request, answer.headers.get('Content-Range') ?? `HTTP ${answer.status}`),
            0,
          )
      }
      for await (const piece of answer.body) {
        if (bytes + piece.length > file.size) {
          await unlink(path).catch(() => undefined)
          throw sizeFault(request, 'more bytes')
        }
        hash.update(piece)
        await writeAt(handle, piece, bytes)
        bytes += piece.length
        report()
      }
    } finally {
      await answer.close()
    }
    if (bytes < file.size)
      throw connectionFault(new Error(`the answer ended after ${bytes} of ${file.size} bytes of ${file.path}`), hub)
  }
  report()
  while (true) {
    if (bytes < file.size) await transport.persist(attempt, { progress: () => bytes })
    const found = hash.digest('hex')
    if (found === file.etag) return
    const wasResumed = resumed
    await restart()
    if (!wasResumed) {
      await unlink(path).catch(() => undefined)
      throw hashFault(request, found)
    }
    // The beginning that was left by an earlier attempt may be what is wrong: once more from the first byte.
    resumed = false
  }
}

/** Whether the answer goes on at byte `from` of a file of this size. */
function continues({ status, headers }: OpenAnswer, from: number, size: number): boolean {
  if (status === 200) return from === 0
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('Content-Range') ?? '')
  return (
    status === 206 && range !== null && Number(range[1]) === from && (range[2] === '*' || Number(range[2]) === size)
  )
}

async function writeAt(handle: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  // A nearly full disk takes part of a write and fails the next one.
  for (let done = 0; done < piece.length; )
    done += (await handle.write(piece, done, piece.length - done, position + done)).bytesWritten
}

const RETRY =
  'It was removed. Run the same command again; if it happens again, a mirror (HF_ENDPOINT) or proxy changes files.'

function hashFault({ file, hub }: BlobRequest, found: string): WinnowError {
  return new WinnowError('failure', {
    code: 'hash-mismatch',
    message: `the bytes received for ${file.path} are not those of the repository`,
    file: hub.id,
    found: `${file.etag.length === 64 ? 'sha256' : 'git sha1'} ${found}`,
    expected: file.etag,
    hint: RETRY,
  })
}

function sizeFault({ file, hub }: BlobRequest, found: string): WinnowError {
  return new WinnowError('failure', {
    code: 'size-mismatch',
    message: `${file.path} as sent has another size than the repository says`,
    file: hub.id,
    found,
    expected: `${file.size} bytes`,
    hint: RETRY,
  })
}
