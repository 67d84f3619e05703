/** The real command line, run as a user would: a process, its exit code and what it printed. */

import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const fixtures = fileURLToPath(new URL('../fixtures/cli/', import.meta.url))

export interface Ending {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Launch {
  cwd?: string
  env?: Record<string, string>
  /** Sees the process and all that it has written on standard error so far, at each piece. */
  watch?: (child: ChildProcess, stderr: string) => void
}

export function winnow(words: readonly string[], { cwd, env, watch }: Launch = {}): Promise<Ending> {
  const { FORCE_COLOR: _force, NO_COLOR: _no, DEBUG: _debug, ...inherited } = process.env
  const child = spawn(process.execPath, [main, ...words], { cwd, env: { ...inherited, ...env } })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
    watch?.(child, stderr)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** An empty directory, removed after the test (concurrent ones say which); `files` are copied into it from test/fixtures/cli. */
export function emptyDirectory(files: string[] = [], finished: (remove: () => void) => void = onTestFinished): string {
  const directory = mkdtempSync(join(tmpdir(), 'winnow-cli-'))
  finished(() => rmSync(directory, { recursive: true, force: true }))
  for (const file of files) copyFileSync(join(fixtures, file), join(directory, file))
  return directory
}

export const fixture = (name: string): string => join(fixtures, name)
