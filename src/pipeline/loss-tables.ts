/** Tables of losses as they lie on disk: JSON Lines, JSON, CSV and Parquet, block by block. */

import type { DuckDBConnection } from '@duckdb/node-api'
import { parseCsv } from '../dataset/csv.ts'
import { type Input, inspectInput } from '../dataset/inputs.ts'
import { type Database, identifier, literal, parquetColumns } from '../dataset/parquet.ts'
import { isBlank, readSpans } from '../dataset/rows.ts'
import type { Span } from '../dataset/spans.ts'
import { WinnowError } from '../errors.ts'
import type { LossBlock, LossTable } from '../signals/loss-table.ts'

/** A table of losses; `database` serves Parquet and is opened when the first one is met. */
export async function openLossTable(path: string, database: () => Promise<Database>): Promise<LossTable> {
  const input = await inspectInput(path)
  if (input.kind === 'parquet') return parquetTable(input, await database())
  return input.dialect === undefined ? jsonTable(input) : csvTable(input, input.dialect)
}

/** DuckDB's types of numbers; half floats, decimals and whole numbers of any width among them. */
const NUMERIC = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\))$/

async function parquetTable(input: Input, database: Database): Promise<LossTable> {
  const known = await parquetColumns(database, input)
  const typeOf = new Map(known.map(({ name, type }) => [name, type]))
  // Numbers as doubles, lists of numbers as lists of doubles; anything else as text, for the error that names it.
  const expression = (name: string) => {
    const type = typeOf.get(name) ?? ''
    const [element, list] = [type.replace(/\[\d*\]$/, ''), /\[\d*\]$/.test(type)]
    return `CAST(${identifier(name)} AS ${NUMERIC.test(element) ? `DOUBLE${list ? '[]' : ''}` : 'VARCHAR'})`
  }
  return {
    file: input.path,
    columns: known.map(({ name }) => name),
    async *read(columns) {
      const file = literal(input.path.replace(/[*?[]/g, '[$&]'))
      const query = `SELECT ${columns.map(expression).join(', ')} FROM read_parquet(${file})`
      let line = 0
      for await (const chunk of chunks(database.connection, query, input)) {
        const lines = Uint32Array.from({ length: chunk[0].length }, (_, i) => line + i + 1)
        line += lines.length
        yield { lines, cells: chunk.map((column) => column.map(listItems)) }
      }
    },
  }
}

/** A list of DuckDB's as an array. */
function listItems(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'items' in value ? value.items : value
}

async function* chunks(connection: DuckDBConnection, query: string, { path }: Input): AsyncGenerator<unknown[][]> {
  try {
    const result = await connection.stream(query)
    for (;;) {
      const chunk = await result.fetchChunk()
      if (chunk === null || chunk.rowCount === 0) return
      yield Array.from({ length: chunk.columnCount }, (_, c) => chunk.getColumnValues(c) as unknown[])
    }
  } catch (cause) {
    if (cause instanceof WinnowError) throw cause
    const found = (cause as Error).message.split('\n')[0].slice(0, 300)
    const hint = 'It is damaged or was cut off: write or fetch it again.'
    const fault = { code: 'bad-parquet', message: 'the file is not readable as Parquet', file: path, found, hint }
    throw new WinnowError('input', fault, { cause })
  }
}

function csvTable(input: Input, dialect: NonNullable<Input['dialect']>): LossTable {
  // pandas leaves the header of its index empty; the dialect fills that in.
  const unnamed = dialect.columns[0] === 'column1' && dialect.columns[1] !== 'column2'
  const keys = new Map(dialect.columns.map((name, c) => [c === 0 && unnamed ? '' : name, name]))
  return {
    file: input.path,
    columns: [...keys.keys()],
    async *read(columns) {
      let header = true
      for await (const spans of records(input)) {
        const lines = header ? spans.slice(1) : spans
        header &&= spans.length === 0
        yield block(lines, columns.length, (span) => {
          const result = parseCsv(span, dialect)
          if ('fault' in result) throw new WinnowError('input', { ...result.fault, file: input.path })
          return columns.map((column) => result.row[keys.get(column) as string])
        })
      }
    },
  }
}

async function jsonTable(input: Input): Promise<LossTable> {
  let first: Record<string, unknown> = {}
  for await (const spans of records(input)) {
    if (spans.length === 0) continue
    first = parseRecord(spans[0], input)
    break
  }
  return {
    file: input.path,
    columns: Object.keys(first),
    async *read(columns) {
      for await (const spans of records(input))
        yield block(spans, columns.length, (span) => {
          const record = parseRecord(span, input)
          return columns.map((column) => (Object.hasOwn(record, column) ? record[column] : undefined))
        })
    },
  }
}

/** The records of a text file, blank lines left out. */
async function* records(input: Input): AsyncGenerator<Span[]> {
  for await (const spans of readSpans(input, { bytes: 0 })) yield spans.filter(({ bytes }) => !isBlank(bytes))
}

function block(spans: Span[], width: number, cellsOf: (span: Span) => unknown[]): LossBlock {
  const cells: unknown[][] = Array.from({ length: width }, () => new Array(spans.length))
  for (const [i, span] of spans.entries()) {
    const row = cellsOf(span)
    for (let c = 0; c < width; c++) cells[c][i] = row[c]
  }
  return { lines: Uint32Array.from(spans, ({ line }) => line), cells }
}

/** One record of JSON as columns. A bare number is a loss, a bare list the losses of a row. */
function parseRecord({ bytes, line }: Span, { path }: Input): Record<string, unknown> {
  const text = bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    try {
      value = JSON.parse(withoutNaN(text))
    } catch (cause) {
      const fault = {
        code: 'bad-json',
        message: 'the record is not JSON',
        file: path,
        line,
        found: JSON.stringify(text.slice(0, 60)),
        expected: 'one JSON object, list or number a record',
      }
      throw new WinnowError('input', fault, { cause })
    }
  }
  if (value === null || typeof value === 'number') return { loss: value }
  if (Array.isArray(value)) return { losses: value }
  if (typeof value === 'object') return value as Record<string, unknown>
  const fault = { code: 'not-a-loss', message: 'the record holds no losses', file: path, line, found: typeof value }
  throw new WinnowError('input', fault)
}

/** Python writes NaN and Infinity into JSON, which has neither: as null, and as text that the reader knows. */
function withoutNaN(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (part) =>
    part.startsWith('"') ? part : part.endsWith('NaN') ? 'null' : `"${part}"`,
  )
}
