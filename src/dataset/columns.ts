/** A table of typed columns as a Parquet file, through DuckDB. */

import { unlink } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import { commitTemporary, temporaryPath } from '../runs/files.ts'
import type { FileRecord } from '../runs/hash.ts'
import { Database, identifier, literal } from './parquet.ts'

export type TableColumn =
  | Float64Array
  | Float32Array
  | Int32Array
  | Uint32Array
  | Uint8Array
  | boolean[]
  | readonly (string | null)[]

/** Rows handed to DuckDB at a time: its vector size. */
const CHUNK = 2048

/**
 * Writes columns of equal length, in order, as one zstd-compressed Parquet file that appears by rename. NaN in a floating column is
 * written as null. Same columns, same bytes. O(rows); memory: one copy inside DuckDB.
 */
export async function writeColumns(
  path: string,
  columns: Readonly<Record<string, TableColumn>>,
  memoryLimit?: string,
): Promise<FileRecord> {
  const duckdb = await import('@duckdb/node-api')
  const names = Object.keys(columns)
  const types = names.map((name) => {
    const column = columns[name]
    if (column instanceof Float32Array) return duckdb.FLOAT
    if (column instanceof Float64Array) return duckdb.DOUBLE
    if (column instanceof Int32Array) return duckdb.INTEGER
    if (column instanceof Uint32Array) return duckdb.UINTEGER
    if (column instanceof Uint8Array) return duckdb.UTINYINT
    return typeof column[0] === 'boolean' ? duckdb.BOOLEAN : duckdb.VARCHAR
  })
  const rows = columns[names[0]].length
  const uneven = names.find((name) => columns[name].length !== rows)
  if (uneven !== undefined)
    throw new RangeError(`column '${uneven}' has ${columns[uneven].length} rows, '${names[0]}' has ${rows}`)
  const temporary = temporaryPath(path)
  try {
    await using database = await Database.open(memoryLimit)
    const { connection } = database
    // One thread: row groups are then written in order, and equal tables give equal bytes.
    await connection.run('SET threads = 1')
    await connection.run(
      `CREATE TABLE written (${names.map((name, i) => `${identifier(name)} ${types[i]}`).join(', ')})`,
    )
    const appender = await connection.createAppender('written')
    for (let start = 0; start < rows; start += CHUNK) {
      const end = Math.min(rows, start + CHUNK)
      const chunk = duckdb.DuckDBDataChunk.create(types)
      const part = (name: string) =>
        Array.from(columns[name].slice(start, end) as ArrayLike<unknown>, (value) =>
          Number.isNaN(value) ? null : value,
        )
      chunk.setColumns(names.map(part) as never)
      appender.appendDataChunk(chunk)
    }
    appender.closeSync()
    await connection.run(`COPY written TO ${literal(temporary)} (FORMAT parquet, COMPRESSION zstd)`)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error instanceof WinnowError ? error : unwritable(path, error as Error)
  }
  return commitTemporary(temporary, path)
}

/** DuckDB says what went wrong in words only. */
function unwritable(path: string, cause: Error): WinnowError {
  const full = /no space left|disk full/i.test(cause.message)
  return new WinnowError(
    'failure',
    {
      code: full ? 'disk-full' : 'unwritable-output',
      message: full ? 'there is no space left on the disk' : 'the table cannot be written',
      file: path,
      found: cause.message.split('\n')[0],
      hint: full
        ? 'Free some space and run the same command again: it goes on.'
        : 'Check the directory, then run the same command again.',
    },
    { cause },
  )
}
