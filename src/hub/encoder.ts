/** Encoders in the Hugging Face layout: an ONNX graph, a tokenizer, and what sentence-transformers says of pooling. No code, no pickle. */

import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from '../runs/fault.ts'
import { type FileRecord, hashFile } from '../runs/hash.ts'
import { listDirectory } from './directory.ts'
import { maybeObject, maybeText, refuseLarge } from './json-files.ts'
import type { RepositoryFile } from './listing.ts'
import type { ModelSource } from './model-files.ts'
import { refusePointer } from './pointer.ts'
import { locateModel, type ResolveOptions } from './resolve.ts'
import type { Wanted } from './wanted.ts'

/** How the numbers of a graph are stored, and the ends of its file's name, as @huggingface/transformers and optimum write them. */
export const DTYPE_SUFFIXES = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  bnb4: '_bnb4',
} as const

export type EncoderDtype = keyof typeof DTYPE_SUFFIXES

export interface EncoderFiles {
  directory: string
  source: ModelSource
  /** config.json. */
  config: Record<string, unknown>
  /** Text of tokenizer.json. */
  tokenizerJson: string
  /** tokenizer_config.json. */
  tokenizerConfig?: Record<string, unknown>
  /** modules.json: what sentence-transformers runs after another. */
  modules?: readonly SentenceModule[]
  /** sentence_bert_config.json. */
  sentenceConfig?: Record<string, unknown>
  /** config.json of the module that pools. */
  pooling?: Record<string, unknown>
  /** The graph in the directory: `onnx/model.onnx`. */
  graph: string
  notices: readonly string[]
  /** Size and sha256 of every file that vectors depend on, by its path in the directory. */
  hashes(): Promise<Record<string, FileRecord>>
}

export interface SentenceModule {
  /** Folder in the directory, empty for the directory itself. */
  path: string
  /** Python class: `sentence_transformers.models.Pooling`. */
  type: string
}

const GRAPH_FOLDER = 'onnx'
const TOKENIZER = 'tokenizer.json'
const MODULES = 'modules.json'
const SENTENCE_CONFIG = 'sentence_bert_config.json'
const POOLING = '1_Pooling/config.json'
const TEXTS = ['config.json', TOKENIZER, 'tokenizer_config.json', MODULES, SENTENCE_CONFIG, POOLING]

const isPoolingFolder = (path: string) => /^\d+_\w*Pooling$/.test(path)
const isPoolingConfig = (path: string) => /^\d+_\w*Pooling\/config\.json$/.test(path)
/** `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`: tensors outside a graph's file. */
const isDataOf = (graph: string) => (path: string) =>
  path.startsWith(graph) && /^[._]data(_\d+)?$/.test(path.slice(graph.length))

const graphsFor = (dtype: EncoderDtype) => [
  `${GRAPH_FOLDER}/model${DTYPE_SUFFIXES[dtype]}.onnx`,
  `model${DTYPE_SUFFIXES[dtype]}.onnx`,
]

/** The files of an encoder, in a repository. */
const encoderWanted = (dtype: EncoderDtype): Wanted => ({
  folder: (path) => path === GRAPH_FOLDER || isPoolingFolder(path),
  files: [...TEXTS, `${graphsFor(dtype)[0]}_data`],
  needed: ['config.json', TOKENIZER],
  async lacking(_directory, has) {
    for (const graph of graphsFor(dtype)) if (await has(graph)) return []
    return [graphsFor(dtype)[0]]
  },
  plan(id, listing) {
    const names = listing.map(({ path }) => path)
    const graph = graphOf(id, names, dtype)
    if (!names.includes('config.json')) throw noConfig(id, names)
    if (!names.includes(TOKENIZER)) throw noTokenizer(id, names)
    const isText = (path: string) => TEXTS.includes(path) || isPoolingConfig(path)
    const isData = isDataOf(graph)
    const texts = listing.filter(({ path }) => isText(path))
    for (const { path, size } of texts) refuseLarge(size, `${id}/${path}`)
    return [...texts, ...listing.filter(({ path }: RepositoryFile) => path === graph || isData(path))]
  },
})

/** Which of the files is the graph. Pure. Throws `no-onnx`. */
function graphOf(place: string, names: readonly string[], dtype: EncoderDtype): string {
  const graph = graphsFor(dtype).find((path) => names.includes(path))
  if (graph !== undefined) return graph
  const graphs = names.filter((name) => name.endsWith('.onnx'))
  const dtypes = (Object.keys(DTYPE_SUFFIXES) as EncoderDtype[]).filter((other) =>
    graphsFor(other).some((path) => names.includes(path)),
  )
  throw new WinnowError('input', {
    code: 'no-onnx',
    message: `there is no ONNX graph of the encoder in ${dtype}`,
    file: place,
    found: graphs.length === 0 ? 'no .onnx file' : graphs.slice(0, 6).join(', '),
    expected: graphsFor(dtype).join(' or '),
    hint:
      dtypes.length > 0
        ? `There is one in ${dtypes.join(', ')}: ask for that dtype.`
        : 'Export one with `optimum-cli export onnx --model <model> --task feature-extraction <directory>/onnx`, or name a repository that has an ' +
          'onnx/ folder (on the hub many of sentence-transformers, and those of Xenova and onnx-community).',
  })
}

const shown = (names: readonly string[]) => (names.length === 0 ? 'no files' : names.slice(0, 8).join(', '))

const noConfig = (place: string, names: readonly string[]) =>
  new WinnowError('input', {
    code: 'incomplete-model',
    message: 'the encoder has no config.json',
    file: place,
    found: shown(names),
    hint: 'Export it with optimum, or save it with transformers beside its graph.',
  })

const noTokenizer = (place: string, names: readonly string[]) =>
  new WinnowError('input', {
    code: 'missing-tokenizer',
    message: 'the encoder has no tokenizer.json',
    file: place,
    found: shown(names.filter((name) => /tok|vocab|merges|spm|sentencepiece/i.test(name))),
    expected: TOKENIZER,
    hint: "Write one with transformers: AutoTokenizer.from_pretrained('<model>').save_pretrained('<directory>').",
  })

/**
 * The files of an encoder: of a directory, or of a repository on the hub, fetched as `resolveModel` does (one commit, verified by
 * content hash, in the cache that the Python client shares).
 *
 * @throws {WinnowError} `missing-model`, `no-onnx`, `missing-tokenizer`, `incomplete-model`, `bad-json`, `lfs-pointer`; for a hub id as `resolveModel`.
 */
export async function resolveEncoder(
  nameOrPath: string,
  { dtype = 'fp32', ...options }: ResolveOptions & { dtype?: EncoderDtype } = {},
): Promise<EncoderFiles> {
  const { directory, source, notices = [] } = await locateModel(nameOrPath, options, encoderWanted(dtype))
  const names = [
    ...(await listDirectory(directory, 'a directory with config.json, tokenizer.json and onnx/model.onnx')),
    ...(await namesIn(directory, GRAPH_FOLDER)),
  ]
  const graph = graphOf(directory, names, dtype)
  const object = (name: string) => maybeObject(join(directory, name))
  const config = await object('config.json')
  if (config === undefined) throw noConfig(directory, names)
  const tokenizerJson = await maybeText(join(directory, TOKENIZER))
  if (tokenizerJson === undefined) throw noTokenizer(directory, names)
  await refuseGraphPointer(join(directory, graph))
  const modules = parseModules(await maybeText(join(directory, MODULES)), join(directory, MODULES))
  const folder = modules?.find(({ type }) => type.endsWith('.Pooling'))?.path
  const poolingFile = folder !== undefined && isPoolingFolder(folder) ? `${folder}/config.json` : POOLING
  const data = names.filter(isDataOf(graph))
  const hashed = [
    'config.json',
    TOKENIZER,
    'tokenizer_config.json',
    MODULES,
    SENTENCE_CONFIG,
    poolingFile,
    graph,
    ...data,
  ]
  return {
    directory,
    source: source ?? { kind: 'directory', id: nameOrPath },
    config,
    tokenizerJson,
    tokenizerConfig: await object('tokenizer_config.json'),
    modules,
    sentenceConfig: await object(SENTENCE_CONFIG),
    pooling: await object(poolingFile),
    graph,
    notices,
    async hashes() {
      const records: Record<string, FileRecord> = {}
      for (const name of hashed) {
        if (!names.includes(name) && (await maybeText(join(directory, name))) === undefined) continue
        records[name] = await hashFile(join(directory, name))
      }
      return records
    },
  }
}

async function namesIn(directory: string, folder: string): Promise<string[]> {
  try {
    return (await readdir(join(directory, folder))).sort().map((name) => `${folder}/${name}`)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return []
    throw ioError(error, join(directory, folder), 'read')
  }
}

async function refuseGraphPointer(path: string): Promise<void> {
  const handle = await open(path).catch((error) => {
    throw ioError(error, path, 'read')
  })
  try {
    const start = new Uint8Array(512)
    const { bytesRead } = await handle.read(start, 0, start.length, 0)
    refusePointer(start.subarray(0, bytesRead), path)
  } finally {
    await handle.close()
  }
}

function parseModules(text: string | undefined, file: string): SentenceModule[] | undefined {
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  const isModule = (item: unknown): item is SentenceModule =>
    typeof item === 'object' &&
    item !== null &&
    typeof (item as SentenceModule).type === 'string' &&
    typeof (item as SentenceModule).path === 'string'
  if (Array.isArray(value) && value.every(isModule)) return value.map(({ path, type }) => ({ path, type }))
  throw new WinnowError('input', {
    code: 'bad-json',
    message: 'the file does not hold the modules of a sentence-transformers model',
    file,
    expected: 'a list of objects with `path` and `type`',
    hint: 'Fetch or save the model again.',
  })
}
