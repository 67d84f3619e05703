/** Parquet through DuckDB: rows in file order, bounded memory, types kept from Parquet to Parquet. */

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { type Fault, WinnowError } from '../errors.ts'
import type { Row } from './fields.ts'
import type { Input } from './inputs.ts'
import type { RowBatch, RowEntry } from './rows.ts'

/** DuckDB's memory limit where none is given. */
export const MEMORY_LIMIT = '512MB'

/** A private in-memory DuckDB, closed by `await using`. */
export class Database {
  readonly connection: DuckDBConnection
  readonly #instance: DuckDBInstance

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.connection = connection
  }

  /** Throws `duckdb-failed`: a memory limit that DuckDB does not understand, or a machine it does not run on. */
  static async open(memoryLimit = MEMORY_LIMIT): Promise<Database> {
    // Loaded on demand: pools of JSON Lines never pay for it.
    const { DuckDBInstance } = await import('@duckdb/node-api')
    try {
      const instance = await DuckDBInstance.create(':memory:', {
        memory_limit: memoryLimit,
        threads: '2',
        preserve_insertion_order: 'true',
        temp_directory: join(tmpdir(), `winnow-duckdb-${process.pid}`),
      })
      return new Database(instance, await instance.connect())
    } catch (cause) {
      const message = `DuckDB does not start: ${(cause as Error).message.split('\n')[0]}`
      const fault = { code: 'duckdb-failed', message, found: `memory limit ${memoryLimit}` }
      throw new WinnowError('failure', fault, { cause })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.closeSync()
    this.#instance.closeSync()
  }
}

interface Column {
  name: string
  /** DuckDB's name of its type. */
  type: string
}

export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`
export const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`
// A file whose name has pattern characters must be read as itself.
const table = (input: Input) => `read_parquet(${literal(input.path.replace(/[*?[]/g, '[$&]'))})`

/** Column names and types of a file. */
export async function parquetColumns(database: Database, input: Input): Promise<Column[]> {
  const query = `DESCRIBE SELECT * FROM ${table(input)}`
  const reader = await run(input, () => database.connection.runAndReadAll(query))
  return reader.getRows().map((row) => ({ name: String(row[0]), type: String(row[1]) }))
}

/**
 * Rows as JSON objects of the given columns (default all), in file order, up to 2,048 a batch. Numbers that JSON
 * lacks (NaN, infinities) in plain columns are null; dates, times and decimals have DuckDB's spelling.
 */
export async function* parquetJson(
  database: Database,
  input: Input,
  columns?: readonly string[],
): AsyncGenerator<string[]> {
  const wanted = (await parquetColumns(database, input)).filter((column) => columns?.includes(column.name) ?? true)
  const fields = wanted.map(({ name, type }) => {
    const column = identifier(name)
    const value = type === 'DOUBLE' || type === 'FLOAT' ? `CASE WHEN isfinite(${column}) THEN ${column} END` : column
    return `${column} := ${value}`
  })
  // Rows of a format that needs none of the columns are rows still.
  const json = wanted.length === 0 ? `'{}'` : `to_json(struct_pack(${fields.join(', ')}))::VARCHAR`
  const result = await run(input, () => database.connection.stream(`SELECT ${json} FROM ${table(input)}`))
  for (;;) {
    const chunk = await run(input, () => result.fetchChunk())
    if (chunk === null || chunk.rowCount === 0) return
    yield chunk.getColumnValues(0) as string[]
  }
}

/** Rows of a Parquet file, parsed; `columns` limits what is read. */
export async function* readParquetRows(
  database: Database,
  input: Input,
  columns?: readonly string[],
): AsyncGenerator<RowBatch> {
  const query = `SELECT count(*) FROM ${table(input)}`
  const counted = await run(input, () => database.connection.runAndReadAll(query))
  const total = Math.max(1, Number(counted.getRows()[0][0]))
  let line = 0
  for await (const texts of parquetJson(database, input, columns)) {
    const entries: RowEntry[] = texts.map((text) => parseRow(text, ++line))
    yield { entries, blank: 0, bytes: Math.round((input.bytes * line) / total) }
  }
}

function parseRow(text: string, line: number): RowEntry {
  try {
    return { line, row: JSON.parse(text) as Row }
  } catch {
    return { line, fault: { code: 'bad-json', message: 'the row has a number that JSON cannot hold', line } }
  }
}

/**
 * Writes the rows at `ordinals` (ascending, one list an input) of all inputs to one new Parquet file (zstd), in order; columns are
 * united by name. Memory: the ordinals, and what DuckDB may use before it sorts on disk. Throws `bad-parquet`,
 * `disk-full`, `out-of-memory`.
 */
export async function copyParquet(
  database: Database,
  inputs: readonly Input[],
  ordinals: readonly Uint32Array[],
  out: string,
): Promise<void> {
  const { connection } = database
  await connection.run('CREATE TABLE winnow_selected (input INTEGER, ordinal BIGINT)')
  const appender = await connection.createAppender('winnow_selected')
  for (let input = 0; input < ordinals.length; input++) {
    for (const ordinal of ordinals[input]) {
      appender.appendInteger(input)
      appender.appendBigInt(BigInt(ordinal))
      appender.endRow()
    }
  }
  appender.closeSync()
  const selects = inputs.map(
    (input, i) =>
      `SELECT * FROM (SELECT ${i} AS winnow_input, row_number() OVER () - 1 AS winnow_row, * FROM ${table(input)}) ` +
      `WHERE winnow_row IN (SELECT ordinal FROM winnow_selected WHERE input = ${i})`,
  )
  const query =
    `COPY (SELECT * EXCLUDE (winnow_input, winnow_row) FROM (${selects.join(' UNION ALL BY NAME ')}) ` +
    `ORDER BY winnow_input, winnow_row) TO ${literal(out)} (FORMAT parquet, COMPRESSION zstd)`
  await run(inputs[0], () => connection.run(query))
}

/** Runs a DuckDB call; its failure becomes a fault of the input (or of the disk). */
async function run<T>(input: Input, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const text = (cause as Error).message
    const found = (text.split('\n').find((line) => line.trim() !== '') ?? text).slice(0, 300)
    let fault: Fault = {
      code: 'bad-parquet',
      message: 'the file is not readable as Parquet',
      file: input.path,
      found,
      hint: 'It is damaged or was cut off: write or fetch it again.',
    }
    if (/Out of Memory/i.test(text)) {
      const hint = 'Give a larger memory limit.'
      fault = {
        code: 'out-of-memory',
        message: 'the file does not fit the memory limit',
        file: input.path,
        found,
        hint,
      }
    } else if (/No space left/i.test(text))
      fault = { code: 'disk-full', message: 'no space is left on the disk', found }
    throw new WinnowError(fault.code === 'bad-parquet' ? 'input' : 'failure', fault, { cause })
  }
}
