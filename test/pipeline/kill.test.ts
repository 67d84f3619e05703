import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { directory, poolLines, writePool } from './pools.ts'

const child = fileURLToPath(new URL('./select-child.ts', import.meta.url))
const execute = promisify(execFile)

async function run(options: object, stop?: object): Promise<string | undefined> {
  const given = [child, JSON.stringify(options), ...(stop ? [JSON.stringify(stop)] : [])]
  return execute(process.execPath, given).then(
    () => undefined,
    (error: { signal?: string; stderr: string }) => error.signal ?? error.stderr,
  )
}

/** Files of a run by name, but for those that hold times: the journal, the manifest, the page. */
function files(folder: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of readdirSync(folder)) {
    if (['journal.jsonl', 'manifest.json', 'report.html', 'lock'].includes(name)) continue
    const path = join(folder, name)
    if (statSync(path).isDirectory()) Object.assign(found, files(path, `${prefix}${name}/`))
    else found[prefix + name] = readFileSync(path).toString('base64')
  }
  return found
}

it('killed at every stage and started again, ends with the bytes of an undisturbed run', async () => {
  const home = directory()
  writePool(join(home, 'pool.jsonl'), poolLines({ svamp: 30, gsm8k: 3 }))
  const options = (name: string) => ({
    pool: [join(home, 'pool.jsonl')],
    budget: '30%',
    run: join(home, `${name}.run`),
    out: join(home, `${name}.jsonl`),
  })
  expect(await run(options('whole'))).toBeUndefined()

  const kills = [
    { stage: 'read', kind: 'stage-start', count: 1 },
    { stage: 'read', kind: 'stage-end', count: 1 },
    { stage: 'tokenizer', kind: 'stage-start', count: 1 },
    { stage: 'tokens', kind: 'stage-progress', count: 1 },
    { stage: 'bigram', kind: 'stage-start', count: 1 },
    { stage: 'trajectories', kind: 'stage-start', count: 1 },
    // In training before the first checkpoint, then after some, then while scoring; each start goes on from the last whole checkpoint.
    { stage: 'trajectories', kind: 'stage-progress', count: 2 },
    { stage: 'trajectories', kind: 'stage-progress', count: 20 },
    { stage: 'trajectories', kind: 'stage-progress', count: 31 },
    // Between the files of a checkpoint, before they are recorded.
    { file: '.npy' },
    { stage: 'trajectories', kind: 'stage-end', count: 1 },
    { stage: 'clusters', kind: 'stage-start', count: 1 },
    { stage: 'select', kind: 'stage-start', count: 1 },
    { stage: 'write', kind: 'stage-start', count: 1 },
    { stage: 'write', kind: 'stage-end', count: 1 },
    { stage: 'report', kind: 'stage-start', count: 1 },
    { stage: 'report', kind: 'stage-end', count: 1 },
  ]
  for (const kill of kills) expect(await run(options('killed'), kill), JSON.stringify(kill)).toBe('SIGKILL')
  expect(await run(options('killed'))).toBeUndefined()

  expect(readFileSync(join(home, 'killed.jsonl'))).toEqual(readFileSync(join(home, 'whole.jsonl')))
  const [whole, killed] = [files(join(home, 'whole.run')), files(join(home, 'killed.run'))]
  expect(Object.keys(killed).sort()).toEqual(Object.keys(whole).sort())
  for (const name of Object.keys(whole)) expect(killed[name] === whole[name], name).toBe(true)
}, 300_000)
