/** Vectors that were made elsewhere, in place of embedding: a .npy file, read where it lies, or a table with a column of lists. */

import { extname } from 'node:path'
import { inspectInput } from '../dataset/inputs.ts'
import { Database } from '../dataset/parquet.ts'
import { WinnowError } from '../errors.ts'
import { hashFile, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageWork } from '../runs/stage.ts'
import { writeNpy } from '../signals/npy.ts'
import { type Context, perform } from './context.ts'
import { type Embedded, openEmbedded, writeEmpty } from './embeddings.ts'
import type { StageName, StageProgress } from './events.ts'
import { openLossTable } from './loss-tables.ts'
import { openVectors, type VectorFiles, vectorBlocks } from './vector-files.ts'

/** Names of a column of vectors, the first one there being taken; else the only column there is. */
const COLUMNS = ['embedding', 'embeddings', 'vector', 'vectors']
/** Rows of a shard that a table is copied into. */
const SHARD_ROWS = 65_536

interface Importing {
  stage: Extract<StageName, 'embeddings' | 'target-embeddings'>
  /** As given with `--signal`. */
  file: string
  /** Rows that it must have. */
  rows: number
}

const bad = (
  file: string,
  message: string,
  more: { line?: number; found?: string; expected?: string; hint?: string },
) => new WinnowError('input', { code: 'bad-embeddings', message, file, ...more })

/**
 * Checks every vector of the file and makes it a matrix that is read block by block. A .npy file stays where it is (the run notes its hash);
 * of a table (Parquet, JSON Lines, JSON) the run gets a copy.
 *
 * @throws {WinnowError} `bad-embeddings`: another number of rows, vectors of several dimensions or not finite; and as readers of the files.
 */
export async function importVectors(context: Context, { stage, file, rows }: Importing): Promise<Embedded> {
  context.emit({ kind: 'stage-start', stage, resumedParts: 0 })
  const isArray = isNpy(file)
  const result = await perform<Json>(context, {
    name: stage,
    started: true,
    version: 1,
    inputs: { file: (await hashFile(file)).sha256 },
    options: { imported: isArray ? 'npy' : 'table', rows },
    async execute(work, progress) {
      const outputs: OutputRecord[] = isArray ? [] : await copyTable(work, file, stage, rows)
      const files = await openVectors(isArray ? [file] : outputs.map(({ path }) => work.path(path)))
      if (files.rows !== rows) throw otherRows(file, files.rows, rows)
      const empty = await check(file, files, progress, context.signal)
      outputs.push(await writeEmpty(work, stage, empty))
      return { outputs, value: { rows, dimensions: files.dimensions, empty: empty.length } }
    },
    summary: (value) => {
      const { dimensions } = value as { dimensions: number }
      return `imported from ${file}, ${rows.toLocaleString('en')} vector${rows === 1 ? '' : 's'} of ${dimensions} dimensions`
    },
  })
  return openEmbedded(context.run, result, isArray ? [file] : undefined)
}

/** Looks for files of vectors before anything is read: what is missing or no matrix is known at once. */
export async function checkVectorFiles(signals: Readonly<Record<string, string>>): Promise<void> {
  for (const name of ['embeddings', 'target-embeddings']) {
    const file = signals[name]
    if (file === undefined) continue
    if (isNpy(file)) await openVectors([file])
    else await inspectInput(file)
  }
}

export const isNpy = (file: string): boolean => extname(file).toLowerCase() === '.npy'

const otherRows = (file: string, found: number, expected: number) =>
  bad(file, 'the file has vectors of another number of rows', {
    found: `${found} vectors`,
    expected: `${expected}, one for each row, in the same order`,
  })

/** Rows whose vectors are zero; throws where one is not finite. */
async function check(
  file: string,
  files: VectorFiles,
  progress: (progress: StageProgress) => void,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const { dimensions } = files
  const empty: number[] = []
  for await (const { first, data } of vectorBlocks(files, { normalise: false, signal })) {
    for (let at = 0; at < data.length; at += dimensions) {
      let square = 0
      for (let i = at; i < at + dimensions; i++) square += data[i] * data[i]
      if (!Number.isFinite(square))
        throw bad(file, `the vector of row ${first + at / dimensions} is not finite, or too long to square`, {
          expected: 'finite numbers',
        })
      if (square === 0) empty.push(first + at / dimensions)
    }
    const done = first + data.length / dimensions
    progress({ fraction: done / files.rows, done, unit: 'rows' })
  }
  return empty
}

async function copyTable(work: StageWork, file: string, stage: string, rows: number): Promise<OutputRecord[]> {
  let database: Database | undefined
  try {
    const table = await openLossTable(file, async () => {
      database ??= await Database.open()
      return database
    })
    const column =
      COLUMNS.find((name) => table.columns.includes(name)) ??
      (table.columns.length === 1 ? table.columns[0] : undefined)
    if (column === undefined)
      throw bad(file, 'no column of the table is called like one of vectors', {
        found: table.columns.slice(0, 8).join(', '),
        expected: COLUMNS.join(', '),
      })
    const outputs: OutputRecord[] = []
    let vectors: ArrayLike<number>[] = []
    let first = 0
    const flush = async () => {
      const dimensions = vectors[0].length
      const data = new Float32Array(vectors.length * dimensions)
      for (const [i, vector] of vectors.entries()) data.set(vector, i * dimensions)
      const name = `signals/${stage}/${work.key.slice(0, 12)}/rows-${String(first).padStart(9, '0')}.npy`
      outputs.push(await work.write(name, writeNpy({ shape: [vectors.length, dimensions], data })))
      first += vectors.length
      vectors = []
    }
    let dimensions: number | undefined
    for await (const { lines, cells } of table.read([column])) {
      for (const [i, cell] of cells[0].entries()) {
        const vector = asVector(cell)
        dimensions ??= vector?.length
        if (vector === undefined || vector.length === 0 || vector.length !== dimensions)
          throw bad(file, `${column} holds no vector of ${dimensions ?? 'some'} numbers`, {
            line: lines[i],
            found: vector === undefined ? JSON.stringify(cell)?.slice(0, 60) : `${vector.length} numbers`,
            expected: `a list of ${dimensions ?? 'finite'} numbers`,
          })
        vectors.push(vector)
        if (vectors.length === SHARD_ROWS) await flush()
      }
      if (first + vectors.length > rows) throw otherRows(file, first + vectors.length, rows)
    }
    if (vectors.length > 0) await flush()
    return outputs
  } finally {
    await database?.[Symbol.asyncDispose]()
  }
}

const asVector = (cell: unknown): ArrayLike<number> | undefined =>
  Array.isArray(cell) && cell.every((value) => typeof value === 'number') ? cell : undefined
