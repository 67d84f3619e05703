import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { writeColumns } from '../../src/dataset/columns.ts'
import { Database } from '../../src/dataset/parquet.ts'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { type ScoreOptions, score } from '../../src/pipeline/score.ts'
import { select } from '../../src/pipeline/select.ts'
import { storiesNll } from '../models/fixtures.ts'
import { CHAT_TEMPLATE, storiesDirectory, type TinyModel, tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

interface Row {
  row: number
  file: string
  line: number
  tokens: number
  scored: number
  nll: number | null
  perplexity: number | null
  cut: boolean
  token_ids: number[]
  token_nll: (number | null)[]
}

async function table(path: string): Promise<Row[]> {
  await using database = await Database.open()
  return (await database.connection.runAndReadAll(`SELECT * FROM '${path}'`)).getRowObjectsJson() as unknown as Row[]
}

function prepared(lines = poolLines({ svamp: 12, gsm8k: 2 }), tiny: TinyModel = {}) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, lines)
  const model = tinyModel(join(home, 'model'), { ...tiny, config: { max_position_embeddings: 512, ...tiny.config } })
  const out = join(home, 'scores.parquet')
  const run = (more: Partial<ScoreOptions> = {}, onEvent?: (event: PipelineEvent) => void) =>
    score(
      { ...{ pool: [pool], proxy: model, out, run: join(home, 'run'), threads: 1, perToken: true }, ...more },
      { ort, onEvent },
    )
  return { home, pool, lines, model, out, run }
}

const present = (values: (number | null)[]): number[] => values.filter((value) => value !== null)
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0)

describe('score', () => {
  it("gives stories260K's tokens the likelihoods of an independent float64 implementation", async () => {
    const reference = storiesNll() as unknown as { text: string; ids: number[]; nll: number[] }[]
    const { home, run, out } = prepared(reference.map(({ text }) => JSON.stringify({ text })))
    const events: PipelineEvent[] = []
    const proxy = storiesDirectory(join(home, 'stories'))
    const result = await run({ proxy }, (event) => events.push(event))
    const rows = await table(out)
    expect(rows).toHaveLength(15)
    rows.forEach(({ row, line, tokens, scored, nll, perplexity, cut, token_ids, token_nll }, i) => {
      const { ids, nll: expected } = reference[i]
      // Winnow ends a text with </s>, which the reference does not have.
      expect(token_ids).toEqual([...ids, 2])
      expect(token_nll[0]).toBeNull()
      expected.forEach((value, j) => {
        expect(Math.abs((token_nll[j + 1] as number) - value)).toBeLessThan(2e-5)
      })
      expect({ row, line, tokens, scored, cut }).toEqual({
        ...{ row: i, line: i + 1, cut: false },
        ...{ tokens: ids.length + 1, scored: ids.length },
      })
      expect(nll).toBeCloseTo(sum(present(token_nll)) / ids.length, 6)
      expect(perplexity).toBeCloseTo(Math.exp(nll as number), 6)
    })
    const all = rows.flatMap(({ token_nll }) => present(token_nll))
    expect(result).toMatchObject({ rows: 15, unscored: 0, tokens: { read: all.length + 15, scored: all.length } })
    expect(result.nll).toBeCloseTo(sum(all) / all.length, 6)
    expect(result.perplexity).toBeCloseTo(Math.exp(result.nll), 6)
    expect(events.flatMap((event) => (event.kind === 'stage-end' ? [event.stage] : []))).toEqual([
      ...['model', 'read', 'tokens', 'score', 'write'],
    ])
    const manifest = JSON.parse(readFileSync(join(home, 'run/manifest.json'), 'utf8'))
    expect(manifest).toMatchObject({
      status: 'done',
      config: { proxy, maxLength: 512, perToken: true },
      counts: { rows: 15, scored: all.length },
      facts: { model: { source: { kind: 'directory' }, hash: expect.stringMatching(/^[0-9a-f]{64}$/) } },
    })
  })

  it('scores responses, or with allTokens everything, to the same numbers', async () => {
    const { run, home } = prepared()
    const responses = await table((await run()).out.path)
    const result = await run({ allTokens: true, out: join(home, 'all.parquet') })
    const all = await table(result.out.path)
    expect(result.tokens.scored).toBe(result.tokens.read - 14)
    responses.forEach(({ token_ids, token_nll, scored, tokens }, i) => {
      expect(all[i]).toMatchObject({ token_ids, scored: tokens - 1 })
      expect(scored).toBe(present(token_nll).length)
      expect(scored).toBeLessThan(tokens - 1)
      // Prompt first: what is scored is the row's end.
      expect(token_nll.slice(-scored).every((value) => value !== null)).toBe(true)
      token_nll.forEach((value, j) => {
        if (value !== null) expect(all[i].token_nll[j]).toBeCloseTo(value, 4)
      })
    })
  })

  it('cuts long rows and says so; a row without a scored token inside has no likelihood', async () => {
    const { run } = prepared()
    const full = await table((await run()).out.path)
    const result = await run({ maxLength: 80, overwrite: true })
    const cut = await table(result.out.path)
    const unscored = cut.filter(({ nll }) => nll === null)
    expect(result.unscored).toBe(unscored.length)
    expect(unscored.length).toBeGreaterThan(0)
    expect(unscored.length).toBeLessThan(cut.length)
    cut.forEach((row, i) => {
      const kept = Math.min(80, full[i].tokens)
      expect(row).toMatchObject({ tokens: kept, cut: full[i].tokens > 80, token_ids: full[i].token_ids.slice(0, kept) })
      expect(row.scored).toBe(present(full[i].token_nll.slice(0, kept)).length)
      if (row.scored === 0) expect(row).toMatchObject({ nll: null, perplexity: null })
      row.token_nll.forEach((value, j) => {
        const whole = full[i].token_nll[j]
        if (value === null) expect(whole).toBeNull()
        else expect(value).toBeCloseTo(whole as number, 4)
      })
    })
  })

  it('where no row has a scored token, all likelihoods are null and the mean is none', async () => {
    const { run } = prepared(poolLines({ svamp: 3, gsm8k: 0 }))
    const result = await run({ maxLength: 8 })
    expect(result).toMatchObject({ rows: 3, unscored: 3, nll: Number.NaN, perplexity: Number.NaN })
    expect((await table(result.out.path)).every(({ nll }) => nll === null)).toBe(true)
  })

  it('leaves rows without a likelihood that the chat template refuses', async () => {
    const chat = (user: string) => [
      { role: 'user', content: user },
      { role: 'assistant', content: 'Yes, said Lily.' },
    ]
    const lines = ['What?', 'the unspeakable', 'Why?'].map((user) => JSON.stringify({ messages: chat(user) }))
    const { run, pool } = prepared(lines, { template: CHAT_TEMPLATE })
    await expect(run()).rejects.toMatchObject({ fault: { code: 'chat-template', file: pool, line: 2 } })
    const result = await run({ onBadRow: 'skip' })
    expect(result).toMatchObject({ rows: 3, unscored: 1 })
    expect(result.notices).toContainEqual(expect.objectContaining({ code: 'refused-rows', rows: 1 }))
    const rows = await table(result.out.path)
    expect(rows[1]).toMatchObject({ tokens: 0, scored: 0, nll: null, perplexity: null, token_ids: [], token_nll: [] })
    expect(rows.map(({ row, line, nll }) => [row, line, nll !== null])).toEqual([
      [0, 1, true],
      [1, 2, false],
      [2, 3, true],
    ])
  })

  it('reads Parquet too, to the same likelihoods', async () => {
    const { run, home, lines } = prepared()
    const parquet = join(home, 'pool.parquet')
    const fields = ['question', 'answer'] as const
    const records = lines.map((line) => JSON.parse(line))
    await writeColumns(
      parquet,
      Object.fromEntries(fields.map((field) => [field, records.map((record) => record[field])])),
    )
    const fromLines = await table((await run({ perToken: false })).out.path)
    const fromParquet = await table(
      (await run({ perToken: false, pool: [parquet], out: join(home, 'p.parquet') })).out.path,
    )
    expect(Object.keys(fromLines[0])).not.toContain('token_nll')
    expect(fromParquet).toEqual(fromLines.map((row) => ({ ...row, file: parquet, line: row.row + 1 })))
    // The pool is never written over, whatever is said.
    await expect(run({ pool: [parquet], out: parquet, overwrite: true })).rejects.toMatchObject({
      fault: { code: 'output-is-input' },
    })
  })

  it('writes over a file only where it is its own of the same command, or where asked to', async () => {
    const { run, out, home, model } = prepared(poolLines({ svamp: 4, gsm8k: 0 }))
    const refused = { exitCode: 2, fault: { code: 'output-exists', file: out } }
    writeFileSync(out, 'mine')
    await expect(run()).rejects.toMatchObject(refused)
    expect(readFileSync(out, 'utf8')).toBe('mine')
    expect(readdirSync(home).sort()).toEqual(['model', 'pool.jsonl', 'scores.parquet'])

    const first = await run({ overwrite: true })
    expect((await run({ threads: 2 })).out).toEqual(first.out)
    const other = tinyModel(join(home, 'other'), { seed: 1, config: { max_position_embeddings: 512 } })
    await expect(run({ proxy: other })).rejects.toMatchObject(refused)
    await expect(run({ allTokens: true })).rejects.toMatchObject(refused)
    writeFileSync(out, 'mine again')
    await expect(run({ proxy: model })).rejects.toMatchObject(refused)
    expect(readFileSync(out, 'utf8')).toBe('mine again')
    await expect(run({ out: join(home, 'scores.csv') })).rejects.toMatchObject({
      exitCode: 2,
      fault: { code: 'unknown-output', expected: 'a name that ends with .parquet' },
    })
  })

  it('of several checkpoints makes the losses that select imports', async () => {
    const { run, home, pool } = prepared(poolLines({ svamp: 12, gsm8k: 0 }))
    const folder = join(home, 'losses')
    mkdirSync(folder)
    const nll: (number | null)[][] = []
    for (const step of [100, 20, 300]) {
      const proxy = tinyModel(join(home, `step-${step}`), { seed: step, config: { max_position_embeddings: 512 } })
      const { out } = await run({ proxy, out: join(folder, `step-${step}.parquet`), run: join(home, `${step}.run`) })
      nll.push((await table(out.path)).map((row) => row.nll))
    }
    const result = await select(
      {
        ...{ pool: [pool], budget: '5', run: join(home, 'select'), out: join(home, 'selected.jsonl') },
        ...{ signals: { trajectories: folder }, threads: 1 },
      },
      { ort },
    )
    expect(result).toMatchObject({ selected: 5, imported: { steps: [20, 100, 300], rows: 12, incomplete: 0 } })
    await using database = await Database.open()
    const found = await database.connection.runAndReadAll(`SELECT nll_first, nll_last FROM '${result.selectionFile}'`)
    found.getRowObjects().forEach(({ nll_first, nll_last }, row) => {
      expect([nll_first, nll_last]).toEqual([nll[1][row], nll[2][row]].map((value) => Math.fround(value as number)))
    })
  })

  it('names the row whose loss is not finite', async () => {
    const { run, model } = prepared(poolLines({ svamp: 3, gsm8k: 0 }))
    // Finite weights whose products are not.
    tinyModel(model, { config: { max_position_embeddings: 512 }, scale: 1e18 })
    await expect(run()).rejects.toMatchObject({
      exitCode: 1,
      fault: { code: 'not-finite', message: expect.stringMatching(/row \d/), hint: expect.stringContaining('float32') },
    })
  })
})
