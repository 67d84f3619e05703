/** Saves a model in the Hugging Face layout, so that transformers and winnow load it. */

import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { encodeFloats, FLOAT_BYTES, type SavedFormat } from '../models/float-formats.ts'
import { encodeSafetensorsHeader } from '../models/safetensors.ts'
import { errorCode, ioError } from '../runs/fault.ts'
import { type AtomicFile, createAtomicFile, removeStaleTemporaries, syncDirectory } from '../runs/files.ts'
import type { FileRecord } from '../runs/hash.ts'
import { TEMPLATE_FILE, TEMPLATE_FOLDER } from './chat-templates.ts'
import { WEIGHT_INDEX_FILE, WEIGHTS_FILE } from './directory.ts'

export interface SavedTensor {
  shape: readonly number[]
  /** Row-major; a function is called when the tensor's turn comes, so that not all need be in memory at once. */
  data: Float32Array | (() => Float32Array | Promise<Float32Array>)
}

export interface SavedModel {
  /** config.json. Its `dtype` or `torch_dtype` is set to what the weights are saved in. */
  config: Record<string, unknown>
  /** By name, in the order in which they are to stand in the files. Of tied tensors give one, as transformers does. */
  tensors: Iterable<readonly [string, SavedTensor]>
  /** Text of tokenizer.json. */
  tokenizerJson?: string
  tokenizerConfig?: Record<string, unknown>
  generationConfig?: Record<string, unknown>
  specialTokensMap?: Record<string, unknown>
  /** By name, `default` for the one without. A template inside `tokenizerConfig` need not be given again. */
  chatTemplates?: Record<string, string>
  /** Rounded to nearest, ties to even. Default F32. */
  dtype?: SavedFormat
  /** A model with more bytes of tensors than this is split; a larger tensor has a shard of its own. Default 5e9. */
  maximumShardBytes?: number
}

const DTYPE_NAMES: Readonly<Record<SavedFormat, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** Numbers encoded at once: the memory beyond the tensor itself. */
const CHUNK = 1 << 20

/** Files that a model directory's reader gives a meaning to: those of an older model may not stay beside a new one. */
const OWN_FILE =
  /^(model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|chat_template)\.json|chat_template\.jinja)$/

type Named = readonly [string, SavedTensor]

const elements = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** Tensors in order, a new shard begun before the limit would be passed. */
export function planShards(tensors: readonly Named[], dtype: SavedFormat, maximumShardBytes: number): Named[][] {
  const shards: Named[][] = [[]]
  let bytes = 0
  for (const tensor of tensors) {
    const size = FLOAT_BYTES[dtype] * elements(tensor[1].shape)
    if (bytes + size > maximumShardBytes && shards.at(-1)?.length) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1)?.push(tensor)
    bytes += size
  }
  return shards
}

async function writeShard(file: AtomicFile, tensors: readonly Named[], dtype: SavedFormat): Promise<void> {
  await file.write(encodeSafetensorsHeader(tensors, { dtype, metadata: { format: 'pt' } }))
  for (const [name, { shape, data: given }] of tensors) {
    const data = typeof given === 'function' ? await given() : given
    if (data.length !== elements(shape))
      throw new Error(`tensor '${name}' has ${data.length} values, its shape [${shape}] needs ${elements(shape)}`)
    for (let at = 0; at < data.length; at += CHUNK) await file.write(encodeFloats(data.subarray(at, at + CHUNK), dtype))
  }
}

function configWithDtype(config: Record<string, unknown>, dtype: SavedFormat): Record<string, unknown> {
  // transformers 5 loads in the dtype that the config names; `torch_dtype` is its older name, which both read.
  const names = ['dtype', 'torch_dtype'].filter((name) => name in config)
  const named = Object.fromEntries(
    (names.length === 0 ? ['torch_dtype'] : names).map((name) => [name, DTYPE_NAMES[dtype]]),
  )
  return { ...config, ...named }
}

/**
 * Writes `path` as a model directory: model.safetensors, or numbered shards and their index, the tokenizer's files, config.json.
 * Tensors are streamed; beyond one tensor about 8 MiB are held. Returns size and sha256 of every file by its name.
 *
 * Everything is first written under temporary names, which takes all the time and all the space, and needs the space of the old
 * model as well where one is replaced. A failure or a kill until then leaves the old directory as it was. Then config.json is taken
 * away, the files get their names, files of the old model that have no successor are removed, and config.json comes last: a kill
 * within these renames leaves a directory without config.json, which `openModelDirectory` and transformers refuse.
 * (Not a rename of the whole directory: the path may be a mount point, or hold other files of the user, which stay.)
 *
 * @throws {WinnowError} `disk-full`, `unwritable-output`, … as `createAtomicFile`.
 */
export async function writeModelDirectory(path: string, model: SavedModel): Promise<Record<string, FileRecord>> {
  const files = new Map<string, AtomicFile>()
  await removeStaleTemporaries(path)
  try {
    await writeTemporaries(path, model, files)
    return await takePlaces(path, files)
  } finally {
    for (const file of files.values()) await file[Symbol.asyncDispose]()
  }
}

async function writeTemporaries(path: string, model: SavedModel, files: Map<string, AtomicFile>): Promise<void> {
  const { dtype = 'F32', maximumShardBytes = 5e9 } = model
  const tensors = [...model.tensors]
  const shards = planShards(tensors, dtype, maximumShardBytes)
  const begin = async (name: string) => {
    const file = await createAtomicFile(join(path, name))
    files.set(name, file)
    return file
  }
  const weightMap: Record<string, string> = {}
  for (const [i, shard] of shards.entries()) {
    const number = (n: number) => String(n).padStart(5, '0')
    const name = shards.length === 1 ? WEIGHTS_FILE : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`
    await writeShard(await begin(name), shard, dtype)
    for (const [tensor] of shard) weightMap[tensor] = name
  }
  const texts = modelTexts(model, dtype)
  if (shards.length > 1) {
    const size = FLOAT_BYTES[dtype] * tensors.reduce((sum, [, { shape }]) => sum + elements(shape), 0)
    texts.push([WEIGHT_INDEX_FILE, json({ metadata: { total_size: size }, weight_map: weightMap })])
  }
  for (const [name, text] of texts) if (text !== undefined) await (await begin(name)).write(text)
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`

function modelTexts(model: SavedModel, dtype: SavedFormat): [string, string | undefined][] {
  return [
    ['config.json', json(configWithDtype(model.config, dtype))],
    ['tokenizer.json', model.tokenizerJson],
    ['tokenizer_config.json', model.tokenizerConfig && json(model.tokenizerConfig)],
    ['special_tokens_map.json', model.specialTokensMap && json(model.specialTokensMap)],
    ['generation_config.json', model.generationConfig && json(model.generationConfig)],
    ...Object.entries(model.chatTemplates ?? {}).map(([name, text]): [string, string] => [templateFile(name), text]),
  ]
}

function templateFile(name: string): string {
  if (name === 'default') return TEMPLATE_FILE
  if (/^[\w.-]+$/.test(name)) return `${TEMPLATE_FOLDER}/${name}.jinja`
  throw new WinnowError('input', {
    code: 'bad-template-name',
    message: `the chat template's name '${name}' cannot be a file name`,
    expected: 'letters, digits, dots, dashes and underscores',
  })
}

/** Gives the written files their names, config.json last; it is away while the others change. */
async function takePlaces(path: string, files: Map<string, AtomicFile>): Promise<Record<string, FileRecord>> {
  await removeFile(join(path, 'config.json'))
  await syncDirectory(path)
  const records: Record<string, FileRecord> = {}
  for (const [name, file] of files) if (name !== 'config.json') records[name] = await file.commit()
  const folder = join(path, TEMPLATE_FOLDER)
  for (const name of await readdir(path))
    if (OWN_FILE.test(name) && !files.has(name)) await removeFile(join(path, name))
  for (const name of await readdir(folder).catch(() => []))
    if (name.endsWith('.jinja') && !files.has(`${TEMPLATE_FOLDER}/${name}`)) await removeFile(join(folder, name))
  records['config.json'] = await (files.get('config.json') as AtomicFile).commit()
  return records
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error) => {
    if (errorCode(error) !== 'ENOENT') throw ioError(error, path, 'write')
  })
}
