/** A model on the local hub, and what is needed to fetch it. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { ResolveOptions } from '../../src/hub/resolve.ts'
import { writeSafetensors } from '../../src/models/safetensors.ts'
import { SAVED, scratch } from './scratch.ts'
import { type HubRepository, type LocalHub, startHub } from './server.ts'

export const ID = 'tiny-org/tiny-llama'
export const COMMIT = 'c0ffee'.repeat(6) + 'beef'
export const OLDER = 'ab'.repeat(20)

const text = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))

/** Config, tokenizer files, weights, and much that a model is not read from. */
export async function modelFiles(): Promise<Record<string, Uint8Array>> {
  return {
    '.gitattributes': text('*.safetensors filter=lfs'),
    'README.md': text('# tiny'),
    'config.json': await readFile(join(SAVED, 'config.json')),
    'generation_config.json': text({ eos_token_id: 2 }),
    'model.safetensors': await readFile(join(SAVED, 'model.safetensors')),
    'modeling_tiny.py': text('raise SystemExit'),
    'onnx/model.onnx': text('onnx'),
    'pytorch_model.bin': text('pickle'),
    'tokenizer.json': text({ version: '1.0', model: { type: 'BPE' } }),
    'tokenizer_config.json': text({ eos_token: '</s>' }),
    'additional_chat_templates/tool_use.jinja': text('{{ tools }}'),
    'chat_template.jinja': text('{{ messages }}'),
  }
}

/** The same in two shards of two tensors each. */
export async function shardedFiles(): Promise<Record<string, Uint8Array>> {
  const { 'model.safetensors': _, ...files } = await modelFiles()
  const shard = (...names: string[]) =>
    writeSafetensors(new Map(names.map((name) => [name, { shape: [3], data: Float32Array.of(1, 2, name.length) }])))
  const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  return {
    ...files,
    [first]: shard('a', 'bb'),
    [second]: shard('ccc', 'dddd'),
    'model.safetensors.index.json': text({
      metadata: {},
      weight_map: { a: first, bb: first, ccc: second, dddd: second },
    }),
  }
}

export interface Situation {
  hub: LocalHub
  /** Everything but the model's name: the local hub, a cache of its own, waits that are recorded and not waited. */
  options: ResolveOptions & { cacheDir: string }
  /** Milliseconds of every wait. */
  waits: number[]
  /** The repository's folder in the cache. */
  folder: string
}

/** A hub with one model, an empty cache, no token. */
export async function situation(
  files?: Record<string, Uint8Array>,
  repository: Partial<HubRepository> = {},
): Promise<Situation> {
  const commits = { [COMMIT]: files ?? (await modelFiles()) }
  const hub = await startHub({ [ID]: { refs: { main: COMMIT, 'v1.0': COMMIT }, commits, ...repository } })
  onTestFinished(() => hub[Symbol.asyncDispose]())
  const cacheDir = await scratch()
  const waits: number[] = []
  const sleep = async (milliseconds: number) => {
    waits.push(milliseconds)
  }
  const options = { endpoint: hub.endpoint, cacheDir, token: false as const, offline: false, sleep }
  return { hub, options, waits, folder: join(cacheDir, 'models--tiny-org--tiny-llama') }
}
