/** A pretrained model as a run uses it: its graph, its tokenizer, and its weights once something is computed with them. */

import { join } from 'node:path'
import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import type { DownloadProgress } from '../hub/blob.ts'
import type { ModelFiles } from '../hub/model-files.ts'
import { resolveModel } from '../hub/resolve.ts'
import { languageModel } from '../models/config.ts'
import type { LanguageModel } from '../models/model.ts'
import { isNano } from '../models/nano.ts'
import { checkFinite, checkTied, matchWeights, maybeTiedCopy } from '../models/weights.ts'
import { hashJson } from '../runs/hash.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { OnEvent, StageProgress } from './events.ts'
import type { ResolvedModelOptions } from './model-options.ts'
import { modelTokenizer } from './model-tokenizer.ts'

export interface Pretrained extends AsyncDisposable {
  /** As asked: `EleutherAI/pythia-70m`, `./some-dir`. */
  name: string
  files: ModelFiles
  model: LanguageModel
  tokenizer: Tokenizer
  /** Of every file that was read. */
  hash: string
  /** The parameters, checked to be finite. */
  weights(onFraction?: (fraction: number) => void): Promise<TensorMap>
}

export interface OpeningOptions {
  onEvent: OnEvent
  signal?: AbortSignal
}

/**
 * Opens the model that the options name, or nothing for `nano`. Downloads what is not in the cache.
 *
 * @throws {WinnowError} as `resolveModel`, `languageModel`, `matchWeights` and `modelTokenizer`.
 */
export async function maybePretrained(
  options: ResolvedModelOptions,
  { onEvent, signal }: OpeningOptions,
): Promise<Pretrained | undefined> {
  if (isNano(options.proxy)) return undefined
  const started = performance.now()
  onEvent({ kind: 'stage-start', stage: 'model', resumedParts: 0 })
  const files = await resolveModel(options.proxy, {
    revision: options.revision,
    offline: options.offline || undefined,
    signal,
    onProgress: fetchProgress((progress) => onEvent({ kind: 'stage-progress', stage: 'model', progress })),
  })
  try {
    const opened = await openModel(options.proxy, files)
    const own = `its config.json names code of its own (auto_map), which is never run: winnow's own ${opened.model.family} is used`
    for (const message of [...files.notices, ...(files.remoteCode === undefined ? [] : [own])])
      onEvent({ kind: 'notice', notice: { code: 'model', message } })
    onEvent({
      kind: 'stage-end',
      stage: 'model',
      cached: false,
      seconds: (performance.now() - started) / 1000,
      summary: summaryOf(opened),
    })
    return opened
  } catch (error) {
    await files[Symbol.asyncDispose]()
    throw error
  }
}

/** Files are fetched several at a time: what is told is of all that were begun. What an earlier process fetched counts as there, not as done. */
export function fetchProgress(tell: (progress: StageProgress) => void): (progress: DownloadProgress) => void {
  const files = new Map<string, { first: number; bytes: number; total: number }>()
  return ({ file, bytes, total }) => {
    files.set(file, { first: Math.min(files.get(file)?.first ?? bytes, bytes), bytes, total })
    let [done, there, all] = [0, 0, 0]
    for (const known of files.values()) {
      done += known.bytes - known.first
      there += known.bytes
      all += known.total
    }
    tell({ fraction: there / Math.max(1, all), detail: `fetching ${file}`, done, unit: 'bytes' })
  }
}

async function openModel(name: string, files: ModelFiles): Promise<Pretrained> {
  const file = join(files.directory, 'config.json')
  const model = languageModel(files.config, { file })
  const names = matchWeights(model, files.weights.names(), { file: files.directory })
  const copy = maybeTiedCopy(model, names, files.weights.names())
  const tokenizer = modelTokenizer(files)
  return {
    name,
    files,
    model,
    tokenizer,
    hash: hashJson(
      Object.fromEntries(Object.entries(await files.hashes()).map(([path, { sha256 }]) => [path, sha256])),
    ),
    async weights(onFraction) {
      const weights: TensorMap = new Map()
      for (const { name: parameter, shape } of model.parameters) {
        const data = await files.weights.read(names.get(parameter) as string)
        checkFinite(parameter, data, { file: files.directory })
        if (weights.size === 0 && copy !== undefined)
          checkTied(copy, await files.weights.read(copy), data, { file: files.directory })
        weights.set(parameter, { shape, data })
        onFraction?.(weights.size / model.parameters.length)
      }
      return weights
    },
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  }
}

function summaryOf({ model, files, tokenizer }: Pretrained): string {
  const parameters = model.parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)
  const { id, revision } = files.source
  const writes = { template: 'chat template', markers: 'role markers', plain: 'no chat template: turns as plain text' }
  return `${id}${revision === undefined ? '' : ` at ${revision.slice(0, 8)}`}: ${model.family}, ${(parameters / 1e6).toFixed(1)}M parameters, ${writes[tokenizer.layout]}`
}

/**
 * Options for this model: rows are cut where its positions end, and a branch of the hub is the commit that it stood at, so that a manifest
 * replays the same weights.
 *
 * @throws {WinnowError} `context-too-long` where more was asked for.
 */
export function withModel<O extends ResolvedModelOptions>(options: O, pretrained: Pretrained | undefined): O {
  if (pretrained === undefined) return options
  const { maxLength: most } = pretrained.model
  const { kind, revision } = pretrained.files.source
  // A revision behind the name's @ stays there.
  const pinned = kind === 'hub' && !options.proxy.includes('@') ? { ...options, revision } : options
  if (options.maxLength <= most) return pinned
  if (options.maxLengthAsked)
    throw new WinnowError('usage', {
      code: 'context-too-long',
      message: 'the model has positions for fewer tokens',
      path: '--max-length',
      found: String(options.maxLength),
      expected: `at most ${most}`,
      hint: 'Rows are cut to that length; a model with a longer context keeps more of them.',
    })
  return { ...pinned, maxLength: most }
}
