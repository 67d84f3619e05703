/** Small real pools for end-to-end tests, cut from examples/math.jsonl, and a directory that goes with the test. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const lines = readFileSync(fileURLToPath(new URL('../../examples/math.jsonl', import.meta.url)), 'utf8')
  .trimEnd()
  .split('\n')

export function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'winnow-pipeline-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** The first rows of each source: short SVAMP ones and a few longer GSM8K ones. */
export function poolLines({ svamp = 90, gsm8k = 10 } = {}): string[] {
  const take = (source: string, count: number) =>
    lines.filter((line) => JSON.parse(line).source === source).slice(0, count)
  return [...take('gsm8k', gsm8k), ...take('svamp', svamp)]
}

export function writePool(path: string, rows = poolLines()): string[] {
  writeFileSync(path, rows.map((line) => `${line}\n`).join(''))
  return rows
}
