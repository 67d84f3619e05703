/** Bad input and faults through the real command line: what is said, with which exit code, and that nothing is left behind. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Fault } from '../../src/errors.ts'
import { acquireLock } from '../../src/runs/lock.ts'
import { emptyDirectory, fixture, winnow } from './command.ts'

const rows = readFileSync(fixture('math.jsonl'), 'utf8').split('\n').slice(0, 5)
const pool = rows.map((row) => `${row}\n`).join('')
const more = (...lines: string[]) => pool + lines.map((line) => `${line}\n`).join('')
const array = `[${rows.join(',\n')}]`

const common = ['--budget', '2', '--method', 'random', '--device', 'cpu', '--json']
const select = (...words: string[]) => ['select', ...words, ...common]
const manifest = (inputs: object[]) =>
  JSON.stringify({
    ...{ format: 'winnow-run', formatVersion: 1, createdAt: '', updatedAt: '', status: 'done' },
    ...{ config: {}, seeds: {}, versions: {}, stages: [], counts: {}, facts: {}, inputs },
  })

type Files = Record<string, string | Uint8Array>

function write(directory: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
}

/** Every file below a directory, with its bytes. */
function contents(directory: string): Record<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(files.sort().map((path) => [path, readFileSync(path).toString('latin1')]))
}

type Case = [name: string, files: Files, words: string[], fault: Partial<Record<keyof Fault, unknown>>]

const badPools: Case[] = [
  ['an empty file', { 'p.jsonl': '' }, select('p.jsonl'), { code: 'empty-file', file: 'p.jsonl' }],
  [
    'a torn last line',
    { 'p.jsonl': `${pool}{"question":"How many","ans` },
    select('p.jsonl'),
    { code: 'torn-line', file: 'p.jsonl', line: 6, hint: expect.stringContaining('--on-bad-row skip') },
  ],
  ['a torn array', { 'p.json': array.slice(0, -40) }, select('p.json'), { code: 'torn-array', path: 'record 5' }],
  [
    'bytes that are not UTF-8',
    { 'p.jsonl': Buffer.concat([Buffer.from(`${pool}{"question":"a`), Buffer.of(0xff), Buffer.from('"}\n')]) },
    select('p.jsonl'),
    { code: 'invalid-utf8', line: 6, found: `byte 0xff at offset ${Buffer.byteLength(pool) + 14}` },
  ],
  [
    'UTF-16',
    { 'p.jsonl': Buffer.from(`\ufeff${pool}`, 'utf16le') },
    select('p.jsonl'),
    { code: 'invalid-encoding', hint: expect.stringContaining('iconv') },
  ],
  [
    'a row of the wrong shape',
    { 'p.jsonl': more('{"question":"a","answer":{"text":"b"}}') },
    select('p.jsonl'),
    { code: 'wrong-type', line: 6, path: 'answer', found: 'an object', expected: 'text' },
  ],
  [
    'a row without a field',
    { 'p.jsonl': more('{"question":"a"}') },
    select('p.jsonl'),
    { code: 'missing-field', line: 6, path: 'answer', hint: expect.stringContaining('--on-bad-row skip') },
  ],
  ['a row that is no record', { 'p.jsonl': more('[1, 2]') }, select('p.jsonl'), { code: 'not-an-object', line: 6 }],
  [
    'an empty response',
    { 'p.jsonl': more('{"question":"a","answer":" "}') },
    select('p.jsonl'),
    { code: 'empty-response', file: 'p.jsonl', line: 6, path: 'answer' },
  ],
  [
    'several bad rows, all of them counted',
    { 'p.jsonl': more('{"question":"a","answer":""}', 'nope', 'null') },
    select('p.jsonl'),
    { code: 'empty-response', line: 6, hint: expect.stringContaining('3 rows are bad in all (lines 6, 7, 8)') },
  ],
  [
    'a bad row in a dry run',
    { 'p.jsonl': more('nope') },
    select('p.jsonl', '--dry-run'),
    { code: 'bad-json', line: 6 },
  ],
  [
    'records of no known format',
    { 'p.jsonl': '{"query":"a","reply":"b"}\n' },
    select('p.jsonl'),
    {
      code: 'unknown-format',
      found: '`query` (a string), `reply` (a string)',
      hint: expect.stringContaining('--fields'),
    },
  ],
  [
    'fields with names of any length',
    { 'p.jsonl': `{"${'k'.repeat(100_000)}":1}\n` },
    select('p.jsonl'),
    { code: 'unknown-format', found: `\`${'k'.repeat(60)}…\` (a number)` },
  ],
  [
    'plain text',
    { 'p.txt': 'hello\n' },
    select('p.txt'),
    { code: 'unknown-kind', file: 'p.txt', hint: expect.stringContaining('{"text": …}') },
  ],
  [
    'a .gz that is no gzip',
    { 'p.jsonl.gz': 'hello\n' },
    select('p.jsonl.gz'),
    { code: 'bad-json', hint: 'Its name ends in .gz, but its bytes are not compressed.' },
  ],
  [
    'a torn .gz',
    { 'p.jsonl.gz': gzipSync(pool).subarray(0, 600) },
    select('p.jsonl.gz'),
    { code: 'truncated-gzip', file: 'p.jsonl.gz' },
  ],
  [
    'a damaged .gz',
    { 'p.jsonl.gz': Buffer.concat([gzipSync(pool), Buffer.from('trailing')]) },
    select('p.jsonl.gz'),
    { code: 'bad-gzip', file: 'p.jsonl.gz' },
  ],
  ['a torn Parquet file', { 'p.parquet': 'PAR1torn' }, select('p.parquet'), { code: 'bad-parquet', file: 'p.parquet' }],
]

const badWords: Case[] = [
  [
    'a field that no row has',
    { 'p.jsonl': pool },
    select('p.jsonl', '--fields', 'prompt=qestion,response=answer'),
    { code: 'unknown-field', file: 'p.jsonl', path: 'qestion', hint: 'Did you mean `question`?' },
  ],
  [
    'a field that no row has, in a template',
    { 'p.jsonl': pool },
    select('p.jsonl', '--template', '{question} {answers*}'),
    { code: 'unknown-field', path: 'answers', hint: 'Did you mean `answer`?' },
  ],
  ['a missing file', {}, select('p.jsonl'), { code: 'missing-file', file: 'p.jsonl' }],
  [
    'a pattern without matches',
    { 'p.jsonl': pool },
    select('q*.jsonl'),
    { code: 'missing-file', file: 'q*.jsonl', message: 'no file is matched by this pattern' },
  ],
  [
    'a pool given twice',
    { 'p.jsonl': pool },
    select('p.jsonl', './p*.jsonl'),
    { code: 'repeated-input', file: 'p.jsonl' },
  ],
  ['a directory', { 'd/p.jsonl': pool }, select('d'), { code: 'is-directory', hint: 'Name its files: d/*.jsonl.' }],
  [
    'an output that is there',
    { 'p.jsonl': pool, 'o.jsonl': 'mine' },
    select('p.jsonl', '--out', 'o.jsonl'),
    { code: 'output-exists', file: 'o.jsonl', hint: expect.stringContaining('--overwrite') },
  ],
  [
    'an output that is the pool, whatever is said',
    { 'p.jsonl': pool },
    select('p.jsonl', '--out', './p.jsonl', '--overwrite'),
    { code: 'output-is-input', file: './p.jsonl' },
  ],
  [
    'an output below a file',
    { 'p.jsonl': pool },
    select('p.jsonl', '--out', 'p.jsonl/o.jsonl'),
    { code: 'unwritable-output', file: 'p.jsonl/o.jsonl' },
  ],
  [
    'Parquet from JSON Lines',
    { 'p.jsonl': pool },
    select('p.jsonl', '--out', 'o.parquet'),
    { code: 'unsupported-conversion', found: 'p.jsonl, which is jsonl', hint: 'Name the output .jsonl.' },
  ],
  [
    'a file where the run directory should be',
    { 'p.jsonl': pool, r: '' },
    select('p.jsonl', '--run', 'r'),
    { code: 'unwritable-output', file: 'r' },
  ],
  [
    'a directory that is no run',
    { 'p.jsonl': pool, 'r/thesis.tex': 'x' },
    select('p.jsonl', '--run', 'r'),
    { code: 'not-a-run', file: 'r', found: 'thesis.tex' },
  ],
  [
    "another pool's run directory",
    { 'p.jsonl': pool, 'r/manifest.json': manifest([{ path: 'other.jsonl', size: 7, sha256: '' }]) },
    select('p.jsonl', '--run', 'r'),
    { code: 'other-pool', file: 'r', found: 'other.jsonl', expected: 'p.jsonl' },
  ],
  [
    'a damaged manifest',
    { 'p.jsonl': pool, 'r/manifest.json': '{"format":' },
    select('p.jsonl', '--run', 'r'),
    { code: 'bad-manifest', file: join('r', 'manifest.json'), hint: expect.stringContaining('Remove it') },
  ],
]

describe('ends with 2, names file, line and field, says what to do, and leaves everything as it was:', () => {
  for (const [name, files, words, fault] of [...badPools, ...badWords]) {
    it.concurrent(name, async ({ expect, onTestFinished }) => {
      const cwd = emptyDirectory([], onTestFinished)
      write(cwd, files)
      const before = contents(cwd)
      const { code, stdout, stderr } = await winnow(words, { cwd })
      const { error } = JSON.parse(stdout) as { error: Fault }
      expect(error).toMatchObject(fault)
      expect(error.hint ?? error.expected).toBeTruthy()
      expect(stderr).toContain('error: ')
      expect(code).toBe(2)
      expect(contents(cwd)).toEqual(before)
      expect(readdirSync(cwd).sort()).toEqual([...new Set(Object.keys(files).map((file) => file.split('/')[0]))].sort())
    })
  }
})

describe('a run that stops', () => {
  it.concurrent.for([
    ['than rows', '6', 'the budget is larger than the pool, which has 5 rows'],
    ['tokens than the pool has', '2Mtok', 'the budget is larger than the pool, which has '],
    ['than one row, in tokens', '1tok', 'the budget holds not one row: '],
  ])('for a budget of more %s: says what is possible, and writes no records', async ([, budget, message], {
    expect,
    onTestFinished,
  }) => {
    const cwd = emptyDirectory([], onTestFinished)
    write(cwd, { 'p.jsonl': pool })
    const { code, stdout } = await winnow([...select('p.jsonl'), '--budget', budget], { cwd })
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'bad-budget',
      path: '--budget',
      found: budget,
      message: expect.stringContaining(message),
    })
    expect(code).toBe(2)
    expect(readdirSync(cwd).sort()).toEqual(['p.jsonl', 'p.winnow'])
  })

  it.concurrent('beside another in its run directory: leaves that one alone', async ({ expect, onTestFinished }) => {
    const cwd = emptyDirectory([], onTestFinished)
    write(cwd, { 'p.jsonl': pool, 'r/journal.jsonl': '' })
    await using _ = await acquireLock(join(cwd, 'r', 'lock'))
    const before = contents(cwd)
    const { code, stdout } = await winnow(select('p.jsonl', '--run', 'r'), { cwd })
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'run-locked',
      found: expect.stringContaining(`process ${process.pid} `),
    })
    expect(code).toBe(2)
    expect(contents(cwd)).toEqual(before)
  })

  it.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
    'where nothing may be written: names the directory',
    async () => {
      const cwd = emptyDirectory()
      write(cwd, { 'p.jsonl': pool })
      mkdirSync(join(cwd, 'closed'), { mode: 0o555 })
      const out = await winnow(select('p.jsonl', '--out', 'closed/o.jsonl'), { cwd })
      expect(JSON.parse(out.stdout).error).toMatchObject({ code: 'unwritable-output', file: 'closed/o.jsonl' })
      const run = await winnow(select('p.jsonl', '--run', 'closed/r'), { cwd })
      expect(JSON.parse(run.stdout).error).toMatchObject({ code: 'unwritable-output', found: 'no permission' })
      expect([out.code, run.code]).toEqual([2, 2])
      expect(readdirSync(cwd).sort()).toEqual(['closed', 'p.jsonl'])
    },
  )
})

describe('goes on, and says so:', () => {
  const run = async (files: Files, ...words: string[]) => {
    const cwd = emptyDirectory()
    write(cwd, files)
    const { code, stdout, stderr } = await winnow(['select', ...common, ...words], { cwd })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    const result = JSON.parse(stdout)
    return { cwd, stderr, result, out: readFileSync(join(cwd, result.out.path), 'utf8') }
  }

  it('a byte order mark, CRLF and a record of 1 MB come back byte for byte, into a new directory', async () => {
    const long = JSON.stringify({ question: 'q', answer: 'lorem ipsum '.repeat(90_000) })
    const text = `\ufeff${more(long).replaceAll('\n', '\r\n')}`
    const { out, result } = await run({ 'p.jsonl': text }, 'p.jsonl', '--budget', '6', '--out', 'new/place/o.jsonl')
    expect(result.selected).toBe(6)
    expect(out === text).toBe(true)
  })

  it('bad rows that may be left out, duplicates and blank lines are counted', async () => {
    const text = more(rows[0], rows[1], '', '{"question":"a"}')
    const { result, stderr } = await run({ 'p.jsonl': text }, 'p.jsonl', '--on-bad-row', 'skip')
    expect(result.notices).toEqual([
      expect.objectContaining({ code: 'bad-rows', rows: 1, message: expect.stringContaining('p.jsonl:9: ') }),
      expect.objectContaining({ code: 'duplicates', rows: 2 }),
      expect.objectContaining({ code: 'blank-lines', rows: 1, message: '1 blank line was passed over' }),
    ])
    for (const { message } of result.notices) expect(stderr).toContain(message)
  })

  it('text that would be markup or a terminal command is shown, not obeyed', async () => {
    const evil = '\u001b[2J\u202e</script><script>alert(1)</script><img src=x onerror=alert(2)>'
    const records = rows.map((_, i) =>
      JSON.stringify({ source: evil, question: `${evil}${i}`, answer: evil.repeat(2) }),
    )
    const text = `${records.join('\n')}\n${JSON.stringify({ question: 'a', [evil]: 1 })}\n`
    const { cwd, stderr } = await run({ 'p.jsonl': text }, 'p.jsonl', '--on-bad-row', 'skip')
    const page = readFileSync(join(cwd, 'p.winnow', 'report.html'), 'utf8')
    expect(page).toContain('&lt;img src=x')
    expect(page).not.toMatch(/<script|<img/)
    for (const hidden of ['\u001b', '\u202e']) expect(page + stderr).not.toContain(hidden)
    const fields = await winnow(select('p.jsonl', '--fields', 'prompt=nothing', '--out', 'o.jsonl'), { cwd })
    expect(fields.stderr).toContain('␛[2J[U+202E]')
    expect(fields.stderr).not.toContain('\u001b')
  })
})
