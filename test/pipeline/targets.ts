/** A pool of known domains and a target that one of them is like, cut from the examples. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const read = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../examples/${name}`, import.meta.url)), 'utf8')
    .trimEnd()
    .split('\n')

const pool = read('domains.jsonl')
const reviews = read('reviews.jsonl')
const write = (path: string, lines: readonly string[]) => writeFileSync(path, lines.map((line) => `${line}\n`).join(''))

export interface TargetFiles {
  pool: string
  target: string
  /** Lines of the pool. */
  lines: string[]
  domains: string[]
}

/** Writes the first rows of both into a directory. */
export function writeTargetFiles(home: string, { rows = 400, targets = 40 } = {}): TargetFiles {
  const lines = pool.slice(0, rows)
  const files = { pool: join(home, 'pool.jsonl'), target: join(home, 'task.jsonl') }
  write(files.pool, lines)
  write(files.target, reviews.slice(0, targets))
  return { ...files, lines, domains: lines.map((line) => JSON.parse(line).domain) }
}
