import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openModelDirectory } from '../../src/hub/directory.ts'
import { planShards, type SavedTensor, writeModelDirectory } from '../../src/hub/saving.ts'
import { hashFile } from '../../src/runs/hash.ts'
import { failure, put, SAVED, savedModel, scratch } from './scratch.ts'

const tensors = new Map<string, SavedTensor>([
  ['embed', { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6.1) }],
  ['norm', { shape: [], data: () => Float32Array.of(0.1) }],
  ['head', { shape: [2], data: async () => Float32Array.of(-1, 70000) }],
])
const config = { model_type: 'llama', torch_dtype: 'float32' }

async function readAll(directory: string) {
  await using model = await openModelDirectory(directory)
  const values: Record<string, number[]> = {}
  for (const name of model.weights.names().keys()) values[name] = [...(await model.weights.read(name))]
  return { model, values }
}

describe('a saved model', () => {
  it('is read back, tokenizer and templates included', async () => {
    const directory = join(await scratch(), 'new', 'model')
    const given = {
      tokenizerJson: '{"version":"1.0"}',
      tokenizerConfig: { eos_token: '</s>' },
      generationConfig: { eos_token_id: 2 },
      specialTokensMap: { eos_token: '</s>' },
      chatTemplates: { default: 'D', tool_use: 'T' },
    }
    const records = await writeModelDirectory(directory, { config, tensors, ...given })
    const { model, values } = await readAll(directory)
    expect(model).toMatchObject({ ...given, config })
    expect(values).toEqual({ embed: [1, 2, 3, 4, 5, Math.fround(6.1)], norm: [Math.fround(0.1)], head: [-1, 70000] })
    expect(model.weights.names().get('norm')).toEqual({ dtype: 'F32', shape: [] })
    for (const [name, record] of Object.entries(records)) expect(await hashFile(join(directory, name))).toEqual(record)
  })

  it('is split into shards with an index that names every tensor and the bytes of all', async () => {
    const directory = await scratch()
    await writeModelDirectory(directory, { config, tensors, maximumShardBytes: 28 })
    expect((await readdir(directory)).sort()).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ])
    const index = JSON.parse(await readFile(join(directory, 'model.safetensors.index.json'), 'utf8'))
    expect(index).toEqual({
      metadata: { total_size: 36 },
      weight_map: {
        embed: 'model-00001-of-00002.safetensors',
        norm: 'model-00001-of-00002.safetensors',
        head: 'model-00002-of-00002.safetensors',
      },
    })
    expect((await readAll(directory)).values.head).toEqual([-1, 70000])
  })

  it('names in its config the type that the weights have, under the name that the config uses', async () => {
    const directory = await scratch()
    await writeModelDirectory(directory, { config: { dtype: 'float32' }, tensors, dtype: 'BF16' })
    const { model, values } = await readAll(directory)
    expect(model.config).toEqual({ dtype: 'bfloat16' })
    expect(values.head).toEqual([-1, 70144])
    await writeModelDirectory(directory, { config: {}, tensors, dtype: 'F16' })
    expect((await readAll(directory)).model.config).toEqual({ torch_dtype: 'float16' })
  })

  it('has the bytes that transformers gave the same tensors', async () => {
    const directory = await scratch()
    await using model = await openModelDirectory(SAVED)
    const same = [...model.weights.names()].map(
      ([name, { shape }]) => [name, { shape, data: () => model.weights.read(name) }] as const,
    )
    await writeModelDirectory(directory, { config: model.config, tensors: same })
    const body = async (path: string) => {
      const bytes = await readFile(join(path, 'model.safetensors'))
      return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)))
    }
    expect(Buffer.compare(await body(directory), await body(SAVED))).toBe(0)
  })

  it('replaces another model and leaves nothing of it, but the files of the user', async () => {
    const directory = await scratch()
    await writeModelDirectory(directory, {
      config,
      tensors,
      maximumShardBytes: 1,
      tokenizerJson: '{}',
      chatTemplates: { default: 'old', tool: 'old' },
    })
    await put(directory, { 'README.md': 'mine', 'additional_chat_templates/notes.txt': 'mine' })
    await writeModelDirectory(directory, { config, tensors })
    expect((await readdir(directory)).sort()).toEqual([
      'README.md',
      'additional_chat_templates',
      'config.json',
      'model.safetensors',
    ])
    expect(await readdir(join(directory, 'additional_chat_templates'))).toEqual(['notes.txt'])
  })

  it('leaves the old model whole when a tensor cannot be had', async () => {
    const directory = await savedModel()
    const before = await readAll(directory)
    const torn = new Map([
      ...tensors,
      ['late', { shape: [2], data: () => Promise.reject(new Error('device lost')) }] as const,
    ])
    await expect(writeModelDirectory(directory, { config, tensors: torn, maximumShardBytes: 1 })).rejects.toThrow(
      'device lost',
    )
    const wrong = new Map([['w', { shape: [3], data: Float32Array.of(1) }]])
    await expect(writeModelDirectory(directory, { config, tensors: wrong })).rejects.toThrow(
      /'w' has 1 values.*needs 3/,
    )
    expect((await readAll(directory)).values).toEqual(before.values)
    expect((await readdir(directory)).sort()).toEqual(['config.json', 'model.safetensors'])
  })

  it.skipIf(process.platform === 'win32')(
    'is the old one after a kill, and the next save clears what was left',
    async () => {
      const directory = await savedModel()
      const before = await readAll(directory)
      const child = join(import.meta.dirname, 'killed-save.child.ts')
      expect(spawnSync(process.execPath, [child, directory]).signal).toBe('SIGKILL')
      expect((await readAll(directory)).values).toEqual(before.values)
      expect((await readdir(directory)).length).toBeGreaterThan(2)
      await writeModelDirectory(directory, { config, tensors })
      expect((await readdir(directory)).sort()).toEqual(['config.json', 'model.safetensors'])
    },
  )

  it('is refused as incomplete when the writer ended between its renames', async () => {
    const directory = await savedModel()
    // A directory comes to stand where the first shard, written by then, is to have its name.
    const data = async () => {
      await put(directory, { 'model-00001-of-00002.safetensors/in the way': '' })
      return Float32Array.of(1)
    }
    const late = new Map([...tensors, ['late', { shape: [1], data }] as const])
    const failed = await failure(writeModelDirectory(directory, { config, tensors: late, maximumShardBytes: 36 }))
    expect(failed.fault.file).toBe(join(directory, 'model-00001-of-00002.safetensors'))
    expect((await failure(openModelDirectory(directory))).fault.code).toBe('incomplete-model')
  })

  it('names no file after a template that leads elsewhere', async () => {
    const saving = writeModelDirectory(await scratch(), { config, tensors, chatTemplates: { '../x': '' } })
    expect((await failure(saving)).fault.code).toBe('bad-template-name')
  })
})

describe('the plan of shards', () => {
  it('keeps every tensor once, in order, and no shard of several above the limit', () => {
    const sizes = fc.array(fc.nat(20), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 100 }), (given, limit) => {
        const named = given.map((n, i) => [`t${i}`, { shape: [n], data: new Float32Array(n) }] as const)
        const shards = planShards(named, 'F16', limit)
        expect(shards.flat()).toEqual(named)
        for (const shard of shards) {
          const bytes = shard.reduce((sum, [, { shape }]) => sum + 2 * shape[0], 0)
          expect(bytes <= limit || shard.filter(([, { shape }]) => shape[0] > 0).length === 1).toBe(true)
        }
      }),
    )
  })
})
