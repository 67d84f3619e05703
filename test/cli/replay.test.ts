import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { mergeOptions, readConfig } from '../../src/cli/replay.ts'
import { WinnowError } from '../../src/errors.ts'
import { emptyDirectory } from './command.ts'

const earlier = {
  pool: ['a.jsonl'],
  budget: '30%',
  method: 's2l',
  methodOptions: { clusters: 7, restarts: 3 },
  out: 'a.selected.jsonl',
  run: 'a.winnow',
  seed: 4,
}

/** A manifest with this configuration, in a directory of its own. */
function manifest(config: unknown): string {
  const path = join(emptyDirectory(), 'manifest.json')
  const rest = { seeds: {}, versions: {}, inputs: [], stages: [], counts: {}, facts: {} }
  const head = { format: 'winnow-run', formatVersion: 1, createdAt: '', updatedAt: '', status: 'done' }
  writeFileSync(path, JSON.stringify({ ...head, ...rest, config }))
  return path
}

it('what is said wins, the rest is as it was', () => {
  const merged = mergeOptions(earlier, { budget: '10%', seed: undefined, methodOptions: { restarts: '5' } })
  expect(merged).toEqual({ ...earlier, budget: '10%', methodOptions: { clusters: 7, restarts: '5' } })
})

it("another method does not get the first one's options", () => {
  expect(mergeOptions(earlier, { method: 'random' }).methodOptions).toEqual({})
})

it("another pool is not written where the first one's selection is", () => {
  expect(mergeOptions(earlier, { pool: ['b.jsonl'] })).toMatchObject({ pool: ['b.jsonl'], seed: 4 })
  expect(mergeOptions(earlier, { pool: ['b.jsonl'] })).not.toHaveProperty('out')
  expect(mergeOptions(earlier, { pool: ['b.jsonl'] })).not.toHaveProperty('run')
})

it('losses that were imported go with their pool and method', () => {
  const imported = { ...earlier, signals: { trajectories: 'losses.npy' } }
  expect(mergeOptions(imported, { budget: '10%' }).signals).toEqual({ trajectories: 'losses.npy' })
  expect(mergeOptions(imported, { signals: { trajectories: 'b' } }).signals).toEqual({ trajectories: 'b' })
  expect(mergeOptions(imported, { pool: ['b.jsonl'] })).not.toHaveProperty('signals')
  expect(mergeOptions(imported, { method: 'random' })).not.toHaveProperty('signals')
})

it('reads the configuration of `select`, and nothing of what the pipeline notes beside it', async () => {
  const config = { ...earlier, template: null, overwrite: true, command: 'winnow select …' }
  expect(await readConfig(manifest(config))).toEqual(earlier)
})

it('names the member of the configuration that is at fault', async () => {
  const read = readConfig(manifest({ ...earlier, seed: 'four' }))
  await expect(read).rejects.toThrow(WinnowError)
  await expect(read).rejects.toMatchObject({ exitCode: 2, fault: { code: 'bad-manifest', path: 'config.seed' } })
})
