import { createHash } from 'node:crypto'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type DatasetOptions, openDataset } from '../../src/dataset/dataset.ts'
import { failureOf, fileOf, fixture, recordsOf, turnsOf, workspace } from './workspace.ts'

const text = (value: string) => JSON.stringify({ text: value })
const poolOf = async (content: string | Uint8Array, options?: DatasetOptions, name = 'pool.jsonl') =>
  await openDataset([await fileOf(name, content)], options)
const textsOf = async (content: string | Uint8Array, options?: DatasetOptions, name?: string) =>
  (await recordsOf(await poolOf(content, options, name))).map((record) => record.turns[0].content)
const faultOf = async (content: string | Uint8Array, options?: DatasetOptions, name?: string) =>
  (await failureOf(textsOf(content, options, name))).fault

describe('real files', () => {
  it('reads JSON Lines, whatever the name', async () => {
    const gsm8k = await openDataset([fixture('gsm8k.jsonl')])
    expect(gsm8k.inputs[0].kind).toBe('jsonl')
    expect(await recordsOf(gsm8k)).toHaveLength(12)
    const scicite = await openDataset([fixture('sci-cite.txt')])
    expect([scicite.inputs[0].kind, scicite.format.name]).toEqual(['jsonl', 'text'])
    expect(await recordsOf(scicite)).toHaveLength(12)
    const aqua = await openDataset([fixture('aqua.json')], { template: '{question}\\n{options}\\n{rationale*}' })
    const [record] = await recordsOf(aqua)
    expect(record.turns[0].content).toMatch(/\nA\).*\nB\)/)
  })

  it('reads a JSON array over many lines', async () => {
    const dataset = await openDataset([fixture('svamp.json')], { fields: 'prompt=Body,response=Answer,source=Type' })
    const records = await recordsOf(dataset)
    expect(dataset.inputs[0].kind).toBe('json')
    expect(records.map((record) => record.line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(records[0].turns[1]).toEqual({ role: 'assistant', content: '51', trained: true })
    expect(records[0].source).toBe('Subtraction')
  })

  it('reads a last line without line feed', async () => {
    const bytes = await readFile(fixture('scitldr.jsonl'))
    expect(bytes.at(-1)).not.toBe(10)
    const dataset = await openDataset([fixture('scitldr.jsonl')], { template: '{source}\\n{target*}' })
    const records = await recordsOf(dataset)
    expect(records).toHaveLength(4)
    expect(records.map((record) => record.source)).toEqual([undefined, undefined, undefined, undefined])
  })

  it('reads CSV with quoted line breaks, and says on which line each row starts', async () => {
    const dataset = await openDataset([fixture('mts-dialog.csv')], { fields: 'prompt=dialogue,response=section_text' })
    const records = await recordsOf(dataset)
    const lines = (await readFile(fixture('mts-dialog.csv'), 'utf8')).split('\n')
    expect(records).toHaveLength(8)
    for (const [id, record] of records.entries()) expect(lines[record.line - 1]).toMatch(new RegExp(`^${id},`))
    expect(records[0].turns[0].content).toContain('\nPatient: ')
  })

  it('reads gzip and zstd, several members included, and hashes the bytes on disk', async () => {
    const lines = (await readFile(fixture('gsm8k.jsonl'), 'utf8')).split(/(?<=\n)/)
    const plain = await recordsOf(await openDataset([fixture('gsm8k.jsonl')]))
    const files = {
      'pool.jsonl.gz': Buffer.concat([gzipSync(lines.slice(0, 5).join('')), gzipSync(lines.slice(5).join(''))]),
      'pool.zst': zstdCompressSync(lines.join('')),
    }
    for (const [name, bytes] of Object.entries(files)) {
      const dataset = await poolOf(bytes, {}, name)
      const records = await recordsOf(dataset)
      expect(records.map(({ file, ...record }) => record)).toEqual(plain.map(({ file, ...record }) => record))
      expect(dataset.report().hashes).toEqual([createHash('sha256').update(bytes).digest('hex')])
    }
  })

  it('spreads globs by name and numbers rows over all files', async () => {
    const directory = await workspace()
    for (const name of ['b', 'a', 'c[1]']) await writeFile(join(directory, `${name}.jsonl`), `${text(name)}\n`)
    const dataset = await openDataset([join(directory, '*.jsonl')])
    const records = await recordsOf(dataset)
    expect(records.map((record) => [record.row, record.turns[0].content, record.line])).toEqual([
      [0, 'a', 1],
      [1, 'b', 1],
      [2, 'c[1]', 1],
    ])
    expect(await recordsOf(await openDataset([join(directory, 'c[1].jsonl')]))).toHaveLength(1)
  })
})

describe('passes', () => {
  it('gives the same records and report each time', async () => {
    const dataset = await openDataset([fixture('gsm8k.jsonl'), fixture('sci-cite.txt')])
    const first = await recordsOf(dataset)
    const report = dataset.report()
    expect(await recordsOf(dataset)).toEqual(first)
    expect(dataset.report()).toEqual(report)
    expect(report).toMatchObject({ complete: true, rows: 24, badCount: 0, duplicates: 0 })
    expect(dataset.scan).toMatchObject({ rows: 24, inputRows: [12, 12] })
  })

  it('hands out large inputs in batches of bounded size', async () => {
    const content = Array.from({ length: 5000 }, (_, i) => text(`${i} ${'x'.repeat(1000)}`)).join('\n')
    const dataset = await poolOf(content)
    const sizes: number[] = []
    for await (const { records, bytes } of dataset.batches()) {
      sizes.push(records.reduce((sum, record) => sum + record.turns[0].content.length, 0))
      expect(bytes).toBeLessThanOrEqual(2 ** 20)
    }
    expect(sizes.length).toBeGreaterThanOrEqual(5)
    expect(Math.max(...sizes)).toBeLessThan(1.1 * 2 ** 20)
  })

  it('shows progress up to all bytes', async () => {
    const dataset = await openDataset([fixture('gsm8k.jsonl'), fixture('sci-cite.txt')])
    const seen: number[] = []
    let total = 0
    let bytes = 0
    const onProgress = (at: { bytes: number; bytesTotal: number }) => {
      seen.push(at.bytes)
      total = at.bytesTotal
    }
    for await (const batch of dataset.batches({ onProgress })) bytes += batch.bytes
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(total).toBe(dataset.inputs[0].bytes + dataset.inputs[1].bytes)
    expect([seen.at(-1), bytes]).toEqual([total, total])
  })

  it('reports an unfinished pass as such', async () => {
    const dataset = await openDataset([fixture('gsm8k.jsonl'), fixture('sci-cite.txt')])
    for await (const _ of dataset.batches()) break
    expect(dataset.report()).toMatchObject({ complete: false, rows: 12, hashes: [] })
    expect(dataset.scan).toBeUndefined()
  })

  it('stops on an abort signal', async () => {
    const dataset = await openDataset([fixture('gsm8k.jsonl')])
    const reading = (async () => {
      for await (const _ of dataset.batches({ signal: AbortSignal.abort(new Error('enough')) }));
    })()
    await expect(reading).rejects.toThrow('enough')
  })

  it('refuses inputs that change between passes', async () => {
    const path = await fileOf('pool.jsonl', `${text('a')}\n`)
    const dataset = await openDataset([path])
    await recordsOf(dataset)
    await writeFile(path, `${text('b')}\n${text('c')}\n`)
    expect((await failureOf(recordsOf(dataset))).fault).toMatchObject({ code: 'input-changed', file: path })
  })
})

describe('dirt that is accepted', () => {
  it('skips a byte order mark', async () => {
    expect(await textsOf(`\ufeff${text('a')}\n`)).toEqual(['a'])
    expect(await textsOf(`\ufeff[${text('a')}]`, {}, 'pool.json')).toEqual(['a'])
    expect(await textsOf('\ufefftext,n\na,1\n', {}, 'pool.csv')).toEqual(['a'])
  })

  it('takes CRLF and counts blank lines', async () => {
    const dataset = await poolOf(`${text('a')}\r\n\r\n  \n${text('b')}\r\n\n`)
    const records = await recordsOf(dataset)
    expect(records.map((record) => [record.row, record.line])).toEqual([
      [0, 1],
      [1, 4],
    ])
    expect(dataset.report()).toMatchObject({ rows: 2, blank: 3, badCount: 0 })
  })

  it('takes a record of 1 MB', async () => {
    const long = 'word '.repeat(200_000)
    expect(await textsOf(`${text('a')}\n${text(long)}\n${text('b')}\n`)).toEqual(['a', long, 'b'])
    expect(await textsOf(`[${text(long)},${text('b')}]`, {}, 'pool.json')).toEqual([long, 'b'])
  })

  it('counts rows that say the same, and keeps them', async () => {
    const rows = [
      { question: 'q', answer: 'a', id: 1 },
      { id: 2, answer: 'a', question: 'q' },
      { question: 'q', answer: 'b' },
      { question: 'q', answer: 'a', id: 3 },
    ]
    const dataset = await poolOf(rows.map((row) => JSON.stringify(row)).join('\n'))
    expect(await recordsOf(dataset)).toHaveLength(4)
    expect(dataset.report().duplicates).toBe(2)
  })

  it('counts no duplicates among 20,000 rows that differ', async () => {
    const dataset = await poolOf(Array.from({ length: 20_000 }, (_, i) => text(`row ${i}`)).join('\n'))
    await recordsOf(dataset)
    expect(dataset.report()).toMatchObject({ rows: 20_000, duplicates: 0 })
  })
})

describe('bad rows', () => {
  const good = text('good')
  /** One bad line among good ones, and the fault it is. */
  const CASES: [what: string, line: string | Uint8Array, fault: Record<string, unknown>][] = [
    ['no JSON', '{"text": nope}', { code: 'bad-json' }],
    ['no object', '["text"]', { code: 'not-an-object', found: 'an array' }],
    ['another shape', '{"body": "x"}', { code: 'missing-field', path: 'text', found: 'no such field' }],
    ['an object for text', '{"text": {"a": 1}}', { code: 'wrong-type', path: 'text', found: 'an object' }],
    ['empty text', '{"text": " \\n"}', { code: 'empty-response' }],
    ['null text', '{"text": null}', { code: 'empty-response' }],
    [
      'invalid UTF-8',
      Buffer.from('{"text": "\ufffd caf\xe9"}', 'latin1'),
      { code: 'invalid-utf8', found: `byte 0xfd at offset ${Buffer.byteLength(`${good}\n`) + 10}` },
    ],
  ]
  for (const [what, line, fault] of CASES) {
    const content = Buffer.concat([Buffer.from(`${good}\n`), Buffer.from(line), Buffer.from(`\n${good}\n`)])

    it(`stops at ${what}, with file and line`, async () => {
      expect(await faultOf(content)).toMatchObject({ ...fault, line: 2, file: expect.stringContaining('pool.jsonl') })
    })

    it(`skips ${what} when told to, and counts it`, async () => {
      const dataset = await poolOf(content, { onBadRow: 'skip' })
      const records = await recordsOf(dataset)
      expect(records.map((record) => [record.row, record.line])).toEqual([
        [0, 1],
        [1, 3],
      ])
      expect(dataset.report().bad).toMatchObject([{ ...fault, line: 2 }])
      expect([...dataset.scan!.skipped[0]]).toEqual([1])
    })
  }

  it('finds the invalid byte after real replacement characters', async () => {
    const bytes = Buffer.concat([Buffer.from('{"text": "\ufffd caf'), Buffer.from([0xe9]), Buffer.from('"}\n')])
    const fault = await faultOf(Buffer.concat([Buffer.from(`${good}\n`), bytes]))
    expect(fault.found).toBe(`byte 0xe9 at offset ${good.length + 1 + 10 + 3 + 4}`)
  })

  it('tells a torn last line from a bad one', async () => {
    expect(await faultOf(`${good}\n{"text": "cut o`)).toMatchObject({ code: 'torn-line', line: 2 })
    expect(await faultOf(`${good}\nno JSON`)).toMatchObject({ code: 'bad-json', line: 2 })
    const dataset = await poolOf(`${good}\n{"text": "cut o`, { onBadRow: 'skip' })
    expect(await recordsOf(dataset)).toHaveLength(1)
  })

  it('counts all bad rows before it stops, and keeps the first five', async () => {
    const dataset = await poolOf([good, ...Array(9).fill('{"text": ""}'), good].join('\n'))
    const error = await failureOf(recordsOf(dataset))
    expect(error.fault).toMatchObject({ code: 'empty-response', line: 2 })
    expect(error.message).toContain('9 rows are bad in all (lines 2, 3, 4, 5, 6, …)')
    expect(error.exitCode).toBe(2)
    expect(dataset.report()).toMatchObject({ badCount: 9, emptyResponses: 9 })
    expect(dataset.report().bad.map((fault) => fault.line)).toEqual([2, 3, 4, 5, 6])
  })

  it('hands out no rows once one was bad', async () => {
    const long = Array.from({ length: 3000 }, (_, i) => text(`${i} ${'x'.repeat(1000)}`))
    const dataset = await poolOf([...long.slice(0, 1500), '{"text": 1', ...long.slice(1500)].join('\n'))
    let last = -1
    const reading = (async () => {
      for await (const { records } of dataset.batches()) last = records.at(-1)!.row
    })()
    expect((await failureOf(reading)).fault).toMatchObject({ code: 'bad-json', line: 1501 })
    expect(last).toBeGreaterThan(0)
    expect(last).toBeLessThan(1500)
    expect(dataset.report()).toMatchObject({ complete: true, rows: 3000, badCount: 1 })
  })

  it('names the turn at fault in a dialogue', async () => {
    const chat = (...messages: unknown[]) => JSON.stringify({ messages })
    const user = { role: 'user', content: 'a' }
    const assistant = { role: 'assistant', content: 'b' }
    const rows: [unknown[], Record<string, unknown>][] = [
      [
        [user, { role: 'narrator', content: 'x' }],
        { code: 'unknown-role', path: 'messages[1].role', found: '"narrator"' },
      ],
      [
        [user, { role: 'assistant', content: null }],
        { code: 'wrong-type', path: 'messages[1].content', found: 'null' },
      ],
      [
        [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'a' },
              { type: 'image_url', image_url: {} },
            ],
          },
          assistant,
        ],
        { code: 'unsupported-content', path: 'messages[0].content[1]', found: 'type "image_url"' },
      ],
      [[user], { code: 'no-response', found: 'turns of user' }],
      [[user, { role: 'assistant', content: '' }], { code: 'empty-response' }],
      [[user, 'b'], { code: 'wrong-type', path: 'messages[1]' }],
    ]
    const content = [chat(user, assistant), ...rows.map(([messages]) => chat(...messages))].join('\n')
    const dataset = await poolOf(content, { onBadRow: 'skip' })
    expect(await recordsOf(dataset)).toHaveLength(1)
    expect(dataset.report().badCount).toBe(6)
    expect(dataset.report().bad).toMatchObject(rows.slice(0, 5).map(([, fault]) => fault))
  })

  it('names CSV rows of another width, with badly closed quotes, or torn', async () => {
    const csv = 'question,answer\nq1,"a\n1"\nq2,a2,extra\nq3,"a3"x\nq4\nq5,a5\nq6,"a6\nq7,a7\n'
    const error = await failureOf(recordsOf(await poolOf(csv, {}, 'pool.csv')))
    expect(error.fault).toMatchObject({
      code: 'bad-csv',
      line: 4,
      found: '3 fields',
      expected: expect.stringMatching(/^2 \(question, answer\)/),
    })
    const dataset = await poolOf(csv, { onBadRow: 'skip' }, 'pool.csv')
    expect((await recordsOf(dataset)).map((record) => turnsOf(record)[1])).toEqual([
      'assistant!: a\n1',
      'assistant!: a5',
    ])
    expect(dataset.report().bad.map((fault) => [fault.code, fault.line])).toEqual([
      ['bad-csv', 4],
      ['bad-csv', 5],
      ['bad-csv', 6],
      ['torn-row', 8],
    ])
  })

  it('reads the dialects of CSV', async () => {
    const turns = async (content: string, name = 'pool.csv') =>
      (await recordsOf(await poolOf(content, {}, name))).map(turnsOf)
    const pair = [['user: a, b', 'assistant!: 5" pipe ""x']]
    expect(await turns('question;answer\r\na, b;5" pipe ""x\n')).toEqual(pair)
    expect(await turns('question\t"answer"\r\na, b\t"5"" pipe """"x"', 'pool.tsv')).toEqual(pair)
    expect(await turns('text\n# no comment\n\n"a, ""b"""\n')).toEqual([['text!: # no comment'], ['text!: a, "b"']])
    expect(await turns('"text","a,b",text\nx,1,y\n')).toEqual([['text!: x']])
  })
})

describe('inputs that cannot be read', () => {
  it('names empty files and files without rows', async () => {
    expect(await faultOf('')).toMatchObject({ code: 'empty-file' })
    expect(await faultOf(gzipSync(''), {}, 'pool.jsonl.gz')).toMatchObject({ code: 'empty-file' })
    expect(await faultOf('\n \r\n')).toMatchObject({ code: 'no-rows' })
    expect(await faultOf('[ ]\n', {}, 'pool.json')).toMatchObject({ code: 'no-rows' })
    expect(await faultOf('question,answer\n', {}, 'pool.csv')).toMatchObject({ code: 'no-rows' })
    expect(await faultOf('{"text": ""}\n', { onBadRow: 'skip' })).toMatchObject({ code: 'no-rows' })
  })

  it('names truncated and damaged compression', async () => {
    const random = Array.from({ length: 4000 }, (_, i) => text(createHash('sha256').update(`${i}`).digest('hex'))).join(
      '\n',
    )
    const gzip = gzipSync(random)
    expect(await faultOf(gzip.subarray(0, -9), {}, 'pool.jsonl.gz')).toMatchObject({ code: 'truncated-gzip' })
    gzip.fill(0, gzip.length >> 1, (gzip.length >> 1) + 64)
    expect(await faultOf(gzip, {}, 'pool.jsonl.gz')).toMatchObject({ code: 'bad-gzip' })
    const zstd = zstdCompressSync(random)
    expect(await faultOf(zstd.subarray(0, -9), {}, 'pool.jsonl.zst')).toMatchObject({ code: 'truncated-zstd' })
  })

  it('names torn and misshapen arrays', async () => {
    expect(await faultOf(`[${text('a')}, ${text('b')}`, {}, 'pool.json')).toMatchObject({ code: 'torn-array' })
    expect(await faultOf(`[${text('a')}] x`, {}, 'pool.json')).toMatchObject({ code: 'bad-json' })
    expect(await faultOf(`[${text('a')},, ${text('b')}]`, {}, 'pool.json')).toMatchObject({ code: 'bad-json' })
    expect(await faultOf(`[${text('a')},]`, {}, 'pool.json')).toMatchObject({ code: 'bad-json' })
    expect(await faultOf(`[${text('a')}, 3]`, {}, 'pool.json')).toMatchObject({ code: 'not-an-object', line: 2 })
  })

  it('refuses a record over the limit', async () => {
    const long = text('x'.repeat(5000))
    const options = { recordLimit: 4096 }
    expect(await faultOf(`${text('a')}\n${long}\n`, options)).toMatchObject({ code: 'record-too-large', line: 2 })
    expect(await faultOf(`[${text('a')},${long}]`, options, 'pool.json')).toMatchObject({ code: 'record-too-large' })
  })

  it('names what is no data, and UTF-16', async () => {
    expect(await faultOf('PK\u0003\u0004 zip', {}, 'pool.bin')).toMatchObject({ code: 'unknown-kind' })
    expect(await faultOf(Buffer.from('\ufeff{"text":"a"}', 'utf16le'))).toMatchObject({ code: 'invalid-encoding' })
    expect(await faultOf('"text,n\nx,1\n', {}, 'pool.csv')).toMatchObject({ code: 'bad-csv', line: 1 })
    expect(await faultOf('PAR1 and then nothing', {}, 'pool.parquet')).toMatchObject({ code: 'bad-parquet' })
    expect(await faultOf('{\n "text": "a"\n}\n', {}, 'pool.json')).toMatchObject({ code: 'bad-json', line: 1 })
  })

  it('names missing files, directories, remote paths and repeated files', async () => {
    const directory = await workspace()
    const path = join(directory, 'pool.jsonl')
    await writeFile(path, text('a'))
    await mkdir(join(directory, 'sub'))
    await symlink(path, join(directory, 'link.jsonl'))
    const codes = async (...paths: string[]) => (await failureOf(openDataset(paths))).fault.code
    expect(await codes()).toBe('no-inputs')
    expect(await codes(join(directory, 'nope.jsonl'))).toBe('missing-file')
    expect(await codes(join(directory, '*.csv'))).toBe('missing-file')
    expect(await codes(join(directory, 'sub'))).toBe('is-directory')
    expect(await codes('s3://bucket/pool.jsonl')).toBe('remote-path')
    expect(await codes(path, join(directory, 'link.jsonl'))).toBe('repeated-input')
  })
})
