import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { writeColumns } from '../../src/dataset/columns.ts'
import { Database } from '../../src/dataset/parquet.ts'
import { WinnowError } from '../../src/errors.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { findLosses, readLosses } from '../../src/pipeline/loss-files.ts'
import type { SelectOptions } from '../../src/pipeline/options.ts'
import { planSelect } from '../../src/pipeline/plan.ts'
import { select } from '../../src/pipeline/select.ts'
import { writeNpy } from '../../src/signals/npy.ts'
import { directory, poolLines, writePool } from './pools.ts'

/** Losses of row i at checkpoint c: exact in float32, none two alike. */
const loss = (row: number, c: number) => (row + 1) / (1 << (c + 1))
const matrix = (rows: number, columns: number) =>
  Float32Array.from({ length: rows * columns }, (_, i) => loss(Math.floor(i / columns), i % columns))

async function faultOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(WinnowError)
  return (error as WinnowError).fault
}

async function losses(path: string, rows: number) {
  const columns = await readLosses(await findLosses(path), { rows })
  return columns.map((column) => [column.step, ...column.losses])
}

/** What all files below say, of 3 rows at steps 5 and 40. */
const expected = [
  [5, loss(0, 0), loss(1, 0), loss(2, 0)],
  [40, loss(0, 1), Number.NaN, loss(2, 1)],
]
const wide = [0, 1, 2].map((row) => ({ step_40: row === 1 ? Number.NaN : loss(row, 1), step_5: loss(row, 0) }))
const csv = (lines: Record<string, number>[], header = Object.keys(lines[0])) =>
  [header.join(','), ...lines.map((line) => Object.values(line).join(','))].join('\n')

describe('a file of losses', () => {
  it('may be JSON Lines, with the NaN that Python writes or with null', async () => {
    const home = directory()
    const [python, plain] = [join(home, 'python.jsonl'), join(home, 'plain.jsonl')]
    const lines = wide.map((line) => JSON.stringify(line)).join('\n\n')
    writeFileSync(plain, lines)
    writeFileSync(python, lines.replaceAll('null', 'NaN'))
    expect(await losses(plain, 3)).toEqual(expected)
    expect(await losses(python, 3)).toEqual(expected)
  })

  it('may be a JSON array of lists, compressed too', async () => {
    const path = join(directory(), 'losses.json.gz')
    writeFileSync(path, gzipSync('[[0.5, 0.25], [1, NaN], [1.5, 0.75]]'))
    expect(await losses(path, 3)).toEqual([
      [1, ...expected[0].slice(1)],
      [2, ...expected[1].slice(1)],
    ])
  })

  it('may be CSV, with the nameless index of pandas', async () => {
    const home = directory()
    writeFileSync(join(home, 'a.csv'), `${csv(wide)}\n`)
    const indexed = wide.map((line, row) => ({ row, ...line })).reverse()
    writeFileSync(join(home, 'b.csv'), csv(indexed, ['', 'step_40', 'step_5']))
    expect(await losses(join(home, 'a.csv'), 3)).toEqual(expected)
    expect(await losses(join(home, 'b.csv'), 3)).toEqual(expected)
  })

  it('may be Parquet: wide, long, or of lists, of any type of number', async () => {
    const home = directory()
    const path = (name: string) => join(home, `${name} [1].parquet`)
    await writeColumns(path('wide'), {
      step_40: Float32Array.from(wide, ({ step_40 }) => step_40),
      step_5: Float64Array.from(wide, ({ step_5 }) => step_5),
    })
    await using database = await Database.open()
    const values = [2, 1, 0].flatMap((row) =>
      [5, 40].map((step) => `(${row}, ${step}, ${row === 1 && step === 40 ? 'NULL' : loss(row, step === 5 ? 0 : 1)})`),
    )
    await database.connection.run(
      `COPY (SELECT row::UINTEGER AS row, step::BIGINT AS step, loss::DECIMAL(6, 3) AS loss FROM (VALUES ${values.join(', ')}) AS t(row, step, loss)) TO '${path('long')}' (FORMAT parquet)`,
    )
    await database.connection.run(
      `COPY (SELECT losses::FLOAT[] AS losses FROM (VALUES ([0.5, 0.25]), ([1, 'nan'::FLOAT]), ([1.5, 0.75])) AS t(losses)) TO '${path('lists')}' (FORMAT parquet)`,
    )
    expect(await losses(path('wide'), 3)).toEqual(expected)
    expect(await losses(path('long'), 3)).toEqual(expected)
    expect((await losses(path('lists'), 3)).map((column) => column.slice(1))).toEqual(
      expected.map((column) => column.slice(1)),
    )
  })

  it('is refused with its line where it does not parse', async () => {
    const home = directory()
    const write = (name: string, text: string) => {
      writeFileSync(join(home, name), text)
      return join(home, name)
    }
    const cases = [
      [write('a.jsonl', '{"s1": 1}\n{"s1": 1,}\n'), { code: 'bad-json', line: 2 }],
      [write('b.jsonl', '{"s1": 1}\n"two"\n'), { code: 'not-a-loss', line: 2, found: 'string' }],
      [write('c.jsonl', '{"s1": 1}\n{"s1": Infinity}\n'), { code: 'infinite-loss', line: 2, found: 'Infinity' }],
      [write('d.csv', 's1,s2\n1,2\n1\n'), { code: 'bad-csv', line: 3 }],
      [write('e.csv', 's1,s2\n1,2\n1,x\n'), { code: 'not-a-loss', line: 3, path: 'row 1, column s2' }],
      [write('f.parquet', `PAR1${'x'.repeat(40)}PAR1`), { code: 'bad-parquet' }],
      [write('g.jsonl', ''), { code: 'empty-file' }],
      [write('h.pt', '\x80\x02'), { code: 'pickle' }],
      [join(home, 'none.npy'), { code: 'missing-file' }],
    ] as const
    for (const [path, fault] of cases)
      expect(await faultOf(losses(path, 2)), path).toMatchObject({ file: path, ...fault })
  })
})

describe('a directory of losses', () => {
  const npy = (...values: number[]) => writeNpy({ shape: [values.length], data: Float32Array.from(values) })

  it('has a file for each checkpoint, of any format, in the order of their steps', async () => {
    const home = directory()
    writeFileSync(join(home, 'checkpoint-1000.npy'), npy(3, 3))
    writeFileSync(join(home, 'checkpoint-500.json'), '[2, 2]')
    writeFileSync(join(home, 'step_000050.jsonl'), '{"row": 1, "loss": 1.5}\n{"row": 0, "loss": 1}\n')
    writeFileSync(join(home, 'losses-epoch2-7.csv'), 'tokens,nll\n9,0.5\n9,\n')
    await writeColumns(join(home, '2000.parquet'), { loss: Float32Array.of(4, 5) })
    writeFileSync(join(home, 'README.md'), 'step 3')
    writeFileSync(join(home, '.hidden-4.npy'), '')
    expect(await losses(home, 2)).toEqual([
      [7, 0.5, Number.NaN],
      [50, 1, 1.5],
      [500, 2, 2],
      [1000, 3, 3],
      [2000, 4, 5],
    ])
  })

  it('may be that of the checkpoints, with the losses in each', async () => {
    const home = directory()
    for (const step of [1000, 500]) {
      mkdirSync(join(home, `checkpoint-${step}`))
      writeFileSync(join(home, `checkpoint-${step}`, 'losses.npy'), npy(step, 1))
      writeFileSync(join(home, `checkpoint-${step}`, 'losses.pt'), 'PK\x03\x04')
      writeFileSync(join(home, `checkpoint-${step}`, 'config.json'), '{}')
    }
    writeFileSync(join(home, 'trainer_state.json'), '{}')
    const elsewhere = directory()
    writeFileSync(join(elsewhere, 'nll.json'), '[1500, 1]')
    symlinkSync(elsewhere, join(home, 'checkpoint-1500'))
    symlinkSync(join(elsewhere, 'none'), join(home, 'checkpoint-2000'))
    expect(await losses(home, 2)).toEqual([
      [500, 500, 1],
      [1000, 1000, 1],
      [1500, 1500, 1],
    ])
  })

  it.each([
    [
      'two files of a step',
      ['step-5.npy', '05.npy'],
      { code: 'repeated-step', message: 'two checkpoints have step 5' },
    ],
    [
      'a file without a step',
      ['losses.npy'],
      { code: 'no-step', expected: expect.stringContaining('checkpoint-500.npy') },
    ],
    ['a step that is no whole number', ['epoch-0.5.npy'], { code: 'no-step' }],
    [
      'nothing to read',
      ['notes.txt', 'a/x.npy'],
      { code: 'no-losses-files', found: 'notes.txt, a/', hint: expect.stringMatching(/Is it .*a\?/) },
    ],
    ['nothing at all', [], { code: 'no-losses-files', found: 'nothing' }],
    ['pickles', ['losses-500.pkl'], { code: 'pickle' }],
    [
      'pickles below checkpoints',
      ['checkpoint-500/losses.pt'],
      { code: 'pickle', hint: expect.stringContaining('weights_only=True') },
    ],
    [
      'one checkpoint of another pool',
      ['1.npy', '2.npy'],
      { code: 'other-pool', file: expect.stringContaining('1.npy') },
    ],
  ])('with %s is refused', async (_, names, fault) => {
    const home = directory()
    for (const name of names) {
      mkdirSync(join(home, name, '..'), { recursive: true })
      writeFileSync(join(home, name), name.endsWith('.npy') ? npy(1, 1) : '\x80\x02')
    }
    expect(await faultOf(losses(home, 3))).toMatchObject(fault)
  })
})

function prepared(rows = poolLines({ svamp: 50, gsm8k: 0 })) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, rows)
  const options = (name: string, more: Partial<SelectOptions>): SelectOptions => ({
    pool: [pool],
    budget: '30%',
    out: join(home, `${name}.jsonl`),
    run: join(home, name),
    ...more,
  })
  const run = (name: string, more: Partial<SelectOptions>, onEvent?: (event: PipelineEvent) => void) =>
    select(options(name, more), { ort, onEvent })
  const signals = (data: Float32Array, columns: number) => {
    const trajectories = join(home, 'losses.npy')
    writeFileSync(trajectories, writeNpy({ shape: [data.length / columns, columns], data }))
    return { trajectories }
  }
  return { home, pool, rows, options, run, signals }
}

const manifestOf = (home: string, name: string) => JSON.parse(readFileSync(join(home, name, 'manifest.json'), 'utf8'))

describe('select by imported losses', () => {
  it("of a run of its own selects that run's rows, byte for byte, and so does the copy that it keeps", async () => {
    const { home, run } = prepared(poolLines({ svamp: 40, gsm8k: 0 }))
    const methodOptions = { checkpoints: 3 }
    await run('trained', { methodOptions })
    let from = 'trained'
    for (const name of ['imported', 'again']) {
      const folder = join(home, from, 'signals/trajectories')
      const result = await run(name, { methodOptions, signals: { trajectories: join(folder, readdirSync(folder)[0]) } })
      expect(result.stages.map((stage) => stage.name)).toEqual([
        'read',
        'tokenizer',
        'tokens',
        'import',
        'clusters',
        'select',
        'write',
        'report',
      ])
      for (const file of ['.jsonl', '/selection.parquet', '/signals/clusters.npy'])
        expect(readFileSync(join(home, `${name}${file}`)), file).toEqual(readFileSync(join(home, `trained${file}`)))
      from = name
    }
  })

  it('says in result, manifest and page where they came from, and nothing of a proxy', async () => {
    const { home, run, signals } = prepared()
    const data = matrix(50, 12)
    data[7 * 12 + 3] = Number.NaN
    const given = signals(data, 12)
    const events: PipelineEvent[] = []
    const result = await run('run', { signals: given }, (event) => events.push(event))
    const imported = {
      file: given.trajectories,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      rows: 50,
      columns: 12,
      steps: Array.from({ length: 12 }, (_, c) => c + 1),
      used: Array.from({ length: 12 }, (_, c) => c + 1),
      incomplete: 1,
    }
    expect(result).toMatchObject({ selected: 15, imported })
    expect(result.nll).toBeUndefined()
    expect(result.notices.map(({ code }) => code)).toEqual(['quarantined'])
    expect(events[0]).toEqual({
      kind: 'plan',
      stages: ['read', 'tokenizer', 'tokens', 'import', 'clusters', 'select', 'write', 'report'],
    })
    const manifest = manifestOf(home, 'run')
    expect(manifest.config.signals).toEqual(given)
    expect(manifest.facts).toMatchObject({ imported: { trajectories: imported } })
    expect(manifest.facts).not.toHaveProperty('proxy')
    const page = readFileSync(result.report, 'utf8')
    expect(page).toMatch(/recorded elsewhere, 50\srows x 12\scheckpoints/)
    expect(page).toContain(result.imported?.sha256)
    expect(page).toContain('no loss was recorded at some checkpoint')
    expect(page).not.toMatch(/proxy (model|loss)/i)
  })

  it('is the same from a table and from an array, and reads them once', async () => {
    const { home, run, signals } = prepared()
    const data = matrix(50, 3)
    const array = await run('run', { signals: signals(data, 3) })
    const table = join(home, 'losses.jsonl')
    const lines = Array.from({ length: 50 }, (_, row) => ({
      index: row,
      step_3: loss(row, 2),
      step_1: loss(row, 0),
      step_2: loss(row, 1),
    }))
    writeFileSync(
      table,
      lines
        .reverse()
        .map((line) => JSON.stringify(line))
        .join('\n'),
    )
    const other = await run('other', { signals: { trajectories: table } })
    expect(other.out.sha256).toBe(array.out.sha256)
    expect(readFileSync(join(home, 'other/selection.parquet'))).toEqual(
      readFileSync(join(home, 'run/selection.parquet')),
    )
    expect(array.notices).toContainEqual({
      code: 'fewer-checkpoints',
      message: 'the imported losses are of 3 checkpoints, not 12',
    })

    const larger = await run('run', { budget: '50%', out: join(home, 'larger.jsonl'), signals: signals(data, 3) })
    expect(larger.stages.filter(({ cached }) => cached).map(({ name }) => name)).toEqual([
      'read',
      'tokenizer',
      'tokens',
      'import',
      'clusters',
    ])
  })

  it('of changed losses clusters again', async () => {
    const { run, signals, home } = prepared()
    await run('run', { signals: signals(matrix(50, 3), 3) })
    const changed = matrix(50, 3).map((value, i) => (i % 7 === 0 ? 5 : value))
    const result = await run('run', { out: join(home, 'changed.jsonl'), signals: signals(changed, 3) })
    expect(result.stages.filter(({ cached }) => cached).map(({ name }) => name)).toEqual([
      'read',
      'tokenizer',
      'tokens',
    ])
  })

  it('clusters evenly spaced checkpoints where fewer are asked for', async () => {
    const { home, run, signals } = prepared()
    const all = matrix(50, 6)
    // Columns 1, 3 and 5 of six; what the others hold must not count.
    const kept = Float32Array.from({ length: 50 * 3 }, (_, i) => all[Math.floor(i / 3) * 6 + 2 * (i % 3) + 1])
    const methodOptions = { checkpoints: 3 }
    const six = await run('six', { methodOptions, signals: signals(all, 6) })
    await run('three', { methodOptions, signals: signals(kept, 3) })
    for (const file of ['signals/clusters.npy', 'selection.parquet'])
      expect(readFileSync(join(home, 'six', file))).toEqual(readFileSync(join(home, 'three', file)))
    expect(six).toMatchObject({ imported: { columns: 6, steps: [1, 2, 3, 4, 5, 6], used: [2, 4, 6] } })
    expect(six.notices.map(({ code }) => code)).toEqual(['more-checkpoints'])
    expect(readFileSync(six.report, 'utf8')).toContain('3, at steps 2, 4, 6')
  })

  it('tells of numbers that are odd for losses', async () => {
    const { run, signals } = prepared()
    const sums = matrix(50, 2).map((value) => 40 * value)
    sums[0] = -1
    const { notices } = await run('run', { signals: signals(sums, 2), methodOptions: { checkpoints: 2 } })
    expect(notices.map(({ code }) => code)).toEqual(['negative-losses', 'large-losses'])
  })

  it('refuses losses of another pool, and writes no selection', async () => {
    const { home, run, signals } = prepared()
    const fault = await faultOf(run('run', { signals: signals(matrix(49, 2), 2) }))
    expect(fault).toMatchObject({ code: 'other-pool', found: 'shape (49, 2)', expected: '50 rows' })
    expect(readdirSync(home)).not.toContain('run.jsonl')
  })

  it('says so where the losses are of rows that were left out of the pool', async () => {
    const { run, signals } = prepared(['{"torn', ...poolLines({ svamp: 49, gsm8k: 0 })])
    const fault = await faultOf(run('run', { onBadRow: 'skip', signals: signals(matrix(50, 2), 2) }))
    expect(fault).toMatchObject({
      code: 'other-pool',
      expected: '49 rows',
      hint: expect.stringContaining('A bad row was left out'),
    })
  })

  it('refuses, before a directory is made, what cannot be read', async () => {
    const { home, run } = prepared()
    const pickle = join(home, 'losses.pt')
    writeFileSync(pickle, '\x80\x02')
    for (const [trajectories, code] of [
      [pickle, 'pickle'],
      [join(home, 'none'), 'missing-file'],
      ...(process.platform === 'win32' ? [] : [['/dev/null', 'not-a-file']]),
    ])
      expect(await faultOf(run('run', { signals: { trajectories } }))).toMatchObject({ code, file: trajectories })
    expect(readdirSync(home).sort()).toEqual(['losses.pt', 'pool.jsonl'])
  })

  it.each([
    [
      { method: 'random', signals: { trajectories: 'x' } },
      { code: 'unneeded-signal', expected: 'no signals', found: 'trajectories=x' },
    ],
    [{ signals: { neighbours: 'x' } }, { code: 'unknown-signal', expected: expect.stringContaining('trajectories') }],
    [{ signals: { embeddings: 'x' } }, { code: 'unneeded-signal', hint: expect.stringContaining('got-d') }],
  ])('refuses what the method does not read: %o', async (more, fault) => {
    const { run } = prepared()
    expect(await faultOf(run('run', more))).toMatchObject(fault)
  })

  it('goes on when killed before the losses were whole', async () => {
    const { home, run, signals } = prepared()
    const given = signals(matrix(50, 3), 3)
    const whole = await run('whole', { signals: given })
    const stop = new AbortController()
    const killed = select(
      {
        pool: [join(home, 'pool.jsonl')],
        budget: '30%',
        out: join(home, 'killed.jsonl'),
        run: join(home, 'killed'),
        signals: given,
      },
      {
        ort,
        signal: stop.signal,
        onEvent: (event) => event.kind === 'stage-start' && event.stage === 'import' && stop.abort(),
      },
    )
    await expect(killed).rejects.toThrow()
    expect((await run('killed', { signals: given })).out.sha256).toBe(whole.out.sha256)
  })

  it('copies the losses into the run', async () => {
    const { home, run, signals } = prepared()
    const given = signals(matrix(50, 2), 2)
    await run('run', { signals: given })
    const folder = join(home, 'run/signals/trajectories')
    const [key] = readdirSync(folder)
    const kept = join(home, 'kept')
    mkdirSync(kept)
    for (const name of readdirSync(join(folder, key))) copyFileSync(join(folder, key, name), join(kept, name))
    rmSync(given.trajectories)
    expect(await losses(kept, 50)).toEqual(
      [0, 1].map((c) => [c + 1, ...Array.from({ length: 50 }, (_, row) => loss(row, c))]),
    )
  })
})

describe('a plan with imported losses', () => {
  it('trains nothing and says so', async () => {
    const { options, signals } = prepared()
    const plan = await planSelect(options('run', { signals: signals(matrix(50, 4), 4) }), { ort })
    expect(plan.imported).toMatchObject({ rows: 50, columns: 4, steps: [1, 2, 3, 4], incomplete: 0 })
    expect(plan.proxy).toBeUndefined()
    expect(plan.flops).toEqual({ training: 0, scoring: 0, total: 0 })
    expect(plan.seconds.map(({ stage }) => stage)).toEqual(['read, tokenise and write', 'import losses', 'cluster'])
  })

  it('finds what is wrong with them', async () => {
    const { options, signals } = prepared()
    const plan = planSelect(options('run', { signals: signals(matrix(49, 4), 4) }), { ort })
    expect(await faultOf(plan)).toMatchObject({ code: 'other-pool' })
  })
})
