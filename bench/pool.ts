/**
 * A pool of a million records: read → tokenise → plan batches, in a process of its own whose peak memory and first sign of life are measured.
 * Usage: node bench/pool.ts <pool.jsonl[.gz]> [--rows 1000000] [--bytes 1e9] [--write]
 * The pool is made from the real one: its records again and again, each with a number of its own, longer ones filled up with a further record's text.
 */

import { spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '1000000' },
    bytes: { type: 'string', default: '1e9' },
    write: { type: 'boolean' },
  },
})
const rows = Number(values.rows)
const home = mkdtempSync(join(tmpdir(), 'winnow-bench-pool-'))
try {
  const pool = join(home, 'pool.jsonl')
  await makePool(positionals[0], pool, rows, Number(values.bytes))
  const measured = await measure(pool)
  const result = {
    bench: 'pool',
    date: new Date().toISOString().slice(0, 10),
    machine: `${availableParallelism()} cores, ${cpus()[0].model.trim()}`,
    node: process.versions.node,
    load: loadavg()[0],
    rows,
    bytes: statSync(pool).size,
    ...measured,
  }
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  if (values.write)
    writeFileSync(
      fileURLToPath(new URL('./results/pool.json', import.meta.url)),
      `${JSON.stringify(result, null, 2)}\n`,
    )
} finally {
  rmSync(home, { recursive: true, force: true })
}

async function makePool(from: string, to: string, count: number, bytes: number): Promise<void> {
  const raw = readFileSync(from)
  const source = (from.endsWith('.gz') ? gunzipSync(raw) : raw)
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const target = bytes / count
  const file = createWriteStream(to, { highWaterMark: 1 << 20 })
  for (let row = 0; row < count; row++) {
    const record = { id: row, ...source[row % source.length] }
    for (let next = row + 1; JSON.stringify(record).length < target * 0.8; next += 7919)
      record.answer += ` ${source[next % source.length].answer}`
    if (!file.write(`${JSON.stringify(record)}\n`))
      await new Promise<void>((resolve) => file.once('drain', () => resolve()))
  }
  await new Promise<void>((resolve) => file.end(() => resolve()))
}

interface Line {
  at: number
  line: string
}

/** Runs bench/pool-child.ts on the pool. */
async function measure(pool: string): Promise<object> {
  const started = performance.now()
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./pool-child.ts', import.meta.url)), pool, join(home, 'run')],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const lines: Line[] = []
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) lines.push({ at: performance.now() - started, line })
  })
  const code = await new Promise((resolve) => child.on('exit', resolve))
  if (code !== 0) throw new Error(`pool-child ended with code ${code}`)
  const last = JSON.parse((lines.at(-1) as Line).line)
  return { firstProgressMs: Math.round(lines[0].at), seconds: (performance.now() - started) / 1000, ...last }
}
