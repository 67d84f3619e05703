import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import type { PipelineEvent } from '../../src/pipeline/events.ts'
import { type GeneratedText, type GenerateTextsOptions, generateTexts } from '../../src/pipeline/generate.ts'
import { CHAT_TEMPLATE, storiesDirectory, type TinyModel, tinyModel } from './models.ts'
import { directory, poolLines, writePool } from './pools.ts'

const texts = (path: string): GeneratedText[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

function prepared(lines = poolLines({ svamp: 9, gsm8k: 2 }), tiny: TinyModel = {}) {
  const home = directory()
  const pool = join(home, 'pool.jsonl')
  writePool(pool, lines)
  const model = tinyModel(join(home, 'model'), { ...tiny, config: { max_position_embeddings: 512, ...tiny.config } })
  const out = join(home, 'texts.jsonl')
  const run = (
    more: Partial<GenerateTextsOptions> = {},
    context: { onEvent?: (event: PipelineEvent) => void; signal?: AbortSignal } = {},
  ) =>
    generateTexts(
      { ...{ pool: [pool], proxy: model, out, run: join(home, 'run'), threads: 1, maxNewTokens: 6 }, ...more },
      { ort, ...context },
    )
  return { home, pool, lines, model, out, run }
}

describe('generate', () => {
  it('continues a text as stories260K does', async () => {
    const { home, run } = prepared([JSON.stringify({ text: 'Once upon a time, there was a little girl named' })])
    const proxy = storiesDirectory(join(home, 'stories'))
    const events: PipelineEvent[] = []
    const result = await run({ proxy, maxNewTokens: 40 }, { onEvent: (event) => events.push(event) })
    const [line] = texts(result.out.path)
    expect(line).toMatchObject({ row: 0, line: 1, sample: 0, tokens: 40, ended: 'length' })
    expect(line.prompt).toContain('Once upon a time')
    // How the story goes on that llama2.c's own tests expect of this model.
    expect(line.text).toMatch(/^ Lily\. She loved to play outside in the park\. One day, she saw a big/)
    expect(line).not.toHaveProperty('reference')
    expect(result).toMatchObject({ rows: 1, texts: 1, tokens: 40, ended: { window: 0, length: 1 } })
    expect(result.notices).toContainEqual(expect.objectContaining({ code: 'length' }))
    expect(events.flatMap((event) => (event.kind === 'stage-end' ? [event.stage] : []))).toEqual([
      ...['model', 'read', 'tokens', 'generate', 'write'],
    ])
    expect(JSON.parse(readFileSync(join(home, 'run/manifest.json'), 'utf8'))).toMatchObject({
      ...{ status: 'done', counts: { rows: 1, texts: 1, generated: 40 } },
      config: { proxy, maxNewTokens: 40, temperature: 0, samples: 1 },
    })
  })

  it('answers the last question of a conversation, written by the chat template, beside its own answer', async () => {
    const chat = (...contents: string[]) =>
      JSON.stringify({
        messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
      })
    const { run, pool } = prepared([chat('One?', 'Yes, one.'), chat('Two?', 'No.', 'Why?', 'Just so.')], {
      template: CHAT_TEMPLATE,
    })
    const { out } = await run()
    const [one, two] = texts(out.path)
    expect([one.reference, two.reference]).toEqual(['Yes, one.', 'Just so.'])
    expect(one.prompt).toMatch(/user: One\?\nassistant: ?$/)
    expect(two.prompt).toMatch(/user: Two\?\nassistant: No\.<\/s> ?\nuser: Why\?\nassistant: ?$/)
    expect([one, two].map(({ row, file, line }) => [row, file, line])).toEqual([
      [0, pool, 1],
      [1, pool, 2],
    ])
  })

  it('gives the same bytes whatever the batch and the threads', async () => {
    const { run, out, home } = prepared()
    const asked = { temperature: 1, topP: 0.9, samples: 3, seed: 7 }
    await run(asked)
    const first = readFileSync(out, 'utf8')
    expect(first.trimEnd().split('\n')).toHaveLength(33)
    const other = join(home, 'other.jsonl')
    await run({ ...asked, out: other, run: join(home, 'other'), batch: 2, threads: 2 })
    expect(readFileSync(other, 'utf8')).toBe(first)
    const again = await run({ ...asked, seed: 8, out: join(home, 'seed.jsonl') })
    expect(readFileSync(again.out.path, 'utf8')).not.toBe(first)
  })

  it('goes on after the last finished part when it was stopped, to the same bytes', async () => {
    const { run, out, home } = prepared(poolLines({ svamp: 20, gsm8k: 0 }))
    await run({ batch: 1, out: join(home, 'whole.jsonl'), run: join(home, 'whole') })
    const stop = new AbortController()
    const stopped = run(
      { batch: 1 },
      {
        signal: stop.signal,
        onEvent: (event) => {
          // Behind the first part of eight rows.
          if (event.kind === 'stage-progress' && event.stage === 'generate' && event.progress.fraction > 0.5)
            stop.abort(new Error('enough'))
        },
      },
    )
    await expect(stopped).rejects.toThrow('enough')
    const [key] = readdirSync(join(home, 'run/generated'))
    const parts = readdirSync(join(home, 'run/generated', key))
    expect(parts).toEqual(['rows-000000000.json'])
    let resumed = 0
    const result = await run(
      { batch: 1 },
      {
        onEvent: (event) => {
          if (event.kind === 'stage-start' && event.stage === 'generate') resumed = event.resumedParts
        },
      },
    )
    expect(resumed).toBe(1)
    expect(readFileSync(out, 'utf8')).toBe(readFileSync(join(home, 'whole.jsonl'), 'utf8'))
    expect(result.texts).toBe(20)
    const cached = await run({ batch: 1 })
    expect(cached.stages.find(({ name }) => name === 'generate')?.cached).toBe(true)
  })

  it('leaves rows without a text that the chat template refuses', async () => {
    const chat = (user: string) => [
      { role: 'user', content: user },
      { role: 'assistant', content: 'Yes, said Lily.' },
    ]
    const lines = ['What?', 'the unspeakable', 'Why?'].map((user) => JSON.stringify({ messages: chat(user) }))
    const { run } = prepared(lines, { template: CHAT_TEMPLATE })
    const result = await run({ onBadRow: 'skip', temperature: 2, samples: 2 })
    expect(texts(result.out.path).map(({ row, sample }) => [row, sample])).toEqual([
      ...[0, 2].flatMap((row) => [0, 1].map((sample) => [row, sample])),
    ])
  })

  it('tells of texts that the window ended', async () => {
    const { run } = prepared(poolLines({ svamp: 3, gsm8k: 0 }))
    const result = await run({ maxLength: 8 })
    expect(texts(result.out.path).every(({ ended, tokens }) => ended === 'window' && tokens === 0)).toBe(true)
    expect(result.notices).toContainEqual(expect.objectContaining({ code: 'window' }))
  })

  it('writes JSON Lines only, and replaces nothing that is not its own', async () => {
    const { run, out, pool } = prepared(poolLines({ svamp: 3, gsm8k: 0 }))
    await expect(run({ out: 'texts.parquet' })).rejects.toMatchObject({ fault: { code: 'unknown-output' } })
    await expect(run({ out: pool, overwrite: true })).rejects.toMatchObject({ fault: { code: 'output-is-input' } })
    await run()
    await run({ threads: 2 })
    writeFileSync(out, 'mine')
    await expect(run()).rejects.toMatchObject({ fault: { code: 'output-exists', file: out } })
    await run({ overwrite: true })
    expect(texts(out)).toHaveLength(3)
  })

  it.each([
    [{ proxy: undefined }, 'no-model', '--model'],
    [{ proxy: 'nano' }, 'no-model', '--model'],
    [{ proxy: 'nano:64x2' }, 'no-model', '--model'],
    [{ temperature: -1 }, 'bad-option', '--temperature'],
    [{ topP: 1.5, temperature: 1 }, 'bad-option', '--top-p'],
    [{ samples: 2 }, 'bad-option', '--samples'],
    [{ maxNewTokens: 0 }, 'bad-option', '--max-new-tokens'],
  ])('refuses %o', async (more, code, path) => {
    await expect(prepared().run(more)).rejects.toMatchObject({ fault: { code, path } })
  })
})
