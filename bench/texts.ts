/** Texts of benchmark pools: every string of every row, JSONL or gzip of it, without the fields that name things. */

import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const NOT_TEXT = new Set(['source', 'domain', 'id', 'label', 'qtype', 'focus'])

export function textsOf(files: string[]): string[] {
  return files.flatMap((file) => {
    const bytes = readFileSync(file)
    const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .flatMap((line) => Object.entries(JSON.parse(line)).filter(([name]) => !NOT_TEXT.has(name)))
      .map(([, value]) => value)
      .filter((value) => typeof value === 'string')
  })
}

export const bytesOf = (texts: string[]): number => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
