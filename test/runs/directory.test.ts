import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openRun } from '../../src/runs/directory.ts'
import { canonicalJson, hashJson, sha256 } from '../../src/runs/hash.ts'
import { acquireLock } from '../../src/runs/lock.ts'
import { readManifest } from '../../src/runs/manifest.ts'
import { ownProcess } from '../../src/runs/process.ts'
import { place } from './place.ts'

const facts = { config: { budget: '30%' }, seeds: { run: 7 }, versions: { winnow: '0.0.0' } }

describe('a run directory', () => {
  test('is open to one process at a time, and free again after it', async () => {
    const directory = join(place(), 'run')
    {
      await using _ = await openRun(directory, facts)
      await expect(openRun(directory, facts)).rejects.toMatchObject({
        kind: 'input',
        fault: { code: 'run-locked', found: expect.stringContaining(`process ${process.pid} on ${hostname()}`) },
      })
    }
    await using again = await openRun(directory, facts)
    expect(again.recovered.takenFrom).toBeUndefined()
  })

  test('refuses a directory with other things in it, and leaves it alone', async () => {
    const directory = place()
    writeFileSync(join(directory, 'thesis.tex'), 'x')
    await expect(openRun(directory, facts)).rejects.toMatchObject({ fault: { code: 'not-a-run', found: 'thesis.tex' } })
    expect(existsSync(join(directory, 'lock'))).toBe(false)
  })

  test("refuses somebody else's manifest.json, and gives the lock back", async () => {
    const directory = place()
    writeFileSync(join(directory, 'manifest.json'), '{"name":"web app"}')
    await expect(openRun(directory, facts)).rejects.toMatchObject({ fault: { code: 'bad-manifest', path: 'format' } })
    expect(readFileSync(join(directory, 'manifest.json'), 'utf8')).toBe('{"name":"web app"}')
    expect(existsSync(join(directory, 'lock'))).toBe(false)
  })

  test('that fails before anything is recorded leaves nothing where nothing was', async () => {
    const home = place()
    const directory = join(home, 'runs', 'first')
    const fail = async () => {
      await using run = await openRun(directory, facts)
      await run.update({ status: 'failed' })
    }
    await fail()
    expect(readdirSync(home)).toEqual([])
    {
      await using run = await openRun(directory, facts)
      await run.journal.append({ event: 'done', stage: 'read', key: '0', outputs: [], value: 1, at: '' })
    }
    await fail()
    expect(readdirSync(directory).sort()).toEqual(['journal.jsonl', 'manifest.json'])
  })

  test('keeps its manifest on disk up to date and readable', async () => {
    const directory = join(place(), 'run')
    await using run = await openRun(directory, facts)
    await run.update({ counts: { rows: 5 }, facts: { loss: 1.5 } })
    await run.update({ counts: { selected: 2 }, status: 'done' })
    const manifest = await readManifest(run.path('manifest.json'))
    expect(manifest).toMatchObject({ ...facts, counts: { rows: 5, selected: 2 }, facts: { loss: 1.5 }, status: 'done' })
  })

  test('ends with the manifest of the last of many updates at once', async () => {
    await using run = await openRun(join(place(), 'run'), facts)
    await Promise.all(Array.from({ length: 20 }, (_, index) => run.update({ counts: { [index]: index } })))
    expect(Object.keys((await readManifest(run.path('manifest.json'))).counts).length).toBe(20)
  })

  test('remembers when it was first made', async () => {
    const directory = join(place(), 'run')
    const open = async () => {
      await using run = await openRun(directory, facts)
      return run.manifest.createdAt
    }
    const first = await open()
    expect(await open()).toBe(first)
  })
})

describe('the lock', () => {
  const lockOf = (holder: object) =>
    JSON.stringify({ ...ownProcess(), hostname: 'h', since: 'then', nonce: 'n', ...holder })

  test('of an ended process is taken over, also when its pid is in use again', async () => {
    const path = join(place(), 'lock')
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    writeFileSync(path, lockOf({ pid, start: '0123456789ab' }))
    {
      await using lock = await acquireLock(path)
      expect(lock.takenFrom).toBe(pid)
    }
    if (process.platform === 'win32') return
    writeFileSync(path, lockOf({ pid: process.pid, start: '0123456789ab' }))
    await using lock = await acquireLock(path)
    expect(lock.takenFrom).toBe(process.pid)
  })

  test('of another host is respected, and the error says what to remove', async () => {
    const path = join(place(), 'lock')
    writeFileSync(path, lockOf({ host: 'ffffffffffff', pid: 1 }))
    await expect(acquireLock(path)).rejects.toMatchObject({
      fault: { code: 'run-locked', hint: expect.stringContaining(`remove ${path}`) },
    })
    expect(existsSync(path)).toBe(true)
  })

  test('torn by a power cut is taken over', async () => {
    const path = join(place(), 'lock')
    writeFileSync(path, '{"host"')
    await using _ = await acquireLock(path)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject(ownProcess())
  })

  test('goes to one of many that find the same stale one', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    for (let round = 0; round < 10; round++) {
      const path = join(place(), 'lock')
      const stale = lockOf({ pid, start: '0123456789ab' })
      writeFileSync(path, stale)
      // Its taking over was begun once before, by a process that ended in the midst of it.
      if (round % 2) writeFileSync(`${path}.${sha256(stale).slice(0, 16)}`, lockOf({ pid, start: 'ba9876543210' }))
      const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(path)))
      expect(attempts.filter((attempt) => attempt.status === 'fulfilled').length).toBe(1)
      for (const attempt of attempts)
        if (attempt.status === 'rejected') expect(attempt.reason).toMatchObject({ fault: { code: 'run-locked' } })
      expect(readdirSync(join(path, '..'))).toEqual(['lock'])
    }
  })
})

describe('canonical JSON', () => {
  test('orders members at every depth and leaves out undefined ones', () => {
    expect(canonicalJson({ b: [{ d: 1, c: null }], a: 'x"', e: undefined })).toBe('{"a":"x\\"","b":[{"c":null,"d":1}]}')
    expect(hashJson({ a: 1, b: 2 })).toBe(hashJson({ b: 2, a: 1 }))
  })

  test('refuses what JSON would change', () => {
    for (const value of [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      [undefined],
      new Date(0),
      new Uint8Array(1),
      1n,
      () => 1,
    ])
      expect(() => canonicalJson(value as never)).toThrow(TypeError)
  })
})
