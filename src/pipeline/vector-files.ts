/** Vectors that lie in files: shards of a run, or one .npy file from elsewhere. Read block by block; never held whole. */

import { type FileHandle, open } from 'node:fs/promises'
import { normaliseRows } from '../embedding/pooling.ts'
import { WinnowError } from '../errors.ts'
import { ioError } from '../runs/fault.ts'
import { NPY_HEADER_BYTES, type NpyLayout, npyLayout } from '../signals/npy.ts'
import type { Vectors } from '../similarity/vectors.ts'

/** Bytes of a block that a whole pass reads at a time. */
const BLOCK_BYTES = 2 ** 23
/** Rows between two wanted ones that are read along rather than skipped. */
const GAP = 64

export interface VectorFiles {
  /** N */
  readonly rows: number
  /** d */
  readonly dimensions: number
  /** Rows [first, first + count), row-major float32. */
  read(first: number, count: number): Promise<Float32Array>
}

interface Shard {
  path: string
  layout: NpyLayout
  rows: number
  /** First row of the pool in it. */
  first: number
}

/**
 * Looks at the shards of a matrix, in row order: .npy files of shape (rows, d) in row-major order, whose numbers become float32. A file is
 * open only while it is read, so that there may be any number of them.
 *
 * @throws {WinnowError} `bad-npy`, `bad-embeddings` for other shapes.
 */
export async function openVectors(paths: readonly string[]): Promise<VectorFiles> {
  const shards: Shard[] = []
  let rows = 0
  for (const path of paths) {
    const shard = { ...(await inspectShard(path)), first: rows }
    const dimensions = shards[0]?.layout.shape[1] ?? shard.layout.shape[1]
    if (shard.layout.shape[1] !== dimensions)
      throw badVectors(path, 'the vectors have another dimension than those before them', {
        found: String(shard.layout.shape[1]),
        expected: String(dimensions),
      })
    shards.push(shard)
    rows += shard.rows
  }
  const dimensions = shards[0]?.layout.shape[1] ?? 0
  return {
    rows,
    dimensions,
    async read(first, count) {
      const data = new Float32Array(count * dimensions)
      for (const shard of shards) {
        const from = Math.max(first, shard.first)
        const to = Math.min(first + count, shard.first + shard.rows)
        if (from < to) data.set(await readRows(shard, from - shard.first, to - from), (from - first) * dimensions)
      }
      return data
    },
  }
}

const badVectors = (file: string, message: string, more: { found?: string; expected?: string; hint?: string }) =>
  new WinnowError('input', { code: 'bad-embeddings', message, file, ...more })

/** What `use` makes of the open file. */
async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path)
    return await use(handle)
  } catch (error) {
    throw ioError(error, path, 'read')
  } finally {
    await handle?.close()
  }
}

const inspectShard = (path: string): Promise<Omit<Shard, 'first'>> =>
  withFile(path, async (handle) => {
    const { size } = await handle.stat()
    const head = Buffer.alloc(Math.min(size, NPY_HEADER_BYTES))
    await handle.read(head, 0, head.length, 0)
    const layout = npyLayout(head, size, path)
    const [rows, dimensions] = layout.shape
    if (layout.shape.length !== 2 || rows === 0 || dimensions === 0)
      throw badVectors(path, 'the array is no matrix of vectors', {
        found: `shape (${layout.shape.join(', ')})`,
        expected: 'shape (rows, dimensions)',
      })
    if (layout.fortranOrder)
      throw badVectors(path, 'the array is in column-major order, in which a vector cannot be read alone', {
        hint: 'Save numpy.ascontiguousarray(array).',
      })
    return { path, layout, rows }
  })

const readRows = ({ path, layout }: Shard, first: number, count: number): Promise<Float32Array> =>
  withFile(path, async (handle) => {
    const { dataAt, size, shape, decode } = layout
    const width = shape[1] * size
    // A buffer of its own, whose numbers `decode` may be a view of.
    const bytes = new Uint8Array(count * width)
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, dataAt + first * width + at)
      if (bytesRead === 0) throw badVectors(path, 'the file was cut off while it was read', {})
      at += bytesRead
    }
    const numbers = decode(bytes)
    return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers)
  })

export interface PassOptions {
  /** Scale each vector to unit length; a zero vector stays. */
  normalise: boolean
  signal?: AbortSignal
}

/** All vectors in blocks of rows that fit 8 MiB, the next one being read while one is worked on. */
export async function* vectorBlocks(
  files: VectorFiles,
  { normalise, signal, from = 0, to = files.rows }: PassOptions & { from?: number; to?: number },
): AsyncGenerator<{ first: number; data: Float32Array }> {
  const size = blockRows(files.dimensions)
  const next = (first: number) => {
    const reading = first < to ? files.read(first, Math.min(size, to - first)) : undefined
    // Awaited in its turn: a failure before that is no unhandled one.
    reading?.catch(() => undefined)
    return reading
  }
  let ahead = next(from)
  for (let first = from; first < to; first += size) {
    signal?.throwIfAborted()
    const data = (await ahead) as Float32Array
    ahead = next(first + size)
    yield { first, data: normalise ? normaliseRows(data, files.dimensions) : data }
  }
}

/** Rows of a block of a pass. */
export const blockRows = (dimensions: number): number => Math.max(1, Math.floor(BLOCK_BYTES / (4 * dimensions)))

/**
 * The vectors of some rows (ascending), in memory: 4 d bytes a row. They come in the order of the rows, or each at its place in `places`.
 */
export async function gatherVectors(
  files: VectorFiles,
  rows: Uint32Array,
  { normalise, signal, places }: PassOptions & { places?: Uint32Array },
): Promise<Vectors> {
  const d = files.dimensions
  const data = new Float32Array(rows.length * d)
  const most = blockRows(d)
  for (let i = 0; i < rows.length; ) {
    signal?.throwIfAborted()
    let end = i + 1
    while (end < rows.length && rows[end] - rows[end - 1] <= GAP && rows[end] - rows[i] < most) end++
    const block = await files.read(rows[i], rows[end - 1] - rows[i] + 1)
    for (let k = i; k < end; k++) {
      const at = (rows[k] - rows[i]) * d
      data.set(block.subarray(at, at + d), (places?.[k] ?? k) * d)
    }
    i = end
  }
  return { data: normalise ? normaliseRows(data, d) : data, n: rows.length, d }
}
