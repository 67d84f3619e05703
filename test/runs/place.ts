/** A new temporary directory for one test, removed after it. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export function place(): string {
  const directory = mkdtempSync(join(tmpdir(), 'winnow-runs-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Every file below a directory, by relative path, as base64. */
export function contents(directory: string): Record<string, string> {
  const files: Record<string, string> = {}
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    files[path.slice(directory.length + 1)] = readFileSync(path).toString('base64')
  }
  return files
}
