import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openRun } from '../../src/runs/directory.ts'
import { runStage, stageKey } from '../../src/runs/stage.ts'
import { runChain } from './chain.ts'
import { contents, place } from './place.ts'

const idle = () => {}

/** The bytes that must not depend on interruptions: all but the records of when and by whom. */
function results(directory: string): Record<string, string> {
  const files = contents(directory)
  delete files['manifest.json']
  delete files['journal.jsonl']
  return files
}

/** Run the chain in a process of its own that kills itself at step n; resolves to the signal it died of. */
function killedAt(directory: string, step: number): Promise<NodeJS.Signals | null> {
  const script = join(import.meta.dirname, 'chain.ts')
  const child = spawn(process.execPath, [script, directory, String(step)], { stdio: ['ignore', 'ignore', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (_, signal) => resolve(signal))
  })
}

describe('a run that is killed', () => {
  test('ends, at whatever step it was killed, with the bytes of an undisturbed run', async () => {
    const undisturbed = join(place(), 'run')
    const points: string[] = []
    await runChain(undisturbed, (point) => points.push(point))
    const expected = results(undisturbed)
    expect(Object.keys(expected).sort()).toEqual([
      'selection.bin',
      'signals/loss.0.bin',
      'signals/loss.1.bin',
      'signals/loss.2.bin',
      'tokens.bin',
    ])
    const directories = points.map(() => join(place(), 'run'))
    const disturbed = async (step: number) => {
      expect(await killedAt(directories[step], step)).toBe('SIGKILL')
      const { executed, recovered } = await runChain(directories[step], idle)
      expect(results(directories[step]), points[step]).toEqual(expected)
      expect(recovered.takenFrom, points[step]).toBeTypeOf('number')
      return executed
    }
    const executed: string[][] = []
    for (let step = 0; step < points.length; step += 2)
      executed.push(...(await Promise.all([step, step + 1].filter((s) => s < points.length).map(disturbed))))
    const at = (point: string) => executed[points.indexOf(point)]
    expect(at('opened')).toEqual(['tokens', 'trajectories 0', 'trajectories 1', 'trajectories 2', 'selection'])
    expect(at('tokens: in place, not recorded')[0]).toBe('tokens')
    expect(at('checkpoint 1: state written')).toEqual(['trajectories 1', 'trajectories 2', 'selection'])
    expect(at('checkpoint 1: recorded')).toEqual(['trajectories 2', 'selection'])
    expect(at('trajectories done')).toEqual(['selection'])
    expect(at('finished')).toEqual([])
  })

  test('goes on after several kills in a row', async () => {
    const directory = join(place(), 'run')
    for (const step of [3, 7, 9]) await killedAt(directory, step)
    await runChain(directory, idle)
    const undisturbed = join(place(), 'run')
    await runChain(undisturbed, idle)
    expect(results(directory)).toEqual(results(undisturbed))
  })

  test('leaves temporary files that the next one removes', async () => {
    const directory = join(place(), 'run')
    await killedAt(directory, 2)
    expect(Object.keys(contents(directory)).some((name) => name.endsWith('.tmp'))).toBe(true)
    const { recovered } = await runChain(directory, idle)
    expect(recovered.temporaries).toBe(1)
    expect(Object.keys(contents(directory)).some((name) => name.endsWith('.tmp'))).toBe(false)
  })
})

describe('the stage cache', () => {
  test('executes nothing the second time, and only what an option changes', async () => {
    const directory = join(place(), 'run')
    await runChain(directory, idle)
    const again = await runChain(directory, idle)
    expect(again.executed).toEqual([])
    expect(again.results.selection.cached).toBe(true)
    const other = await runChain(directory, idle, { take: 3 })
    expect(other.executed).toEqual(['selection'])
  })

  test('gives a cached result the hash, value and outputs of the computed one', async () => {
    const directory = join(place(), 'run')
    const first = (await runChain(directory, idle)).results.trajectories
    const second = (await runChain(directory, idle)).results.trajectories
    expect(second).toEqual({ ...first, cached: true })
  })

  test('computes a tampered or missing output again, and nothing that depends on equal bytes', async () => {
    const directory = join(place(), 'run')
    await runChain(directory, idle)
    const expected = results(directory)
    const file = join(directory, 'tokens.bin')
    const bytes = readFileSync(file)
    bytes[1234] ^= 1
    writeFileSync(file, bytes)
    expect((await runChain(directory, idle)).executed).toEqual(['tokens'])
    unlinkSync(join(directory, 'signals/loss.1.bin'))
    // The states between its parts are gone since it ended, so the stage starts over.
    expect((await runChain(directory, idle)).executed).toEqual(['trajectories 0', 'trajectories 1', 'trajectories 2'])
    truncateSync(join(directory, 'selection.bin'), 1)
    expect((await runChain(directory, idle)).executed).toEqual(['selection'])
    expect(results(directory)).toEqual(expected)
  })

  test('keys a stage by name, code version, inputs and options, not by the order of their members', () => {
    const stage = { name: 'a', version: 1, inputs: { x: '1', y: '2' }, options: { k: 3, t: 4 } }
    const same = { name: 'a', version: 1, inputs: { y: '2', x: '1' }, options: { t: 4, k: 3 } }
    expect(stageKey(same)).toBe(stageKey(stage))
    const keys = [
      { ...stage, name: 'b' },
      { ...stage, version: 2 },
      { ...stage, inputs: { x: '1', y: '3' } },
      { ...stage, options: { k: 3, t: 5 } },
    ].map(stageKey)
    expect(new Set([stageKey(stage), ...keys]).size).toBe(5)
  })

  test('records nothing for a stage that fails, and says so when an output is not there', async () => {
    await using run = await openRun(join(place(), 'run'), { config: {}, seeds: {}, versions: {} })
    const stage = { name: 's', version: 1, inputs: {}, options: null }
    const failing = runStage(run, {
      ...stage,
      execute: async () => {
        throw new Error('out of memory')
      },
    })
    await expect(failing).rejects.toThrow('out of memory')
    const forgetful = runStage(run, {
      ...stage,
      execute: async () => ({ outputs: [{ path: 'x.bin', size: 3, sha256: '00' }], value: null }),
    })
    await expect(forgetful).rejects.toMatchObject({ fault: { code: 'missing-output' } })
    expect(run.journal.records).toEqual([])
  })

  test('refuses a path that leads outside the run', async () => {
    await using run = await openRun(join(place(), 'run'), { config: {}, seeds: {}, versions: {} })
    const escaping = runStage(run, {
      name: 's',
      version: 1,
      inputs: {},
      options: null,
      execute: async (work) => ({ outputs: [await work.write('../out.bin', 'x')], value: null }),
    })
    await expect(escaping).rejects.toThrow('not a path inside the run')
  })
})

describe('the journal', () => {
  test('is read up to a torn last line, which is cut off and its work done again', async () => {
    const directory = join(place(), 'run')
    await runChain(directory, idle)
    const expected = results(directory)
    const journal = join(directory, 'journal.jsonl')
    const bytes = readFileSync(journal)
    truncateSync(journal, bytes.length - 20)
    const { executed, recovered } = await runChain(directory, idle)
    expect(executed).toEqual(['selection'])
    expect(recovered.tornBytes).toBeGreaterThan(0)
    expect(results(directory)).toEqual(expected)
    const after = await runChain(directory, idle)
    expect(after.executed).toEqual([])
    expect(after.recovered).toMatchObject({ tornBytes: 0, damagedLines: 0 })
  })

  test('passes over a damaged line in the middle', async () => {
    const directory = join(place(), 'run')
    await runChain(directory, idle)
    const journal = join(directory, 'journal.jsonl')
    const lines = readFileSync(journal, 'utf8').split('\n')
    lines[0] = lines[0].slice(0, 40)
    writeFileSync(journal, lines.join('\n'))
    const { executed, recovered } = await runChain(directory, idle)
    expect(recovered.damagedLines).toBe(1)
    expect(executed).toEqual(['tokens'])
  })

  test('survives a tail of garbage without a line end', async () => {
    const directory = join(place(), 'run')
    await runChain(directory, idle)
    appendFileSync(join(directory, 'journal.jsonl'), Buffer.from([0, 255, 123]))
    const { executed, recovered } = await runChain(directory, idle)
    expect(recovered.tornBytes).toBe(3)
    expect(executed).toEqual([])
  })
})

test('scratch files of parts are gone once the stage is done', async () => {
  const directory = join(place(), 'run')
  await runChain(directory, (point) => {
    if (point === 'checkpoint 2: recorded') expect(existsSync(join(directory, 'checkpoints/state.0.bin'))).toBe(true)
  })
  expect(existsSync(join(directory, 'checkpoints/state.0.bin'))).toBe(false)
})

test('a file of an interrupted part that another stage has written over since is left to it', async () => {
  await using run = await openRun(join(place(), 'run'), { config: {}, seeds: {}, versions: {} })
  const stage = (seed: number) => ({ name: 's', version: 1, inputs: {}, options: { seed } })
  const interrupted = runStage(run, {
    ...stage(1),
    execute: async (work) => {
      await work.finishPart('0', [await work.write('state.bin', 'first')])
      throw new Error('interrupted')
    },
  })
  await expect(interrupted).rejects.toThrow('interrupted')
  await runStage(run, {
    ...stage(2),
    execute: async (work) => ({ outputs: [await work.write('state.bin', 'second')], value: null }),
  })
  const resumed = await runStage(run, {
    ...stage(1),
    execute: async (work) => {
      expect(work.parts).toMatchObject([{ part: '0', outputs: [{ path: 'state.bin', intact: false }] }])
      return { outputs: [], value: null }
    },
  })
  expect(resumed.resumedParts).toBe(0)
  expect(readFileSync(run.path('state.bin'), 'utf8')).toBe('second')
})
