/** CSV and Parquet through DuckDB: rows in file order, bounded memory, types kept from Parquet to Parquet. */

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { type Fault, WinnowError } from '../errors.ts'
import type { Row } from './fields.ts'
import { type Input, readBytes } from './inputs.ts'
import type { RowBatch, RowEntry } from './rows.ts'

/** Largest CSV row read, in bytes: 16 MiB. DuckDB holds a few buffers of this size. */
const CSV_ROW_LIMIT = 16 * 2 ** 20

/** DuckDB's memory limit where none is given. */
export const MEMORY_LIMIT = '512MB'

/** A private in-memory DuckDB, closed by `await using`. */
export class Tables {
  readonly connection: DuckDBConnection
  readonly #instance: DuckDBInstance

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.connection = connection
  }

  static async open(memoryLimit = MEMORY_LIMIT): Promise<Tables> {
    // Loaded on demand: pools of JSON Lines never pay for it.
    const { DuckDBInstance } = await import('@duckdb/node-api')
    try {
      const instance = await DuckDBInstance.create(':memory:', {
        memory_limit: memoryLimit,
        threads: '2',
        preserve_insertion_order: 'true',
        temp_directory: join(tmpdir(), `winnow-duckdb-${process.pid}`),
      })
      return new Tables(instance, await instance.connect())
    } catch (cause) {
      const message = `DuckDB does not start: ${(cause as Error).message.split('\n')[0]}`
      throw new WinnowError(
        'failure',
        { code: 'duckdb-failed', message, found: `memory limit ${memoryLimit}` },
        { cause },
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.closeSync()
    this.#instance.closeSync()
  }
}

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`
export const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`

/** Field separator of a CSV input: of `,`, tab, `;` and `|` the most frequent in the header outside quotes; else `,`. */
export async function csvDelimiter(input: Input): Promise<string> {
  let header = ''
  for await (const chunk of readBytes(input)) {
    header += chunk.toString('utf8')
    if (/[\r\n]/.test(header.trimStart()) || header.length > 1 << 20) break
  }
  const line = header
    .trimStart()
    .split(/[\r\n]/)[0]
    .replace(/"[^"]*"/g, '')
  const counts = [',', '\t', ';', '|'].map((mark) => [mark, line.split(mark).length] as const)
  return counts.reduce((a, b) => (b[1] > a[1] ? b : a))[0]
}

export interface TableSource {
  input: Input
  /** SQL of a table expression over the file. */
  sql: string
  delimiter?: string
}

/** The table expression that reads an input; with `lenient`, DuckDB sets CSV rows that it cannot read aside. */
export async function tableSource(input: Input, options: { lenient?: boolean } = {}): Promise<TableSource> {
  const file = literal(input.path)
  if (input.kind === 'parquet') return { input, sql: `read_parquet(${file})` }
  const delimiter = await csvDelimiter(input)
  const compression = input.compression === 'none' ? 'none' : input.compression
  const rejects = options.lenient ? ', store_rejects=true, rejects_limit=0' : ''
  // Text only, so that what is written is what was read; the dialect is fixed, since DuckDB's guess from a sample can
  // go wrong on long texts with line breaks; one thread, since quoted line breaks make split points guesses too.
  const sql =
    `read_csv(${file}, header=true, all_varchar=true, auto_detect=true, delim=${literal(delimiter)}, quote='"', escape='"', ` +
    `compression=${literal(compression)}, parallel=false, null_padding=false, nullstr='', allow_quoted_nulls=false, ` +
    `max_line_size=${CSV_ROW_LIMIT}, buffer_size=${2 * CSV_ROW_LIMIT}${rejects})`
  return { input, sql, delimiter }
}

/** Column names and DuckDB types of a source. */
export async function tableColumns(tables: Tables, source: TableSource): Promise<{ name: string; type: string }[]> {
  const reader = await run(source.input, () => tables.connection.runAndReadAll(`DESCRIBE SELECT * FROM ${source.sql}`))
  return reader.getRows().map((row) => ({ name: String(row[0]), type: String(row[1]) }))
}

/** SQL of some columns as one JSON text; numbers that JSON lacks (NaN, infinities) are null. */
export function jsonColumns(columns: { name: string; type: string }[]): string {
  const fields = columns.map(({ name, type }) => {
    const column = identifier(name)
    const value = type === 'DOUBLE' || type === 'FLOAT' ? `CASE WHEN isfinite(${column}) THEN ${column} END` : column
    return `${column} := ${value}`
  })
  return `to_json(struct_pack(${fields.join(', ')}))::VARCHAR`
}

/**
 * Rows of a CSV or Parquet input in file order, batches of up to 2,048. `columns` limits what Parquet reads; CSV
 * rows carry all columns, as text (an empty field is null, a quoted empty field an empty string).
 */
export async function* readTableRows(
  tables: Tables,
  source: TableSource,
  options: { columns?: readonly string[]; lenient?: boolean } = {},
): AsyncGenerator<RowBatch> {
  const { input, sql } = source
  const columns = await tableColumns(tables, source)
  if (input.kind === 'csv') return yield* readCsvRows(tables, source, columns, options.lenient === true)
  const wanted = columns.filter((column) => options.columns?.includes(column.name) ?? true)
  const counted = await run(input, () => tables.connection.runAndReadAll(`SELECT count(*) FROM ${sql}`))
  const total = Math.max(1, Number(counted.getRows()[0][0]))
  // A format whose fields no row of the sample had still needs a row for each row.
  const select = wanted.length === 0 ? `'{}'` : jsonColumns(wanted)
  let line = 0
  for await (const [json] of columnChunks(tables, input, `SELECT ${select} FROM ${sql}`)) {
    const entries: RowEntry[] = json.map((text) => ({ line: ++line, ...parseJson(text, line) }))
    yield { entries, blank: 0, bytes: Math.round((input.bytes * line) / total) }
  }
}

async function* readCsvRows(
  tables: Tables,
  source: TableSource,
  columns: { name: string }[],
  lenient: boolean,
): AsyncGenerator<RowBatch> {
  const { input, sql } = source
  const names = columns.map((column) => column.name)
  let line = 2 + names.reduce((sum, name) => sum + lineBreaks(name), 0)
  let bytes = 0
  for await (const chunk of columnChunks(tables, input, `SELECT * FROM ${sql}`)) {
    const entries: RowEntry[] = []
    for (let i = 0; i < chunk[0].length; i++) {
      const row: Row = {}
      let breaks = 0
      for (let c = 0; c < names.length; c++) {
        const value = chunk[c][i]
        row[names[c]] = value
        if (typeof value === 'string') {
          breaks += lineBreaks(value)
          bytes += value.length + 1
        }
      }
      entries.push({ line, row })
      line += 1 + breaks
    }
    yield { entries, blank: 0, bytes: Math.min(bytes, input.bytes) }
  }
  if (!lenient) return
  const query = 'SELECT line, column_name, error_type, error_message FROM reject_errors ORDER BY line'
  const rejects = (await tables.connection.runAndReadAll(query)).getRows()
  const faults = rejects.map(
    ([at, column, type, message]): Fault => ({
      code: String(type) === 'INVALID ENCODING' ? 'invalid-utf8' : 'bad-csv',
      message: 'the row is not CSV of this header',
      line: Number(at),
      path: column === null || column === '' ? undefined : String(column),
      found: `${String(type).toLowerCase()}: ${String(message).split('\n')[0]}`,
    }),
  )
  const count = new Set(rejects.map(([at]) => String(at))).size
  if (count > 0) yield { entries: [], blank: 0, bytes: input.bytes, rejected: { count, faults } }
}

function parseJson(text: unknown, line: number): { row?: Row; fault?: Fault } {
  try {
    return { row: JSON.parse(String(text)) as Row }
  } catch {
    return { fault: { code: 'bad-json', message: 'the row has a number that JSON cannot hold', line } }
  }
}

function lineBreaks(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++
  return count
}

/** Streams a query: for each chunk, the values of each column. */
export async function* columnChunks(tables: Tables, input: Input, query: string): AsyncGenerator<unknown[][]> {
  const result = await run(input, () => tables.connection.stream(query))
  for (;;) {
    const chunk = await run(input, () => result.fetchChunk())
    if (chunk === null || chunk.rowCount === 0) return
    yield Array.from({ length: chunk.columnCount }, (_, column) => chunk.getColumnValues(column) as unknown[])
  }
}

/** Runs a DuckDB call; its failure becomes a fault of the input: `bad-csv`, `bad-parquet` or `invalid-utf8`. */
export async function run<T>(input: Input, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const text = (cause as Error).message
    const first = text.split('\n').find((line) => line.trim() !== '') ?? text
    const memory = /Out of Memory/i.test(text)
    const line = /Line: (\d+)/.exec(text)?.[1]
    const encoding = /unicode|utf-?8/i.test(first)
    const fault: Fault = {
      code: memory ? 'out-of-memory' : encoding ? 'invalid-utf8' : `bad-${input.kind}`,
      message: memory ? 'the file does not fit the memory limit' : `the file is not readable as ${input.kind}`,
      file: input.path,
      line: line === undefined ? undefined : Number(line),
      found: first.slice(0, 300),
      hint: memory
        ? 'Give a larger memory limit.'
        : input.kind === 'csv'
          ? 'Winnow reads CSV with a header row and double quotes; a row of another width is an error, or left out with --on-bad-row skip.'
          : undefined,
    }
    throw new WinnowError('input', fault, { cause })
  }
}

/**
 * Writes the rows at `ordinals` (ascending, one list a source) of all sources to one new CSV or Parquet file, in order;
 * columns are united by name. Memory: the selected ordinals, and what DuckDB may use before it sorts on disk.
 */
export async function copyTables(
  tables: Tables,
  sources: readonly TableSource[],
  ordinals: readonly Uint32Array[],
  target: { path: string; kind: string; tabs: boolean },
): Promise<void> {
  const { connection } = tables
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
  // Names that no column of the inputs has, so that EXCLUDE takes none of theirs.
  const selects = sources.map(
    ({ sql }, input) =>
      `SELECT * FROM (SELECT ${input} AS winnow_input, row_number() OVER () - 1 AS winnow_row, * FROM ${sql}) ` +
      `WHERE winnow_row IN (SELECT ordinal FROM winnow_selected WHERE input = ${input})`,
  )
  const delimiter = target.tabs ? '\t' : (sources[0].delimiter ?? ',')
  const format =
    target.kind === 'parquet'
      ? '(FORMAT parquet, COMPRESSION zstd)'
      : `(FORMAT csv, HEADER true, DELIMITER ${literal(delimiter)})`
  const query =
    `COPY (SELECT * EXCLUDE (winnow_input, winnow_row) FROM (${selects.join(' UNION ALL BY NAME ')}) ` +
    `ORDER BY winnow_input, winnow_row) TO ${literal(target.path)} ${format}`
  await run(sources[0].input, () => connection.run(query))
}
