import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  commitTemporary,
  createAtomicFile,
  makeDirectories,
  removeStaleTemporaries,
  temporaryPath,
  writeFileAtomic,
} from '../../src/runs/files.ts'
import { hashFile, sha256 } from '../../src/runs/hash.ts'
import { parseJournal } from '../../src/runs/journal.ts'
import { runChain } from './chain.ts'
import { place } from './place.ts'

const child = join(import.meta.dirname, 'full.child.ts')

describe('an atomic file', () => {
  test('stands whole at its path, with the size and sha256 of what was written', async () => {
    const path = join(place(), 'deep/er/a.bin')
    const pieces = [new Uint8Array(10).fill(1), 'text ü', new Uint8Array(3 << 20).fill(2), 'end']
    await using file = await createAtomicFile(path)
    for (const piece of pieces) await file.write(piece)
    const record = await file.commit()
    const expected = Buffer.concat(pieces.map((piece) => Buffer.from(piece as string)))
    expect(readFileSync(path).equals(expected)).toBe(true)
    expect(record).toEqual({ size: expected.length, sha256: sha256(expected) })
    expect(await hashFile(path)).toEqual(record)
  })

  test('is invisible before commit, and leaves nothing without one', async () => {
    const directory = place()
    writeFileSync(join(directory, 'a.txt'), 'old')
    {
      await using file = await createAtomicFile(join(directory, 'a.txt'))
      await file.write('new')
      expect(readFileSync(join(directory, 'a.txt'), 'utf8')).toBe('old')
    }
    expect(readdirSync(directory)).toEqual(['a.txt'])
    expect(readFileSync(join(directory, 'a.txt'), 'utf8')).toBe('old')
  })

  test('keeps its own copy of what it was given', async () => {
    const path = join(place(), 'a.bin')
    const buffer = new Uint8Array([1, 2, 3])
    await using file = await createAtomicFile(path)
    await file.write(buffer)
    buffer.fill(9)
    await file.commit()
    expect([...readFileSync(path)]).toEqual([1, 2, 3])
  })

  test('replaces an existing file, unless told not to', async () => {
    const path = join(place(), 'a.txt')
    await writeFileAtomic(path, 'one')
    await writeFileAtomic(path, 'two')
    await expect(writeFileAtomic(path, 'three', { overwrite: false })).rejects.toMatchObject({
      kind: 'input',
      fault: { code: 'output-exists', file: path },
    })
    expect(readFileSync(path, 'utf8')).toBe('two')
  })

  test('does not replace a file that appeared while it was being written', async () => {
    const path = join(place(), 'a.txt')
    await using file = await createAtomicFile(path, { overwrite: false })
    await file.write('mine')
    writeFileSync(path, 'theirs')
    await expect(file.commit()).rejects.toMatchObject({ fault: { code: 'output-exists' } })
    expect(readFileSync(path, 'utf8')).toBe('theirs')
    expect(readdirSync(join(path, '..'))).toEqual(['a.txt'])
  })

  test('takes over a file that other code wrote', async () => {
    const path = join(place(), 'a.db')
    const temporary = temporaryPath(path)
    writeFileSync(temporary, 'database')
    expect(await commitTemporary(temporary, path)).toEqual({ size: 8, sha256: sha256('database') })
    expect(readdirSync(join(path, '..'))).toEqual(['a.db'])
  })

  test('names what is in the way', async () => {
    const directory = place()
    writeFileSync(join(directory, 'file'), '')
    mkdirSync(join(directory, 'directory'))
    const faults = [join(directory, 'file/below'), join(directory, 'directory')].map((path) =>
      writeFileAtomic(path, 'x').catch((error) => error.fault),
    )
    expect(await Promise.all(faults)).toMatchObject([
      { code: 'unwritable-output', message: 'a file stands where a directory is needed' },
      { code: 'unwritable-output', message: 'a directory stands where a file is needed' },
    ])
  })

  test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
    'says that a directory is read-only',
    async () => {
      const directory = place()
      chmodSync(directory, 0o500)
      onTestFinished(() => chmodSync(directory, 0o700))
      await expect(writeFileAtomic(join(directory, 'a'), 'x')).rejects.toMatchObject({
        fault: { code: 'unwritable-output', found: 'no permission' },
      })
    },
  )
})

describe('directories', () => {
  test('are made with those above them; the topmost new one is named', async () => {
    const home = place()
    expect(await makeDirectories(join(home, 'a', 'b', 'c'))).toBe(join(home, 'a'))
    expect(await makeDirectories(join(home, 'a', 'b', 'd'))).toBe(join(home, 'a', 'b', 'd'))
    expect(await makeDirectories(join(home, 'a', 'b'))).toBeUndefined()
    writeFileSync(join(home, 'file'), '')
    await expect(makeDirectories(join(home, 'file'))).rejects.toMatchObject({ code: 'ENOTDIR' })
    await expect(makeDirectories(join(home, 'file', 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' })
  })

  test.skipIf(process.platform !== 'linux')('are refused, in finite time, where none can be made', async () => {
    await expect(makeDirectories('/proc/nowhere/at/all')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('leftovers', () => {
  test('of running processes and of other hosts stay, those of ended processes go', async () => {
    const directory = place()
    const alive = temporaryPath(join(directory, 'a.bin'))
    const [, host] = /\.([0-9a-f]{12})-/.exec(alive)!
    // A process that has ended: its pid is free, or in use by a process with another start.
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    const dead = join(directory, `.a.bin.${host}-${pid}-0123456789ab-0.tmp`)
    const foreign = join(directory, `.a.bin.ffffffffffff-${pid}-0123456789ab-0.tmp`)
    const reused = join(directory, `.a.bin.${host}-${process.pid}-0123456789ab-0.tmp`)
    const unrelated = join(directory, '.a.bin.tmp')
    for (const path of [alive, dead, foreign, reused, unrelated]) writeFileSync(path, 'x')
    expect(await removeStaleTemporaries(directory)).toBe(process.platform === 'win32' ? 1 : 2)
    const left = readdirSync(directory).map((name) => join(directory, name))
    expect(left).toEqual(expect.arrayContaining([alive, foreign, unrelated]))
    expect(left).not.toContain(dead)
  })
})

/** What a shell script prints that may mount file systems of its own; undefined where that is not allowed. */
function isolated(script: string, values: string[]): string | undefined {
  const isolate = process.getuid?.() === 0 ? ['-m'] : ['-r', '-m']
  const run = spawnSync('unshare', [...isolate, 'sh', '-c', script, ...values], { encoding: 'utf8' })
  return run.error !== undefined || run.status === 77 || run.stdout === '' ? undefined : run.stdout
}

describe('when the disk takes no more', () => {
  test.skipIf(process.platform === 'win32')('a write beyond the file size limit fails clean', () => {
    const directory = place()
    writeFileSync(join(directory, 'out.bin'), 'old')
    // 2 MiB, in the 512-byte blocks of POSIX sh.
    const run = spawnSync('sh', ['-c', 'ulimit -f 4096; exec "$0" "$@"', process.execPath, child, 'out.bin', '8'], {
      cwd: directory,
      encoding: 'utf8',
    })
    expect(JSON.parse(run.stdout)).toMatchObject({ code: 'file-too-large', file: 'out.bin' })
    expect(readdirSync(directory)).toEqual(['out.bin'])
    expect(readFileSync(join(directory, 'out.bin'), 'utf8')).toBe('old')
  })

  test.skipIf(process.platform === 'win32')('a journal line that came through in part is taken back', () => {
    const path = join(place(), 'journal.jsonl')
    const script = join(import.meta.dirname, 'journal.child.ts')
    const run = spawnSync('sh', ['-c', 'ulimit -f 64; exec "$0" "$@"', process.execPath, script, path], {
      encoding: 'utf8',
    })
    expect(run.stdout.trim()).toBe('file-too-large after 3')
    const { records, damagedLines } = parseJournal(readFileSync(path))
    expect(records.map((record) => record.stage)).toEqual(['long', 'long', 'long', 'short'])
    expect(damagedLines).toBe(0)
  })

  test('a full disk fails clean, and the same command works once there is room', (context) => {
    const directory = place()
    // In a mount namespace of its own: nothing outside this shell sees the file system of 4 MiB.
    const script = `
      mount -t tmpfs -o size=4m none "$0" || exit 77
      cd "$0" && echo old > out.bin
      "$1" "$2" out.bin 8; ls -A; cat out.bin
      "$1" "$2" out.bin 2; ls -A; wc -c < out.bin`
    const run = isolated(script, [directory, process.execPath, child])
    if (run === undefined) return context.skip('needs Linux with user namespaces, or root')
    const [fault, names, content, written, namesAfter, size] = run.trim().split('\n')
    expect(JSON.parse(fault)).toMatchObject({ code: 'disk-full', file: 'out.bin' })
    expect([names, content]).toEqual(['out.bin', 'old'])
    expect(JSON.parse(written)).toEqual({ code: 'written' })
    expect([namesAfter, Number(size)]).toEqual(['out.bin', 2 << 20])
  })

  test('a run on a disk that is full again and again ends with the bytes of one that had room', async (context) => {
    const undisturbed = join(place(), 'run')
    await runChain(undisturbed, () => {})
    const directory = place()
    // The outputs are 3 MiB and a few pages of 4 KiB: the sizes let the disk fill at ever later writes.
    const sizes = [0, 1024, 3080, 3092, 3104, 3116]
    const script = `
      mount -t tmpfs -o size=4k none "$0" || exit 77
      for size in ${sizes.join(' ')}; do
        mount -o remount,size=$((size + 4))k none "$0"; "$1" "$2" "$0/run"
      done
      mount -o remount,size=8m none "$0"; "$1" "$2" "$0/run" && echo finished
      cd "$0/run" && sha256sum selection.bin signals/* tokens.bin; ls -A`
    const run = isolated(script, [directory, process.execPath, join(import.meta.dirname, 'chain.ts')])
    if (run === undefined) return context.skip('needs Linux with user namespaces, or root')
    const [faults, rest] = run.split('finished\n')
    const codes = faults.trim().split('\n')
    expect(new Set(codes)).toEqual(new Set(['disk-full']))
    expect(codes.length).toBeGreaterThan(3)
    const names = ['selection.bin', 'signals/loss.0.bin', 'signals/loss.1.bin', 'signals/loss.2.bin', 'tokens.bin']
    const hashes = names.map((name) => `${sha256(readFileSync(join(undisturbed, name)))}  ${name}`)
    const left = ['checkpoints', 'journal.jsonl', 'manifest.json', 'selection.bin', 'signals', 'tokens.bin']
    expect(rest.trim().split('\n')).toEqual([...hashes, ...left])
  })
})
