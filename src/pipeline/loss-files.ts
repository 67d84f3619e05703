/** Files of losses recorded elsewhere: one file of all checkpoints, or a directory with a file for each. */

import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Database } from '../dataset/parquet.ts'
import { WinnowError } from '../errors.ts'
import { ioError } from '../runs/fault.ts'
import { hashFile, hashJson } from '../runs/hash.ts'
import { readLossArray } from '../signals/loss-array.ts'
import { checkColumns, type LossColumn, repeatedStep } from '../signals/loss-column.ts'
import { FORMAT_BYTES, lossFormat, stepOf, withoutExtension } from '../signals/loss-format.ts'
import { readLossTable } from '../signals/loss-table.ts'
import { openLossTable } from './loss-tables.ts'

interface LossFile {
  path: string
  format: 'npy' | 'table'
  bytes: number
  /** Of a file of one checkpoint. */
  step?: number
}

/** What `--signal trajectories=<path>` names, and other scores of a proxy. */
export interface LossFiles {
  /** As given. */
  path: string
  /** By ascending step. */
  files: LossFile[]
}

const EXTENSIONS = /\.(npy|parquet|((jsonl|ndjson|json|csv|tsv)(\.(gz|zst))?))$/i
const PICKLES = /\.(pt|pth|pkl|pickle|ckpt|bin|joblib|npz|safetensors|h5|hdf5|arrow|feather)$/i
/** A file of this name in the directory of a checkpoint holds its losses; others there are the checkpoint's own. */
const NESTED = /^(loss|losses|nll|trajectory|trajectories)\./i

/**
 * Looks at what is there, and reads nothing but the first bytes. A directory holds either a file for each checkpoint
 * (`checkpoint-500.npy`) or a directory for each with its losses in it (`checkpoint-500/losses.npy`); hidden files and notes (.md, .txt,
 * .log) are passed over.
 *
 * @throws {WinnowError} `missing-file`, `not-a-file` (a pipe), `no-losses-files`, `no-step`, `repeated-step`, `pickle`, `unsupported-losses`.
 */
export async function findLosses(path: string): Promise<LossFiles> {
  const info = await stat(path).catch((error) => {
    throw ioError(error, path, 'read')
  })
  if (info.isFile()) return { path, files: [await lookAt(path)] }
  if (!info.isDirectory())
    throw new WinnowError('input', {
      code: 'not-a-file',
      message: 'the losses are not a regular file and cannot be read twice',
      file: path,
      expected: 'a file, or a directory of them',
      hint: 'Write them to a file first.',
    })
  const names = await checkpointNames(path)
  const files: LossFile[] = []
  for (const name of names) {
    const file = await lookAt(join(path, name))
    const step = stepOf(withoutExtension(name))
    if (step === undefined)
      throw new WinnowError('input', {
        code: 'no-step',
        message: 'the name says no step',
        file: file.path,
        expected: 'a whole number, the last in the name: checkpoint-500.npy',
        hint: 'Name each file by its training step, and keep other files elsewhere.',
      })
    const same = files.find((other) => other.step === step)
    if (same !== undefined) throw repeatedStep(step, same.path, file.path, path)
    files.push({ ...file, step })
  }
  return { path, files: files.sort((a, b) => (a.step as number) - (b.step as number)) }
}

/** Looks at every import that holds a proxy's scores, by the name of its signal. */
export async function findScores(signals: Readonly<Record<string, string>>): Promise<Record<string, LossFiles>> {
  const found: Record<string, LossFiles> = {}
  for (const [name, path] of Object.entries(signals))
    if (!name.endsWith('embeddings')) {
      const { files } = await findLosses(path)
      // A number a row needs no step to be told by.
      const single = name === 'initial' || name === 'unconditional'
      found[name] = { path, files: single ? files.map((file) => ({ ...file, step: file.step ?? 0 })) : files }
    }
  return found
}

async function checkpointNames(directory: string): Promise<string[]> {
  const entries = (
    await readdir(directory, { withFileTypes: true }).catch((error) => {
      throw ioError(error, directory, 'read')
    })
  )
    .filter(({ name }) => !name.startsWith('.'))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const nested: string[] = []
  const folders: string[] = []
  const files: string[] = []
  for (const entry of entries) {
    const { name } = entry
    const target = entry.isSymbolicLink() ? await stat(join(directory, name)).catch(() => entry) : entry
    if (!target.isDirectory()) {
      files.push(name)
      continue
    }
    folders.push(name)
    const inside = await readdir(join(directory, name)).catch(() => [])
    const losses = inside.filter((file) => NESTED.test(file))
    // Converted beside the original: the pickle is passed over.
    const readable = losses.filter((file) => EXTENSIONS.test(file))
    nested.push(...(readable.length > 0 ? readable : losses).map((file) => join(name, file)))
  }
  if (nested.length > 0) return nested
  const readable = files.filter((name) => EXTENSIONS.test(name))
  if (readable.length > 0) return readable
  const foreign = files.filter((name) => PICKLES.test(name))
  if (foreign.length > 0) return foreign
  throw new WinnowError('input', {
    code: 'no-losses-files',
    message: 'the directory holds no files of losses',
    file: directory,
    found: [...files, ...folders.map((name) => `${name}/`)].slice(0, 4).join(', ') || 'nothing',
    expected: 'a .npy, Parquet, CSV or JSON Lines file for each checkpoint',
    hint: folders.length === 1 ? `Is it ${join(directory, folders[0])}?` : undefined,
  })
}

async function lookAt(path: string): Promise<LossFile> {
  try {
    const file = await open(path)
    try {
      const { size: bytes } = await file.stat()
      const head = Buffer.alloc(Math.min(bytes, FORMAT_BYTES))
      await file.read(head, 0, head.length, 0)
      return { path, bytes, format: lossFormat(head, path) }
    } finally {
      await file.close()
    }
  } catch (error) {
    throw ioError(error, path, 'read')
  }
}

/** sha256 of each file by its place, for the key of what reads them, and one over all to show. Of a single file that is its own. */
export async function hashLosses({ files }: LossFiles): Promise<{ inputs: Record<string, string>; sha256: string }> {
  const inputs: Record<string, string> = {}
  // The kind counts too: the same bytes are other losses as .csv than as .jsonl.
  for (const { path, step } of files)
    inputs[`${step === undefined ? 'all steps' : `step ${step}`} (${EXTENSIONS.exec(path)?.[0].toLowerCase() ?? ''})`] =
      (await hashFile(path)).sha256
  const all = Object.values(inputs)
  return { inputs, sha256: all.length === 1 ? all[0] : hashJson(inputs) }
}

export interface ReadLossesOptions {
  /** N, the rows of the pool. */
  rows: number
  memoryLimit?: string
  signal?: AbortSignal
  /** Bytes of files read so far and in all. */
  onProgress?: (done: number, total: number) => void
}

/** Every checkpoint, checked, by ascending step. One pass; memory 4 N T bytes and a block. */
export async function readLosses({ path, files }: LossFiles, options: ReadLossesOptions): Promise<LossColumn[]> {
  const { rows, memoryLimit, signal, onProgress } = options
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const columns: LossColumn[] = []
  let database: Database | undefined
  try {
    const opened = async () => {
      database ??= await Database.open(memoryLimit)
      return database
    }
    let done = 0
    for (const { path: file, format, step, bytes } of files) {
      signal?.throwIfAborted()
      columns.push(
        ...(format === 'npy'
          ? await readArray(file, bytes, { rows, step })
          : await readLossTable(await openLossTable(file, opened), { rows, step })),
      )
      done += bytes
      onProgress?.(done, total)
    }
  } finally {
    await database?.[Symbol.asyncDispose]()
  }
  return checkColumns(columns, path)
}

async function readArray(path: string, bytes: number, over: { rows: number; step?: number }): Promise<LossColumn[]> {
  const file = await open(path).catch((error) => {
    throw ioError(error, path, 'read')
  })
  try {
    const read = async (at: number, length: number) => {
      const buffer = Buffer.alloc(length)
      const { bytesRead } = await file.read(buffer, 0, length, at)
      return buffer.subarray(0, bytesRead)
    }
    return await readLossArray({ file: path, bytes, read }, over)
  } catch (error) {
    throw ioError(error, path, 'read')
  } finally {
    await file.close()
  }
}
