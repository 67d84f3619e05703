/** Commands that use a model, through the real command line and a hub on this machine. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startHub } from '../hub/server.ts'
import { tinyModel } from '../pipeline/models.ts'
import { emptyDirectory, winnow } from './command.ts'

const ID = 'tiny-org/tiny'
const COMMIT = '0123456789abcdef'.repeat(3).slice(0, 40)

/** A directory with a pool of short rows, a hub with a tiny model, and what leads there. */
async function situation() {
  const cwd = emptyDirectory()
  const rows = Array.from({ length: 12 }, (_, i) =>
    JSON.stringify({ question: `What is ${i} and ${i + 1}?`, answer: `It is ${2 * i + 1}, said Lily.` }),
  )
  writeFileSync(join(cwd, 'pool.jsonl'), rows.map((row) => `${row}\n`).join(''))
  const model = tinyModel(join(cwd, 'model'))
  const files = Object.fromEntries(
    readdirSync(model).map((name) => [name, new Uint8Array(readFileSync(join(model, name)))]),
  )
  const hub = await startHub({ [ID]: { refs: { main: COMMIT }, commits: { [COMMIT]: files } } })
  onTestFinished(() => hub[Symbol.asyncDispose]())
  const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(cwd, 'cache'), HF_TOKEN: '', HF_HUB_OFFLINE: '' }
  const run = (...words: string[]) => winnow([...words, '--device', 'cpu', '--threads', '1'], { cwd, env })
  return { cwd, hub, run }
}

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'))

describe('a model of the hub', () => {
  it('is fetched once, pinned in the manifest, and used again without the hub', async () => {
    const { cwd, hub, run } = await situation()
    const { code, stdout, stderr } = await run('score', 'pool.jsonl', '--proxy', ID)
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'pool.scores.parquet\n' })
    expect(stderr).toMatch(/open model +[\d.]+ s +tiny-org\/tiny at 01234567: llama, 0\.0M parameters/)
    expect(stderr).toMatch(/Scored \d+ of \d+ tokens in 12 rows\./)
    expect(stderr).toMatch(/mean +\d\.\d{3} nats a token, perplexity \d+/)
    expect(json(cwd, 'pool.scores.winnow/manifest.json').facts.model).toEqual({
      source: { kind: 'hub', id: ID, revision: COMMIT },
      hash: expect.any(String),
    })
    const asked = hub.requests.length
    const offline = await run('score', 'pool.jsonl', '--proxy', ID, '--offline', '--json')
    expect(offline.code).toBe(0)
    expect(hub.requests).toHaveLength(asked)
    expect(JSON.parse(offline.stdout)).toMatchObject({
      ...{ rows: 12, unscored: 0, model: { name: ID, revision: COMMIT } },
      stages: [
        { name: 'read', cached: true },
        { name: 'tokens', cached: true },
        { name: 'score', cached: true },
        { name: 'write' },
      ],
    })
  })

  it('is a proxy, in a run that can be replayed', async () => {
    const { cwd, run } = await situation()
    const first = await run('select', 'pool.jsonl', '-b', '4', '--proxy', ID, '--epochs', '1', '--checkpoints', '1')
    expect(first).toMatchObject({ code: 0, stdout: 'pool.selected.jsonl\n' })
    const words = ['--config', 'pool.winnow', '--out', 'again.jsonl', '--run', 'again', '--json']
    const again = await run('select', ...words)
    expect(JSON.parse(again.stdout)).toMatchObject({ selected: 4 })
    expect(readFileSync(join(cwd, 'again.jsonl'))).toEqual(readFileSync(join(cwd, 'pool.selected.jsonl')))
    const { config, facts } = json(cwd, 'again/manifest.json')
    expect(config).toMatchObject({ proxy: ID, revision: COMMIT, epochs: 1, maxLength: 128 })
    expect(facts.proxy.source).toEqual({ kind: 'hub', id: ID, revision: COMMIT })
    // The tokens of a row are those of the run's model.
    const explained = await winnow(['explain', 'pool.jsonl', '--row', '0', '--tokens', '--json', '--offline'], {
      cwd,
      env: { HF_HOME: join(cwd, 'cache') },
    })
    expect(JSON.parse(explained.stdout).tokens).toMatchObject({
      maxLength: 128,
      tokenizer: { kind: 'model', name: ID },
    })
  })

  it('is tuned into a directory that is a model itself', async () => {
    const { cwd, run } = await situation()
    const words = ['--epochs', '4', '--learning-rate', '2e-3', '--lora', '2']
    const tuned = await run('train', 'pool.jsonl', '--model', ID, ...words)
    expect(tuned).toMatchObject({ code: 0, stdout: 'pool.model\n' })
    expect(tuned.stderr).toMatch(/Trained [\d.]+ k parameters on 12 rows, 4 epochs, \d+ steps\./)
    expect(tuned.stderr).toMatch(/adapters +pool\.model\/adapter/)
    expect(existsSync(join(cwd, 'pool.model/adapter/adapter_model.safetensors'))).toBe(true)
    expect(json(cwd, 'pool.model/adapter/adapter_config.json')).toMatchObject({
      base_model_name_or_path: ID,
      revision: COMMIT,
    })
    const nll = async (proxy: string, out: string) => {
      const { stdout } = await run(
        'score',
        'pool.jsonl',
        '--proxy',
        proxy,
        '--out',
        out,
        '--run',
        `${out}.run`,
        '--json',
      )
      return JSON.parse(stdout).nll
    }
    expect(await nll('pool.model', 'tuned.parquet')).toBeLessThan(await nll(ID, 'base.parquet'))
  })

  it('is planned without being trained: what it costs, and what of memory', async () => {
    const { cwd, run } = await situation()
    const { code, stderr } = await run('select', 'pool.jsonl', '-b', '4', '--proxy', ID, '--dry-run', '--lora', '2')
    expect(code).toBe(0)
    expect(stderr).toMatch(/proxy +tiny-org\/tiny, [\d.]+ k parameters, vocabulary 512/)
    expect(stderr).toMatch(/training +3 epochs, \d+ steps, \d+ checkpoints, 2\.05 k trained parameters/)
    expect(stderr).toMatch(/memory +at least [\d.]+ MB to train/)
    expect(readdirSync(cwd).sort()).toEqual(['cache', 'model', 'pool.jsonl'])
  })
})
