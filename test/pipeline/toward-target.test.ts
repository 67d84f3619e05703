import { readdirSync as readDirectory, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { Database, literal } from '../../src/dataset/parquet.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import type { SelectOptions } from '../../src/pipeline/options.ts'
import { select } from '../../src/pipeline/select.ts'
import { readNpy, writeNpy } from '../../src/signals/npy.ts'
import { tinyModel } from './models.ts'
import { directory } from './pools.ts'
import { type TargetFiles, writeTargetFiles } from './targets.ts'

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n')

/** Runs `select` in a directory of its own and gives back what it did. */
function runner(files: TargetFiles, home: string) {
  return async (name: string, options: Partial<SelectOptions> = {}) => {
    const events: PipelineEvent[] = []
    const place = { run: join(home, `${options.run ?? name}.run`), out: join(home, `${name}.jsonl`) }
    const asked = { pool: [files.pool], target: [files.target], method: 'got-d', budget: '40', threads: 1 }
    const result = await select({ ...asked, ...options, ...place }, { ort, onEvent: (event) => events.push(event) })
    const stages = Object.fromEntries(result.stages.map(({ name: stage, cached }) => [stage, cached]))
    return { result, stages, picked: lines(place.out), page: () => readFileSync(result.report, 'utf8') }
  }
}

/** The lines of a Parquet file. */
async function rowsOf(file: string): Promise<Record<string, unknown>[]> {
  await using database = await Database.open()
  const reader = await database.connection.runAndReadAll(`SELECT * FROM read_parquet(${literal(file)})`)
  return reader.getRowObjects()
}

const shareOf = (picked: string[], domain: string) =>
  picked.filter((line) => JSON.parse(line).domain === domain).length / picked.length

const fault = (code: string, more: object = {}) => ({ fault: expect.objectContaining({ code, ...more }) })

describe('select toward a target', () => {
  it('picks from the domain that is like it, by every method that reads it, and shows why', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 800 })
    const run = runner(files, home)
    const base = files.domains.filter((domain) => domain === 'product-reviews').length / files.domains.length
    expect(base).toBeLessThan(0.2)

    const gotD = await run('got-d')
    expect(gotD.result.target).toMatchObject({ rows: 40, embedding: { name: 'ngrams' } })
    expect(gotD.result.target?.domains?.[0].name).toBe('product-reviews')
    expect(gotD.picked.length).toBe(40)
    for (const line of gotD.picked) expect(files.lines).toContain(line)
    expect(shareOf(gotD.picked, 'product-reviews')).toBeGreaterThan(0.8)
    const page = gotD.page()
    for (const words of [
      'calibrated gradient',
      'product-reviews',
      'Transport problem',
      'Epsilon',
      'SHA-256 of the target',
    ])
      expect(page).toContain(words)

    const table = await rowsOf(gotD.result.selectionFile)
    expect(Object.keys(table[0])).toEqual([
      ...['row', 'selected', 'source', 'tokens', 'trained_tokens', 'gradient', 'potential', 'nearest_target'],
      ...['nearest_cost', 'candidate', 'domain_distance', 'first_copy'],
    ])
    expect(table.map(({ source }) => source)).toEqual(files.domains)
    const picks = table.filter(({ selected }) => selected)
    const others = table.filter(({ selected, candidate }) => !selected && candidate)
    expect(Math.max(...picks.map(({ gradient }) => gradient as number))).toBeLessThanOrEqual(
      Math.min(...others.map(({ gradient }) => gradient as number)),
    )
    for (const { nearest_target, nearest_cost } of table) {
      expect(nearest_target as number).toBeLessThan(40)
      expect(nearest_cost as number).toBeLessThanOrEqual(4)
    }

    // Without the domain test the gradients alone have to find it.
    const all = await run('all', { methodOptions: { domains: 'all' } })
    expect(shareOf(all.picked, 'product-reviews')).toBeGreaterThan(3 * base)
    const contrast = await run('contrast', { methodOptions: { contrast: true } })
    expect(shareOf(contrast.picked, 'product-reviews')).toBeLessThan(base)
    const knn = await run('tapt-knn', { method: 'tapt-knn' })
    expect(shareOf(knn.picked, 'product-reviews')).toBeGreaterThan(3 * base)
    const dapt = await run('dapt', { method: 'dapt' })
    expect(shareOf(dapt.picked, 'product-reviews')).toBe(1)
    const dsir = await run('dsir', { method: 'dsir' })
    expect(dsir.result.target).toEqual({ rows: 40 })
    const domains = await run('all-domains', { method: 'all-domains' })
    expect(domains.result.groups.map(({ selected }) => selected).sort()).toEqual([6, 6, 7, 7, 7, 7])
    expect(domains.result.notices).toContainEqual(expect.objectContaining({ code: 'unread-option' }))
    for (const { page: pageOf } of [knn, dapt, dsir, domains]) expect(pageOf()).toContain('</html>')
  })

  it('keeps vectors for another target, another budget and another method, and scores for another budget', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 300 })
    const run = runner(files, home)
    const first = await run('first', { run: 'same', methodOptions: { domains: 2 } })
    expect(Object.values(first.stages).some((cached) => cached)).toBe(false)

    const larger = await run('larger', { run: 'same', budget: '55', methodOptions: { domains: 2 } })
    expect(larger.stages).toMatchObject({
      embeddings: true,
      'target-embeddings': true,
      domains: true,
      transport: true,
      scores: true,
    })
    expect(larger.stages.select).toBe(false)
    for (const line of first.picked) expect(larger.picked).toContain(line)

    const other = join(home, 'other.jsonl')
    writeFileSync(other, `${lines(files.target).slice(0, 11).join('\n')}\n`)
    const retargeted = await run('retargeted', { run: 'same', target: [other], methodOptions: { domains: 2 } })
    expect(retargeted.stages).toMatchObject({
      embeddings: true,
      'target-embeddings': false,
      transport: false,
      scores: false,
    })
    const back = await run('back', { run: 'same', methodOptions: { domains: 2 } })
    expect(back.stages).toMatchObject({ 'target-embeddings': true, domains: true, transport: true, scores: true })
    const knn = await run('knn', { run: 'same', target: [other], method: 'tapt-knn' })
    expect(knn.stages).toMatchObject({ embeddings: true, 'target-embeddings': true, neighbours: false })
  })

  it('selects the same rows on one thread and on two', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 300 })
    const run = runner(files, home)
    const read = (name: string, file: string) => {
      const found = readDirectory(join(home, `${name}.run`), { recursive: true, encoding: 'utf8' })
      return readFileSync(join(home, `${name}.run`, found.find((path) => path.endsWith(file)) as string))
    }
    await run('one', { threads: 1 })
    await run('two', { threads: 2 })
    for (const file of ['selected.jsonl', 'selection.parquet', '/potential.npy', '/target-potential.npy'])
      expect(read('one', file).equals(read('two', file)), file).toBe(true)
  })

  it('reads vectors made elsewhere, from .npy and from tables, to the same selection', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 200, targets: 20 })
    const run = runner(files, home)
    const made = await run('made')
    const vectorsOf = (stage: string) => {
      const shard = made.result.stages.find(({ name }) => name === stage)
      expect(shard).toBeDefined()
      const folder = join(home, 'made.run', 'signals', stage)
      const [key] = readDirectory(folder)
      return readNpy(readFileSync(join(folder, key, 'rows-000000000.npy')))
    }
    const [pool, target] = [vectorsOf('embeddings'), vectorsOf('target-embeddings')]
    const files_ = {
      pool: join(home, 'pool.npy'),
      target: join(home, 'target.npy'),
      table: join(home, 'pool.vectors.jsonl'),
    }
    writeFileSync(files_.pool, writeNpy(pool))
    writeFileSync(files_.target, writeNpy(target))
    const [rows, d] = pool.shape
    const list = (row: number) => JSON.stringify({ embedding: Array.from(pool.data.subarray(row * d, (row + 1) * d)) })
    writeFileSync(files_.table, Array.from({ length: rows }, (_, row) => `${list(row)}\n`).join(''))

    const signals = { embeddings: files_.pool, 'target-embeddings': files_.target }
    const imported = await run('imported', { signals })
    expect(imported.picked).toEqual(made.picked)
    expect(imported.result.target?.embedding).toEqual({ name: files_.pool, dimensions: d })
    const table = await run('table', { signals: { ...signals, embeddings: files_.table } })
    expect(table.picked).toEqual(made.picked)

    await expect(run('half', { signals: { embeddings: files_.pool } })).rejects.toMatchObject(fault('half-imported'))
    writeFileSync(files_.target, writeNpy({ shape: [20, d - 1], data: target.data.slice(0, 20 * (d - 1)) }))
    await expect(run('narrow', { signals })).rejects.toMatchObject(
      fault('bad-embeddings', { file: files_.target, found: `${d - 1} dimensions` }),
    )
    const bad = pool.data.slice() as Float32Array
    bad[7 * d + 1] = Number.NaN
    writeFileSync(files_.pool, writeNpy({ shape: [rows, d], data: bad }))
    await expect(run('nan', { signals })).rejects.toMatchObject(
      fault('bad-embeddings', { message: expect.stringContaining('row 7') }),
    )
    writeFileSync(files_.pool, writeNpy({ shape: [rows - 1, d], data: bad.slice(0, (rows - 1) * d) }))
    await expect(run('short', { signals })).rejects.toMatchObject(
      fault('bad-embeddings', { found: `${rows - 1} vectors` }),
    )
  })

  it('counts equal texts once, whatever their number, and passes over near ones where asked to', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 200, targets: 20 })
    const favourite = files.lines.find((line) => JSON.parse(line).domain === 'product-reviews') as string
    const near = favourite.replace(/"text": "/, '"text": "Well. ')
    writeFileSync(
      files.pool,
      [...files.lines, ...new Array(30).fill(favourite), near].map((line) => `${line}\n`).join(''),
    )
    const run = runner(files, home)
    const collapsed = await run('collapsed', { methodOptions: { domains: 'all' }, budget: '150' })
    expect(collapsed.picked.filter((line) => line === favourite).length).toBeLessThanOrEqual(1)
    const kept = await run('kept', { methodOptions: { domains: 'all', duplicates: 'keep' }, budget: '200' })
    expect(kept.picked.filter((line) => line === favourite).length).toBeGreaterThan(1)
    const distinct = await run('distinct', { methodOptions: { domains: 'all', duplicates: 'near' }, budget: '150' })
    const alike = distinct.picked.filter((line) => line === favourite || line === near)
    expect(alike.length).toBeLessThanOrEqual(1)
    expect(distinct.result.target?.nearDuplicates?.near).toBe(0)
  })

  it('is not misled by what a run directory has: other sources, other copies, a budget that another order fills', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 200, targets: 20 })
    const run = runner(files, home)
    const fresh = async (name: string, options: Partial<SelectOptions>) => {
      const used = await run(name, { ...options, run: 'used' })
      const clean = await run(`${name}-clean`, options)
      expect(used.picked, name).toEqual(clean.picked)
      return used
    }
    // Imported vectors do not change where the rows' sources do.
    const vectors = (rows: number) =>
      writeNpy({ shape: [rows, 2], data: Float32Array.from({ length: 2 * rows }, (_, i) => Math.sin(i * i)) })
    const signals = { embeddings: join(home, 'pool.npy'), 'target-embeddings': join(home, 'target.npy') }
    writeFileSync(signals.embeddings, vectors(200))
    writeFileSync(signals['target-embeddings'], vectors(20))
    await fresh('six', { signals })
    writeFileSync(
      files.pool,
      files.lines.map((line, i) => `${JSON.stringify({ ...JSON.parse(line), topic: `t${i % 2}` })}\n`).join(''),
    )
    const two = await fresh('two', { signals, fields: 'text=text,source=topic' })
    expect(two.result.target?.domains?.map(({ name }) => name).sort()).toEqual(['t0', 't1'])
    // Another source that is kept brings nothing but copies: the same rows, other weights.
    const [a, b] = [files.lines.slice(0, 30), files.lines.slice(30, 60)].map((part) =>
      part.map((line) => JSON.parse(line).text),
    )
    const of = (domain: string, texts: string[]) =>
      texts.map((text) => `${JSON.stringify({ domain, text })}\n`).join('')
    writeFileSync(files.pool, of('a', a) + of('b', b) + of('c', b.slice(0, 25)))
    await fresh('pair', { budget: '10', methodOptions: { domains: 2 } })
    await fresh('three', { budget: '10', methodOptions: { domains: 3 } })
  })

  it('gives a budget in tokens candidates for it, and says why a pick is short', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 300, targets: 20 })
    const run = runner(files, home)
    const short = await run('short', { budget: '200', methodOptions: { domains: 1 } })
    expect(short.result.notices).toContainEqual(
      expect.objectContaining({ code: 'under-filled', message: expect.stringContaining('sources that were not kept') }),
    )
    const wide = await run('wide', { budget: '25000tok' })
    expect(wide.result.tokens.selected).toBeGreaterThan(24_000)
    expect(wide.result.notices.map(({ code }) => code)).toContain('more-domains')
    // 150 equal texts and 20 others: the walk goes on until it has met the others.
    const same = Array.from(
      { length: 150 },
      (_, i) => `${JSON.stringify({ text: `A very good phone with a fine screen, number ${i}` })}\n`,
    )
    const others = files.lines.slice(0, 20).map((line) => `${JSON.stringify({ text: JSON.parse(line).text })}\n`)
    writeFileSync(files.pool, [...same, ...others].join(''))
    const distinct = await run('distinct', { budget: '12', methodOptions: { duplicates: 'near', nearThreshold: 0.8 } })
    expect(distinct.picked.length).toBe(12)
  })

  it('tells which options are not read with an embedding', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 60, targets: 6 })
    const run = runner(files, home)
    const { result } = await run('unread', { budget: '5', pooling: 'cls', embeddingPrefix: 'x' })
    expect(result.notices).toContainEqual({
      code: 'unread-option',
      message: '--pooling, --embedding-prefix are not read by the method got-d with this embedding',
    })
    await expect(run('wide', { embeddingDimensions: 99_999 })).rejects.toMatchObject(
      fault('bad-option', { path: '--embedding-dimensions' }),
    )
  })

  it('picks by a budget in tokens, by every method', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 300, targets: 20 })
    const run = runner(files, home)
    for (const method of ['got-d', 'dsir', 'tapt-knn', 'dapt', 'all-domains']) {
      const { result } = await run(method, { method, budget: '4000tok' })
      expect(result.tokens.selected, method).toBeLessThanOrEqual(4000)
      expect(result.tokens.selected, method).toBeGreaterThan(3500)
    }
  })

  it('compares by the hidden states of the proxy: of a model as it is, and of nano after its training', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 40, targets: 5 })
    const run = runner(files, home)
    const proxy = tinyModel(join(home, 'model'), { config: { max_position_embeddings: 160 } })
    const asked = { embedding: 'proxy', methodOptions: { domains: 'all' as const }, budget: '6' }
    const model = await run('model', { ...asked, proxy, run: 'model' })
    expect(model.result.target?.embedding?.name).toBe(`hidden states of ${proxy}`)
    expect(model.stages).not.toHaveProperty('trajectories')
    const nano = await run('nano', { ...asked, run: 'nano' })
    expect(nano.result.target?.embedding?.name).toBe('hidden states of nano')
    expect(nano.stages).toMatchObject({ trajectories: false, embeddings: false })
    const again = await run('again', { ...asked, run: 'nano', method: 'tapt-knn', methodOptions: {} })
    expect(again.stages).toMatchObject({ trajectories: true, embeddings: true, neighbours: false })
  })

  it('says what is missing or wrong before it works', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 60, targets: 6 })
    const run = runner(files, home)
    await expect(run('none', { target: [] })).rejects.toMatchObject(fault('no-target', { path: '--target' }))
    await expect(run('missing', { target: [join(home, 'nothing.jsonl')] })).rejects.toMatchObject(fault('missing-file'))
    await expect(run('wrong', { methodOptions: { epsilon: -1 } })).rejects.toMatchObject(fault('bad-option'))
    await expect(run('pooling', { pooling: 'median' as never })).rejects.toMatchObject(
      fault('bad-option', { path: '--pooling' }),
    )
    const plain = join(home, 'plain.jsonl')
    writeFileSync(plain, files.lines.map((line) => `${JSON.stringify({ text: JSON.parse(line).text })}\n`).join(''))
    await expect(run('sources', { pool: [plain], method: 'dapt', budget: '5' })).rejects.toMatchObject(
      fault('no-source'),
    )
    const whole = await run('whole', { pool: [plain], budget: '5' })
    expect(whole.picked.length).toBe(5)
    writeFileSync(files.target, '{"text": "fine"}\n{"text": 3')
    await expect(run('torn')).rejects.toMatchObject(
      fault('torn-line', { file: files.target, line: 2, hint: expect.not.stringContaining('--on-bad-row') }),
    )
    writeFileSync(files.target, '{"a": 1}\n')
    await expect(run('unknown')).rejects.toMatchObject(
      fault('unknown-format', { file: files.target, hint: expect.stringContaining('--target-fields') }),
    )
  })

  it('works with one target row, a pool of two rows, and texts without any word', async () => {
    const home = directory()
    const files = writeTargetFiles(home, { rows: 2, targets: 1 })
    const run = runner(files, home)
    expect((await run('tiny', { budget: '1', methodOptions: { domains: 'all' } })).picked.length).toBe(1)
    writeFileSync(files.pool, ['...', '!', 'a good phone', ''].map((text) => `${JSON.stringify({ text })}\n`).join(''))
    const odd = await run('odd', { budget: '2', onBadRow: 'skip' })
    expect(odd.picked).toEqual(['{"text":"a good phone"}'])
    expect(odd.result.notices.map(({ code }) => code)).toEqual(expect.arrayContaining(['no-features', 'under-filled']))
  })
})
