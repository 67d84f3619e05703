/**
 * Reading a pool: one pass of winnow (lines, UTF-8 check, JSON, turns, duplicates, sha256) against the two usual ways of
 * getting the same records into Node: `node:readline` with JSON.parse, and DuckDB's `read_json` streamed. Each side
 * runs in a process of its own, alternating; peers neither check, hash nor count anything. The last column writes a
 * third of the rows.
 *
 *   node bench/dataset.ts [--pool rows.jsonl] [--megabytes 200] [--rounds 3] [--out results.json]
 *
 * The pool (default examples/math.jsonl) is repeated, with a running number in each record, up to the size asked for.
 */

import { spawnSync } from 'node:child_process'
import { createReadStream, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { openDataset } from '../src/dataset/dataset.ts'
import { Database } from '../src/dataset/parquet.ts'
import { writeSelection } from '../src/dataset/selection.ts'

const { values } = parseArgs({
  options: {
    pool: { type: 'string', default: new URL('../examples/math.jsonl', import.meta.url).pathname },
    megabytes: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '3' },
    out: { type: 'string' },
    side: { type: 'string' },
  },
})

interface Run {
  rows: number
  /** Seconds on the clock, and of all threads' processor time. */
  clock: number
  processor: number
  /** Peak resident memory of the process, bytes. */
  peak: number
  /** Seconds to the first rows. */
  first: number
}

type Side = (path: string, onRows: (rows: number) => void) => Promise<unknown>

const SIDES: Record<string, Side> = {
  winnow: async (path, onRows) => {
    for await (const { records } of (await openDataset([path])).batches()) onRows(records.length)
  },
  'readline + JSON.parse': async (path, onRows) => {
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      if (Object.keys(JSON.parse(line)).length > 0) onRows(1)
    }
  },
  'DuckDB read_json': async (path, onRows) => {
    await using database = await Database.open('2GB')
    const query = `SELECT question, answer, source FROM read_json('${path}', format='newline_delimited')`
    const result = await database.connection.stream(query)
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      for (let column = 0; column < 3; column++) chunk.getColumnValues(column)
      onRows(chunk.rowCount)
    }
  },
  'winnow, and write a third': async (path, onRows) => {
    const dataset = await openDataset([path])
    for await (const { records } of dataset.batches()) onRows(records.length)
    const selected = Uint32Array.from({ length: Math.floor(dataset.scan!.rows / 3) }, (_, i) => 3 * i)
    await writeSelection(dataset, selected, `${path}.selected.jsonl`, { overwrite: true })
  },
}

if (values.side !== undefined) {
  let rows = 0
  let first = 0
  const start = performance.now()
  const before = process.cpuUsage()
  await SIDES[values.side](values.pool, (count) => {
    first ||= performance.now() - start
    rows += count
  })
  const { user, system } = process.cpuUsage(before)
  const run: Run = {
    rows,
    clock: (performance.now() - start) / 1000,
    processor: (user + system) / 1e6,
    peak: process.resourceUsage().maxRSS * 1024,
    first: first / 1000,
  }
  process.stdout.write(JSON.stringify(run))
} else {
  const directory = mkdtempSync(join(tmpdir(), 'winnow-bench-'))
  const path = join(directory, 'pool.jsonl')
  const bytes = writePool(path, Number(values.megabytes) * 1e6)
  const runs: Record<string, Run[]> = {}
  try {
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const side of Object.keys(SIDES)) {
        const child = spawnSync(process.execPath, [import.meta.filename, '--side', side, '--pool', path])
        if (child.status !== 0) throw new Error(`${side}: ${child.stderr}`)
        runs[side] ??= []
        runs[side].push(JSON.parse(String(child.stdout)))
      }
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
  const middle = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]
  const results = Object.entries(runs).map(([side, list]) => ({
    side,
    rows: list[0].rows,
    megabytesPerSecond: round(bytes / 1e6 / middle(list.map((run) => run.clock))),
    megabytesPerProcessorSecond: round(bytes / 1e6 / middle(list.map((run) => run.processor))),
    processorTimeOfWinnow: round(middle(list.map((run, i) => run.processor / runs.winnow[i].processor))),
    peakMegabytes: round(Math.max(...list.map((run) => run.peak)) / 1e6),
    firstRowsSeconds: round(middle(list.map((run) => run.first))),
  }))
  console.table(results)
  const machine = { cpu: cpus()[0].model, cores: cpus().length, load: loadavg()[0], node: process.version }
  const record = {
    date: new Date().toISOString(),
    machine,
    megabytes: round(bytes / 1e6),
    rounds: runs.winnow.length,
    results,
  }
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}

/** Repeats the pool up to `size` bytes; the bytes written. */
function writePool(path: string, size: number): number {
  const lines = readFileSync(values.pool, 'utf8').trimEnd().split('\n')
  const file = openSync(path, 'w')
  let written = 0
  for (let copy = 0; written < size; copy++) {
    const rows = lines.map((line, i) => `{"id":${copy * lines.length + i},${line.slice(1)}\n`)
    written += writeSync(file, rows.join('').replaceAll('"question":"', `"question":"(${copy}) `))
  }
  return written
}
