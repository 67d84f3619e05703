import { copyFile, mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openDataset } from '../../src/dataset/dataset.ts'
import { checkOutput } from '../../src/dataset/output.ts'
import { Database } from '../../src/dataset/parquet.ts'
import { compactJson, writeSelection } from '../../src/dataset/selection.ts'
import { failureOf, fileOf, fixture, recordsOf, turnsOf, workspace } from './workspace.ts'

const rows = (...list: number[]) => Uint32Array.from(list)
const line = (value: string) => JSON.stringify({ text: value })

async function selectText(paths: string[], selected: Uint32Array, name = 'out.jsonl', options = {}): Promise<string> {
  const out = join(await workspace(), name)
  await writeSelection(await openDataset(paths, options), selected, out)
  return await readFile(out, 'utf8')
}

describe('JSON Lines', () => {
  it('copies selected lines byte for byte, line endings included', async () => {
    const lines = [
      ' {"text": "a\\u00e9",  "id": 12345678901234567890}\r\n',
      '{"text":"b"}\n',
      '\n',
      '{"text":"\u{1f600}"} \n',
    ]
    const path = await fileOf('pool.jsonl', lines.join(''))
    expect(await selectText([path], rows(0, 2))).toBe(lines[0] + lines[3])
  })

  it('ends every line, and keeps a byte order mark at the start only', async () => {
    const first = await fileOf('a.jsonl', `\ufeff${line('a')}\n${line('b')}`)
    const second = await fileOf('b.jsonl', `\ufeff${line('c')}`)
    expect(await selectText([first, second], rows(1, 2))).toBe(`\ufeff${line('b')}\n${line('c')}\n`)
    expect(await selectText([second], rows(0), 'out.json')).toBe(`\ufeff[\n${line('c')}\n]\n`)
  })

  it('gives the whole real file back when all is selected', async () => {
    const path = fixture('gsm8k.jsonl')
    expect(
      await selectText(
        [path],
        Uint32Array.from({ length: 12 }, (_, i) => i),
      ),
    ).toBe(await readFile(path, 'utf8'))
    const torn = fixture('scitldr.jsonl')
    const options = { template: '{source}{target*}' }
    expect(await selectText([torn], rows(0, 1, 2, 3), 'out.jsonl', options)).toBe(`${await readFile(torn, 'utf8')}\n`)
  })

  it('copies what arbitrary records and an arbitrary selection are, as filtering lines does', async () => {
    const directory = await workspace()
    // A real text beside arbitrary fields, in one of the spellings that JSON allows.
    const record = fc
      .tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.json(), fc.constantFrom('\n', '\r\n', ' \n', '\n\n'))
      .map(([text, json, ending]) => ({
        row: `{"text": ${JSON.stringify(`x${text}`)}, "more":${json.replaceAll('\n', ' ')}}`,
        ending,
      }))
    const property = fc.asyncProperty(
      fc.array(fc.tuple(record, fc.boolean()), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      async (records, compressed) => {
        const path = join(directory, compressed ? 'pool.jsonl.gz' : 'pool.jsonl')
        const out = join(directory, 'out.jsonl')
        const text = records.map(([{ row, ending }]) => row + ending).join('')
        await writeFile(path, compressed ? gzipSync(text) : text)
        const dataset = await openDataset([path])
        const selected = rows(...records.flatMap(([, keep], i) => (keep ? [i] : [])))
        await writeSelection(dataset, selected, out, { overwrite: true })
        const kept = records.filter(([, keep]) => keep)
        const expected = kept.map(([{ row, ending }]) => row + (ending === '\n\n' ? '\n' : ending)).join('')
        expect(await readFile(out, 'utf8')).toBe(expected)
      },
    )
    await fc.assert(property, { numRuns: 60 })
  })

  it('counts rows without the bad ones, over several inputs', async () => {
    const first = await fileOf(
      'a.jsonl',
      ['{"no":1}', line('a'), '', 'x', line('b'), '{"text":""}', line('c')].join('\n'),
    )
    const second = await fileOf('b.jsonl', [line('d'), 'torn', line('e')].join('\n'))
    const options = { onBadRow: 'skip' as const, fields: 'text=text' }
    const dataset = await openDataset([first, second], options)
    const records = await recordsOf(dataset)
    const selected = rows(0, 2, 4)
    const out = join(await workspace(), 'out.jsonl')
    await writeSelection(dataset, selected, out)
    const expected = [...selected].map((row) => `${line(records[row].turns[0].content)}\n`).join('')
    expect(await readFile(out, 'utf8')).toBe(expected)
    expect(expected).toBe(`${line('a')}\n${line('c')}\n${line('e')}\n`)
  })

  it('compresses where the name says so', async () => {
    for (const [name, expand] of [
      ['out.jsonl.gz', gunzipSync],
      ['out.jsonl.zst', zstdDecompressSync],
    ] as const) {
      const out = join(await workspace(), name)
      const dataset = await openDataset([fixture('gsm8k.jsonl')])
      const written = await writeSelection(dataset, rows(3), out)
      const lines = (await readFile(fixture('gsm8k.jsonl'), 'utf8')).split(/(?<=\n)/)
      expect(expand(await readFile(out)).toString()).toBe(lines[3])
      expect(written).toMatchObject({ rows: 1, kind: 'jsonl', size: (await stat(out)).size })
    }
  })

  it('writes nothing selected as an empty file or array', async () => {
    expect(await selectText([fixture('gsm8k.jsonl')], rows())).toBe('')
    expect(await selectText([fixture('gsm8k.jsonl')], rows(), 'out.json')).toBe('[]\n')
  })
})

describe('JSON arrays', () => {
  const options = { template: '{Body} {Question}\\n{Answer*}' }

  it('keeps elements as they were written in an array', async () => {
    const original = await readFile(fixture('svamp.json'), 'utf8')
    const text = await selectText([fixture('svamp.json')], rows(1, 8), 'out.json', options)
    expect(JSON.parse(text)).toEqual([1, 8].map((i) => JSON.parse(original)[i]))
    expect(original).toContain(text.slice(2, text.indexOf('},') + 1))
    expect(text).toMatch(/"Answer": \d+\.0,/)
  })

  it('writes elements as lines, numbers and strings untouched', async () => {
    const array =
      '[\n  {"text": "a  \\n\\" }",\r\n "n": 1.0, "big": 12345678901234567890},\n {"text":"b", "x": [ ]}\n]\n'
    const path = await fileOf('pool.json', array)
    expect(await selectText([path], rows(0, 1))).toBe(
      '{"text":"a  \\n\\" }","n":1.0,"big":12345678901234567890}\n{"text":"b", "x": [ ]}\n',
    )
  })

  it('splits arbitrary arrays into their elements, wherever chunks end', async () => {
    const { splitArray } = await import('../../src/dataset/spans.ts')
    const property = fc.asyncProperty(
      fc.array(fc.oneof(fc.jsonValue(), fc.string({ unit: fc.constantFrom('"', '\\', 'a', ',', ']') }))),
      fc.boolean(),
      fc.integer({ min: 1, max: 9 }),
      async (values, pretty, size) => {
        const bytes = Buffer.from(JSON.stringify(values, null, pretty ? 2 : 0))
        const chunks = (async function* () {
          for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size)
        })()
        const elements: string[] = []
        for await (const spans of splitArray(chunks, { file: '' })) {
          for (const span of spans) {
            elements.push(span.bytes.toString())
            expect(bytes.subarray(span.offset, span.offset + span.bytes.length)).toEqual(span.bytes)
          }
        }
        expect(elements.map((element) => JSON.parse(element))).toEqual(JSON.parse(bytes.toString()))
      },
    )
    await fc.assert(property, { numRuns: 200 })
  })

  it('compacts JSON to what it says, without line breaks', () => {
    const property = fc.property(fc.jsonValue(), (value) => {
      const compact = compactJson(Buffer.from(JSON.stringify(value, null, '\t\r\n '))).toString()
      expect(compact).toBe(JSON.stringify(value))
    })
    fc.assert(property)
  })
})

describe('CSV', () => {
  const options = { fields: 'prompt=dialogue,response=section_text' }

  it('copies the header and selected rows byte for byte', async () => {
    const path = fixture('mts-dialog.csv')
    const original = await readFile(path, 'utf8')
    const all = Uint32Array.from({ length: 8 }, (_, i) => i)
    expect(await selectText([path], all, 'out.csv', options)).toBe(original)
    const some = await selectText([path], rows(2, 5), 'out.csv', options)
    const header = original.slice(0, original.indexOf('\n') + 1)
    expect(some.startsWith(`${header}2,`)).toBe(true)
    expect(original).toContain(some.slice(header.length, some.indexOf('\n5,') + 1))
    expect(some.length).toBeLessThan(original.length)
  })

  it('writes the same records as JSON Lines', async () => {
    const path = fixture('mts-dialog.csv')
    const records = await recordsOf(await openDataset([path], options))
    const jsonl = await fileOf('pool.jsonl', await selectText([path], rows(1, 6), 'out.jsonl', options))
    const again = await recordsOf(await openDataset([jsonl], options))
    expect(again.map(turnsOf)).toEqual([1, 6].map((row) => turnsOf(records[row])))
  })

  it('splits and reads arbitrary tables, wherever chunks end', async () => {
    const { parseCsv, splitCsv } = await import('../../src/dataset/csv.ts')
    const cell = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r\n', ' ', 'é'), maxLength: 6 })
    const property = fc.asyncProperty(
      fc.array(fc.tuple(cell, cell), { minLength: 1 }),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom('\n', '\r\n'),
      async (table, size, ending) => {
        const quote = (value: string) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
        const bytes = Buffer.from(table.map((row) => row.map(quote).join(',') + ending).join(''))
        const chunks = (async function* () {
          for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size)
        })()
        const read: unknown[] = []
        for await (const spans of splitCsv(chunks, { file: '', delimiter: ',' })) {
          for (const span of spans) read.push(parseCsv(span, { delimiter: ',', columns: ['a', 'b'] }))
        }
        expect(read).toEqual(table.map(([a, b]) => ({ row: { a, b } })))
      },
    )
    await fc.assert(property, { numRuns: 200 })
  })
})

describe('Parquet', () => {
  /** 3,000 dialogues with nested turns and typed columns, made by DuckDB. */
  async function parquet(name = 'pool.parquet', from = 0): Promise<string> {
    const path = join(await workspace(), name)
    await using database = await Database.open()
    await database.connection.run(
      `COPY (SELECT i::INTEGER AS id, [{'role': 'user', 'content': 'question ' || i}, {'role': 'assistant', 'content': 'answer ' || i}] AS messages,
        CASE WHEN i % 3 = 0 THEN 'web' ELSE 'book' END AS source, 'NaN'::DOUBLE AS score, DATE '2024-01-01' + i::INTEGER AS day
        FROM range(${from}, ${from + 3000}) t(i)) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`,
    )
    return path
  }

  async function query(path: string, sql: string): Promise<unknown[][]> {
    await using database = await Database.open()
    return (
      await database.connection.runAndReadAll(sql.replace('$', `read_parquet('${path}')`))
    ).getRowsJson() as unknown[][]
  }

  it('reads nested rows in file order', async () => {
    const dataset = await openDataset([await parquet()])
    const records = await recordsOf(dataset)
    expect(dataset.inputs[0].kind).toBe('parquet')
    expect(dataset.format.name).toBe('messages')
    expect(records.map((record) => record.line)).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1))
    expect(turnsOf(records[2500])).toEqual(['user: question 2500', 'assistant!: answer 2500'])
    expect(dataset.report().sources).toEqual([
      { source: 'book', rows: 2000 },
      { source: 'web', rows: 1000 },
    ])
  })

  it('writes Parquet with types and order kept, and JSON Lines', async () => {
    const paths = [await parquet(), await parquet('b[1]*.parquet', 3000)]
    // A file that the second name would match, were it a pattern.
    await copyFile(paths[0], join(dirname(paths[1]), 'b1.parquet'))
    const dataset = await openDataset(paths)
    const out = join(await workspace(), 'deep', 'out.parquet')
    const selected = rows(...Array.from({ length: 600 }, (_, i) => 10 * i + 7))
    const written = await writeSelection(dataset, selected, out)
    expect(written).toMatchObject({ rows: 600, kind: 'parquet', size: (await stat(out)).size })
    expect((await query(out, 'SELECT id FROM $')).map(([id]) => id)).toEqual([...selected])
    const types = 'SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM $)'
    expect(await query(out, types)).toEqual(await query(paths[0], types))
    expect(await readdir(dirname(out))).toEqual(['out.parquet'])
    const jsonl = join(await workspace(), 'out.jsonl')
    await writeSelection(dataset, rows(4000), jsonl)
    expect(JSON.parse(await readFile(jsonl, 'utf8'))).toMatchObject({ id: 4000, score: null, day: '2034-12-14' })
  })
})

describe('faults', () => {
  it('refuses outputs before any work', async () => {
    const directory = await workspace()
    const pool = join(directory, 'pool.jsonl')
    await copyFile(fixture('gsm8k.jsonl'), pool)
    await mkdir(join(directory, 'folder.jsonl'))
    const { inputs } = await openDataset([pool])
    const codeOf = async (path: string, options = {}) =>
      (await failureOf(checkOutput(join(directory, path), { inputs, ...options }))).fault.code
    expect(await codeOf('out.txt')).toBe('unknown-output')
    expect(await codeOf('out.parquet.gz')).toBe('unknown-output')
    expect(await codeOf('out.parquet')).toBe('unsupported-conversion')
    expect(await codeOf('out.csv')).toBe('unsupported-conversion')
    expect(await codeOf('folder.jsonl')).toBe('unwritable-output')
    expect(await codeOf('pool.jsonl/out.jsonl')).toBe('unwritable-output')
    expect(await codeOf('pool.jsonl', { overwrite: true })).toBe('output-is-input')
    await copyFile(pool, join(directory, 'out.jsonl'))
    expect(await codeOf('out.jsonl')).toBe('output-exists')
    expect((await checkOutput(join(directory, 'out.jsonl'), { inputs, overwrite: true })).kind).toBe('jsonl')
    expect((await checkOutput(join(directory, 'new/deep/out.json.gz'), { inputs })).compression).toBe('gzip')
  })

  it('refuses CSV from inputs of different headers', async () => {
    const inputs = [await fileOf('a.csv', 'question,answer\na,b\n'), await fileOf('b.csv', 'answer,question\na,b\n')]
    const dataset = await openDataset(inputs)
    const error = await failureOf(writeSelection(dataset, rows(0, 1), join(await workspace(), 'out.csv')))
    expect(error.fault).toMatchObject({ code: 'unsupported-conversion', found: `${inputs[1]}, with another header` })
    const tsv = await failureOf(writeSelection(dataset, rows(0), join(await workspace(), 'out.tsv')))
    expect(tsv.fault.code).toBe('unsupported-conversion')
  })

  it('leaves an existing output alone, unless told to replace it', async () => {
    const directory = await workspace()
    const out = join(directory, 'out.jsonl')
    await writeFile(out, 'mine')
    const dataset = await openDataset([fixture('gsm8k.jsonl')])
    expect((await failureOf(writeSelection(dataset, rows(0), out))).fault.code).toBe('output-exists')
    expect(await readFile(out, 'utf8')).toBe('mine')
    await writeSelection(dataset, rows(0), out, { overwrite: true })
    expect(await readFile(out, 'utf8')).toMatch(/^\{"question"/)
    expect(await readdir(directory)).toEqual(['out.jsonl'])
  })

  it('writes nothing when an input has changed since', async () => {
    const pool = await fileOf('pool.jsonl', `${line('a')}\n${line('b')}\n`)
    const dataset = await openDataset([pool])
    await recordsOf(dataset)
    await writeFile(pool, `${line('b')}\n${line('a')}\n${line('c')}\n`)
    const directory = await workspace()
    const error = await failureOf(writeSelection(dataset, rows(0), join(directory, 'out.jsonl')))
    expect(error.fault).toMatchObject({ code: 'input-changed', file: pool })
    expect(await readdir(directory)).toEqual([])
  })

  it('notices changed bytes under an unchanged size and time', async () => {
    const pool = await fileOf('pool.jsonl', `${line('a')}\n${line('b')}\n`)
    const dataset = await openDataset([pool])
    await recordsOf(dataset)
    const { atime, mtime } = await stat(pool)
    await writeFile(pool, `${line('a')}\n${line('c')}\n`)
    await utimes(pool, atime, mtime)
    const changed = { ...dataset, inputs: [{ ...dataset.inputs[0], modified: (await stat(pool)).mtimeMs }] }
    const directory = await workspace()
    const writing = writeSelection({ ...changed, scan: dataset.scan }, rows(0), join(directory, 'out.jsonl'))
    expect((await failureOf(writing)).fault.code).toBe('input-changed')
    expect(await readdir(directory)).toEqual([])
  })

  it('takes only ascending rows of the pool', async () => {
    const dataset = await openDataset([fixture('gsm8k.jsonl')])
    const out = join(await workspace(), 'out.jsonl')
    for (const selected of [rows(12), rows(3, 3), rows(4, 2)]) {
      await expect(writeSelection(dataset, selected, out)).rejects.toThrow(RangeError)
    }
  })
})
