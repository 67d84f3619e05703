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

/** DuckDB's names of the types that a table can have; `[]` are lists, one a row. */
export type ColumnType =
  | 'FLOAT'
  | 'DOUBLE'
  | 'INTEGER'
  | 'UINTEGER'
  | 'UTINYINT'
  | 'BOOLEAN'
  | 'VARCHAR'
  | 'UINTEGER[]'
  | 'FLOAT[]'

/** Values of some rows, by column in the order of the types; NaN is written as null. */
export type TableRows = readonly ArrayLike<unknown>[]

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
  const names = Object.keys(columns)
  const rows = columns[names[0]].length
  const uneven = names.find((name) => columns[name].length !== rows)
  if (uneven !== undefined)
    throw new RangeError(`column '${uneven}' has ${columns[uneven].length} rows, '${names[0]}' has ${rows}`)
  const types = Object.fromEntries(names.map((name) => [name, typeOf(columns[name])]))
  return writeTable(path, types, [names.map((name) => columns[name])], memoryLimit)
}

function typeOf(column: TableColumn): ColumnType {
  if (column instanceof Float32Array) return 'FLOAT'
  if (column instanceof Float64Array) return 'DOUBLE'
  if (column instanceof Int32Array) return 'INTEGER'
  if (column instanceof Uint32Array) return 'UINTEGER'
  if (column instanceof Uint8Array) return 'UTINYINT'
  return typeof column[0] === 'boolean' ? 'BOOLEAN' : 'VARCHAR'
}

/** As `writeColumns`, of rows that come piece by piece; what exceeds the memory limit waits on disk. */
export async function writeTable(
  path: string,
  columns: Readonly<Record<string, ColumnType>>,
  pieces: AsyncIterable<TableRows> | Iterable<TableRows>,
  memoryLimit?: string,
): Promise<FileRecord> {
  const duckdb = await import('@duckdb/node-api')
  const names = Object.keys(columns)
  // Lists go in as text and are taken apart by DuckDB: the appender of @duckdb/node-api 1.5.4 writes beyond its memory when the lists of a
  // chunk have more than 2,048 elements together (the process ends with "corrupted double-linked list").
  const lists = new Set(names.filter((name) => columns[name].endsWith('[]')))
  const stored = (name: string) => (lists.has(name) ? 'VARCHAR' : columns[name])
  const types = names.map((name) => duckdb[stored(name) as 'FLOAT'])
  const listText = (value: unknown) =>
    Array.from(value as ArrayLike<number>, (item) => (Number.isNaN(item) ? '-' : shortest(item))).join(',')
  const written = names.map((name) => {
    const column = identifier(name)
    if (!lists.has(name)) return column
    const item = columns[name].replace('[]', '')
    return `CASE WHEN ${column} = '' THEN [] ELSE list_transform(string_split(${column}, ','), x -> nullif(x, '-')::${item}) END AS ${column}`
  })
  const temporary = temporaryPath(path)
  try {
    await using database = await Database.open(memoryLimit)
    const { connection } = database
    // One thread: row groups are then written in order, and equal tables give equal bytes.
    await connection.run('SET threads = 1')
    await connection.run(
      `CREATE TABLE written (${names.map((name) => `${identifier(name)} ${stored(name)}`).join(', ')})`,
    )
    const appender = await connection.createAppender('written')
    for await (const piece of pieces) {
      for (let start = 0; start < piece[0].length; start += CHUNK) {
        const chunk = duckdb.DuckDBDataChunk.create(types)
        const cut = (column: ArrayLike<unknown>, i: number) =>
          Array.from({ length: Math.min(CHUNK, column.length - start) }, (_, j) => column[start + j]).map(
            lists.has(names[i]) ? listText : nullForNaN,
          )
        chunk.setColumns(piece.map(cut) as never)
        appender.appendDataChunk(chunk)
      }
    }
    appender.closeSync()
    await connection.run(
      `COPY (SELECT ${written.join(', ')} FROM written) TO ${literal(temporary)} (FORMAT parquet, COMPRESSION zstd${lists.size === 0 ? '' : `, ROW_GROUP_SIZE ${CHUNK}`})`,
    )
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error instanceof WinnowError ? error : unwritable(path, error as Error)
  }
  return commitTemporary(temporary, path)
}

/** Nine digits tell any two float32 apart; whole numbers stay as they are. */
const shortest = (value: number): string =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(9)))

const nullForNaN = (value: unknown): unknown => (Number.isNaN(value) ? null : value)

/** DuckDB says what went wrong in words only. */
function unwritable(path: string, cause: Error): WinnowError {
  if (/out of memory/i.test(cause.message))
    return new WinnowError(
      'failure',
      {
        code: 'out-of-memory',
        message: 'DuckDB has not enough memory to write the table',
        path: '--memory-limit',
        file: path,
        found: cause.message.split('\n')[0],
        hint: 'Say a larger --memory-limit, then run the same command again: what was computed is kept.',
      },
      { cause },
    )
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
