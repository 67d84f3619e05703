/** A model directory in the Hugging Face layout: config.json, tokenizer files, safetensors weights. Nothing in it is ever executed. */

import { readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from '../runs/fault.ts'
import { type FileRecord, hashFile } from '../runs/hash.ts'
import { maybeChatTemplates, TEMPLATE_FILE, TEMPLATE_FOLDER, templateNames } from './chat-templates.ts'
import { maybeObject, maybeText } from './json-files.ts'
import type { ModelFiles, ModelSource, ModelTexts, WeightFiles } from './model-files.ts'
import { noSafetensors } from './refusals.ts'
import { openSafetensors, openShards } from './weights.ts'

export const WEIGHTS_FILE = 'model.safetensors'
export const WEIGHT_INDEX_FILE = 'model.safetensors.index.json'
/** Small files that a model is read from, where it has them; further chat templates have a folder of their own. */
export const TEXT_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  TEMPLATE_FILE,
  'chat_template.json',
]

const EXPECTED = 'a directory with config.json, tokenizer.json and model.safetensors'

/** Names in the directory; its absence is `missing-model`. */
export async function listDirectory(path: string, expected = EXPECTED): Promise<string[]> {
  try {
    return (await readdir(path)).sort()
  } catch (error) {
    const code = errorCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw ioError(error, path, 'read')
    throw new WinnowError(
      'input',
      {
        code: 'missing-model',
        message:
          code === 'ENOENT' ? 'the model directory does not exist' : 'a file stands where a model directory was named',
        file: path,
        expected,
        hint: 'Check the path; a model of the hub is named owner/name.',
      },
      { cause: error },
    )
  }
}

async function openWeights(directory: string, names: readonly string[]): Promise<WeightFiles> {
  // transformers, too, takes the single file where both are there.
  if (names.includes(WEIGHTS_FILE)) return await openSafetensors(join(directory, WEIGHTS_FILE))
  if (names.includes(WEIGHT_INDEX_FILE)) return await openShards(directory, WEIGHT_INDEX_FILE)
  throw noSafetensors(directory, names)
}

export interface OpenOptions {
  /** Default: the directory itself. */
  source?: ModelSource
  notices?: readonly string[]
}

/**
 * Reads the small files of a model directory, whichever are there; it need not hold weights.
 *
 * @throws {WinnowError} `missing-model`, `bad-json`, `file-too-large`, `lfs-pointer`.
 */
export async function readModelTexts(path: string, options: OpenOptions = {}): Promise<ModelTexts> {
  const { source = { kind: 'directory', id: path }, notices = [] } = options
  await listDirectory(path)
  const object = (name: string) => maybeObject(join(path, name))
  const config = await object('config.json')
  const tokenizerConfig = await object('tokenizer_config.json')
  return {
    directory: path,
    source,
    config,
    remoteCode: config?.auto_map as Record<string, unknown> | undefined,
    generationConfig: await object('generation_config.json'),
    tokenizerJson: await maybeText(join(path, 'tokenizer.json')),
    tokenizerConfig,
    specialTokensMap: await object('special_tokens_map.json'),
    chatTemplates: await maybeChatTemplates(path, tokenizerConfig),
    notices,
  }
}

/**
 * Opens a model directory. Reads the small files whole and the headers of the weights.
 *
 * @throws {WinnowError} `missing-model`; `incomplete-model` where config.json is missing; `bad-json`; `file-too-large`; `lfs-pointer`; `pickled-weights`
 * where the only weights would have to be unpickled, which runs code; `adapter-only`; `no-safetensors`; as `openSafetensors` and
 * `openShards`.
 */
export async function openModelDirectory(path: string, options: OpenOptions = {}): Promise<ModelFiles> {
  const { config, ...texts } = await readModelTexts(path, options)
  const names = await listDirectory(path)
  if (config === undefined)
    throw new WinnowError('input', {
      code: 'incomplete-model',
      message: 'the model directory has no config.json',
      file: path,
      found: names.length === 0 ? 'an empty directory' : names.slice(0, 8).join(', '),
      hint: 'A model saved by winnow or fetched to its end has one: save or fetch it again, or check the path.',
    })
  const weights = await openWeights(path, names)
  let hashes: Promise<Record<string, FileRecord>> | undefined
  return {
    ...texts,
    config,
    weights,
    hashes: () => {
      hashes ??= hashAll(path, names, weights)
      return hashes
    },
    [Symbol.asyncDispose]: () => weights.close(),
  }
}

async function hashAll(
  directory: string,
  names: readonly string[],
  weights: WeightFiles,
): Promise<Record<string, FileRecord>> {
  const paths = TEXT_FILES.filter((name) => names.includes(name)).map((name) => join(directory, name))
  if (names.includes(WEIGHT_INDEX_FILE) && !names.includes(WEIGHTS_FILE)) paths.push(join(directory, WEIGHT_INDEX_FILE))
  for (const { path } of weights.files) paths.push(path)
  for (const name of await templateNames(directory)) paths.push(join(directory, TEMPLATE_FOLDER, `${name}.jinja`))
  const records: Record<string, FileRecord> = {}
  for (const path of paths) records[relative(directory, path).replaceAll('\\', '/')] = await hashFile(path)
  return records
}
