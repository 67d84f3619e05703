/** Tensors of one safetensors file, or of shards and their index, read from disk one at a time. */

import { type FileHandle, open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { decodeInto, FLOAT_BYTES, isFloatFormat } from '../models/float-formats.ts'
import {
  parseSafetensorsHeader,
  type SafetensorsHeader,
  safetensorsHeaderBytes,
  type TensorEntry,
  unsupportedDtype,
} from '../models/safetensors.ts'
import { errorCode, ioError } from '../runs/fault.ts'
import { refuseLarge } from './json-files.ts'
import type { WeightFiles } from './model-files.ts'
import { refusePointer } from './pointer.ts'

/** Bytes read and decoded at once: the memory beyond the result. A multiple of every element's width. */
const CHUNK = 8 << 20

interface OpenFile {
  path: string
  bytes: number
  handle: FileHandle
  header: SafetensorsHeader
}

/** Fills `buffer` from `position` on; returns the bytes read, fewer at the end of the file. */
async function readAt(handle: FileHandle, buffer: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, 'r').catch((error) => {
    throw ioError(error, path, 'read')
  })
  try {
    const { size: bytes } = await handle.stat()
    const first = new Uint8Array(Math.min(bytes, 512))
    await readAt(handle, first, 0)
    refusePointer(first, path)
    const length = safetensorsHeaderBytes(first, { fileBytes: bytes, file: path })
    const head = new Uint8Array(8 + length)
    await readAt(handle, head, 0)
    return { path, bytes, handle, header: parseSafetensorsHeader(head, { fileBytes: bytes, file: path }) }
  } catch (error) {
    await handle.close().catch(() => undefined)
    throw ioError(error, path, 'read')
  }
}

async function readTensor({ path, handle, header }: OpenFile, name: string, entry: TensorEntry): Promise<Float32Array> {
  const { dtype, start, end } = entry
  if (!isFloatFormat(dtype)) throw unsupportedDtype(name, dtype, path)
  const width = FLOAT_BYTES[dtype]
  const data = new Float32Array((end - start) / width)
  const buffer = new Uint8Array(Math.min(CHUNK, end - start))
  for (let at = start; at < end; ) {
    const chunk = buffer.subarray(0, Math.min(CHUNK, end - at))
    const found = await readAt(handle, chunk, header.dataStart + at).catch((error) => {
      throw ioError(error, path, 'read')
    })
    if (found < chunk.length)
      throw new WinnowError('input', {
        code: 'bad-safetensors',
        message: `tensor '${name}' ends before its last byte: the file was cut while it was in use`,
        file: path,
        hint: 'Fetch or save it again.',
      })
    decodeInto(data, (at - start) / width, chunk, dtype)
    at += chunk.length
  }
  return data
}

function weightFiles(files: readonly OpenFile[]): WeightFiles {
  const places = new Map<string, { file: OpenFile; entry: TensorEntry }>()
  for (const file of files) for (const [name, entry] of file.header.tensors) places.set(name, { file, entry })
  const descriptions = new Map(
    [...places].map(([name, { entry }]) => [name, { dtype: entry.dtype, shape: entry.shape }]),
  )
  const close = async () => {
    await Promise.all(files.map(({ handle }) => handle.close().catch(() => undefined)))
  }
  return {
    names: () => descriptions,
    read: async (name) => {
      const place = places.get(name)
      if (place === undefined)
        throw new WinnowError('input', {
          code: 'missing-tensor',
          message: `tensor '${name}' is not in the weights`,
          file: files[0]?.path,
          found: `${places.size} others`,
        })
      return await readTensor(place.file, name, place.entry)
    },
    files: files.map(({ path, bytes }) => ({ path, bytes })),
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function openAll(paths: readonly string[]): Promise<OpenFile[]> {
  const files: OpenFile[] = []
  try {
    for (const path of paths) files.push(await openFile(path))
  } catch (error) {
    await Promise.all(files.map(({ handle }) => handle.close().catch(() => undefined)))
    throw error
  }
  return files
}

/** The tensors of a single file. Throws as `parseSafetensorsHeader` does, and `lfs-pointer`. */
export async function openSafetensors(path: string): Promise<WeightFiles> {
  return weightFiles(await openAll([path]))
}

async function readIndex(path: string): Promise<Buffer> {
  try {
    refuseLarge((await stat(path)).size, path)
    return await readFile(path)
  } catch (error) {
    throw ioError(error, path, 'read')
  }
}

/**
 * The shard of every tensor that the text of a model.safetensors.index.json names.
 *
 * @throws {WinnowError} `bad-weight-index`: no JSON object with a `weight_map` from tensor names to file names beside it.
 */
export function parseWeightIndex(text: string, file: string): Map<string, string> {
  const bad = (message: string) =>
    new WinnowError('input', { code: 'bad-weight-index', message, file, hint: 'Fetch or save the model again.' })
  let map: unknown
  try {
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map
  } catch {
    throw bad('the index is not valid JSON')
  }
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw bad('the index has no weight_map')
  const shards = new Map<string, string>()
  for (const [name, shard] of Object.entries(map)) {
    // A shard lies beside its index: a name that leads elsewhere could read any file.
    if (typeof shard !== 'string' || shard === '' || /[/\\:]/.test(shard) || shard === '..')
      throw bad(`the index gives tensor '${name}' no file name beside it, but ${JSON.stringify(shard)}`)
    shards.set(name, shard)
  }
  if (shards.size === 0) throw bad('the index names no tensor')
  return shards
}

/**
 * The tensors of the shards that an index beside them names.
 *
 * @throws {WinnowError} `bad-weight-index`, `missing-shard`, `weight-index-mismatch` (a tensor that its shard lacks, or that the index
 * lacks), and as `openSafetensors` for each shard.
 */
export async function openShards(directory: string, indexName: string): Promise<WeightFiles> {
  const indexPath = join(directory, indexName)
  const bytes = await readIndex(indexPath)
  refusePointer(bytes, indexPath)
  const index = parseWeightIndex(bytes.toString('utf8'), indexPath)
  const shards = [...new Set(index.values())].sort()
  const files = await openAll(shards.map((shard) => join(directory, shard))).catch((error) => {
    if (error instanceof WinnowError && error.fault.code === 'missing-file' && errorCode(error.cause) === 'ENOENT')
      throw new WinnowError(
        'input',
        {
          code: 'missing-shard',
          message: `the shard is missing, which ${indexName} names`,
          file: error.fault.file,
          expected: `${shards.length} shards: ${shards[0]} … ${shards.at(-1)}`,
          hint: 'Fetch or copy it into the directory.',
        },
        { cause: error },
      )
    throw error
  })
  try {
    checkIndex(index, new Map(files.map((file, i) => [shards[i], file])), indexName)
  } catch (error) {
    await weightFiles(files).close()
    throw error
  }
  return weightFiles(files)
}

function checkIndex(index: Map<string, string>, files: Map<string, OpenFile>, indexName: string): void {
  const mismatch = (message: string, file: string) =>
    new WinnowError('input', {
      code: 'weight-index-mismatch',
      message,
      file,
      hint: `${indexName} and its shards are not of one model: fetch or save it again.`,
    })
  for (const [name, shard] of index) {
    const file = files.get(shard) as OpenFile
    if (!file.header.tensors.has(name))
      throw mismatch(`the shard lacks tensor '${name}', which ${indexName} places in it`, file.path)
  }
  for (const [shard, file] of files)
    for (const name of file.header.tensors.keys())
      if (index.get(name) !== shard) {
        const elsewhere = index.get(name)
        const listed = elsewhere === undefined ? 'lacks' : `places in ${elsewhere}`
        throw mismatch(`the shard holds tensor '${name}', which ${indexName} ${listed}`, file.path)
      }
}
