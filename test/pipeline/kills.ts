/** Pipelines killed as by kill -9 in processes of their own, started again, and compared with undisturbed ones. */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'vitest'

const child = fileURLToPath(new URL('./pipeline-child.ts', import.meta.url))
const execute = promisify(execFile)

async function run(command: string, options: object, stop?: object): Promise<string | undefined> {
  const given = [child, command, JSON.stringify(options), ...(stop ? [JSON.stringify(stop)] : [])]
  return execute(process.execPath, given).then(
    () => undefined,
    (error: { signal?: string; stderr: string }) => error.signal ?? error.stderr,
  )
}

/** Files of a run by name, but for those that hold times: the journal, the manifest, the page. */
export function files(folder: string, prefix = '', wanted?: (entry: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of readdirSync(folder)) {
    if (wanted?.(name) === false) continue
    if (
      [
        'journal.jsonl',
        'manifest.json',
        'report.html',
        'comparison.json',
        'comparison.html',
        'comparison.md',
        'lock',
      ].includes(name)
    )
      continue
    const path = join(folder, name)
    if (statSync(path).isDirectory()) Object.assign(found, files(path, `${prefix}${name}/`))
    else found[prefix + name] = readFileSync(path).toString('base64')
  }
  return found
}

interface Killed {
  command: 'select' | 'score' | 'train' | 'warmup' | 'compare'
  /** Of a run by its name. */
  options: (name: string) => object
  kills: object[]
  /** Where its output is, by its name; a comparison has none beside its run. */
  out?: (name: string) => string
}

/** One run undisturbed, another killed at each of these places and started again: the same files. */
export async function expectSame(home: string, { command, options, kills, out }: Killed): Promise<void> {
  expect(await run(command, options('whole'))).toBeUndefined()
  for (const kill of kills) expect(await run(command, options('killed'), kill), JSON.stringify(kill)).toBe('SIGKILL')
  expect(await run(command, options('killed'))).toBeUndefined()
  const of = (name: string) => ({
    ...files(join(home, `${name}.run`)),
    ...(out && files(home, 'out/', (entry) => entry === out(name))),
  })
  const [whole, killed] = [of('whole'), of('killed')]
  if (out) expect(Object.keys(whole).some((name) => name.startsWith(`out/${out('whole')}`))).toBe(true)
  const names = (found: object) => Object.keys(found).map((name) => name.replace(/^out\/(whole|killed)/, 'out/'))
  expect(names(killed).sort()).toEqual(names(whole).sort())
  for (const name of Object.keys(whole))
    expect(killed[name.replace('out/whole', 'out/killed')] === whole[name], name).toBe(true)
}
