import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { writeTable } from '../../src/dataset/columns.ts'
import { Database } from '../../src/dataset/parquet.ts'
import { workspace } from './workspace.ts'

const float = (...values: number[]) => Float32Array.of(...values)

async function read(path: string) {
  await using database = await Database.open()
  return (await database.connection.runAndReadAll(`SELECT * FROM '${path}'`)).getRowObjectsJson()
}

it('lists keep their numbers to the bit, their nulls and their emptiness, also where one is longer than a chunk', async () => {
  const directory = await workspace()
  const long = Float32Array.from({ length: 5000 }, (_, i) => Math.fround(Math.sin(i)) / 3)
  const lists = [float(0.1, Number.NaN, 1e-30), float(), float(Number.NaN), float(-3.4e38), long]
  const ids = lists.map((list) => Uint32Array.from(list, (_, i) => 4_294_967_295 - i))
  const write = (path: string) =>
    writeTable(path, { row: 'UINTEGER', ids: 'UINTEGER[]', nll: 'FLOAT[]' }, [
      [[0, 1], ids.slice(0, 2), lists.slice(0, 2)],
      [[2, 3, 4], ids.slice(2), lists.slice(2)],
    ])
  const [one, two] = [join(directory, 'one.parquet'), join(directory, 'two.parquet')]
  await write(one)
  await write(two)
  expect(readFileSync(one)).toEqual(readFileSync(two))
  const rows = await read(one)
  expect(rows.map(({ row }) => row)).toEqual([0, 1, 2, 3, 4])
  rows.forEach(({ ids: wide, nll }, row) => {
    expect(wide).toEqual(Array.from(ids[row]))
    const found = (nll as (number | null)[]).map((value) => (value === null ? Number.NaN : Math.fround(value)))
    expect(found).toEqual(Array.from(lists[row]))
  })
})

it('NaN of a number column is null, text may be missing', async () => {
  const path = join(await workspace(), 'table.parquet')
  await writeTable(path, { nll: 'DOUBLE', file: 'VARCHAR', cut: 'BOOLEAN' }, [
    [
      [Number.NaN, 2.5],
      ["it's.jsonl", null],
      [true, false],
    ],
  ])
  expect(await read(path)).toEqual([
    { nll: null, file: "it's.jsonl", cut: true },
    { nll: 2.5, file: null, cut: false },
  ])
})

it('that do not fit into the memory that DuckDB may use are a fault with a way out, and leave no file', async () => {
  const directory = await workspace()
  const wide = Float32Array.from({ length: 600_000 }, (_, i) => i / 7)
  await expect(
    writeTable(join(directory, 'wide.parquet'), { nll: 'FLOAT[]' }, [[[wide]]], '8MB'),
  ).rejects.toMatchObject({ kind: 'failure', fault: { code: 'out-of-memory', path: '--memory-limit' } })
  expect(readdirSync(directory)).toEqual([])
})
