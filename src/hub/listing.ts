/** What a repository holds at one commit, and which of it a model needs. */

import { listFiles } from '@huggingface/hub'
import { WinnowError } from '../errors.ts'
import { TEMPLATE_FOLDER } from './chat-templates.ts'
import { TEXT_FILES, WEIGHT_INDEX_FILE, WEIGHTS_FILE } from './directory.ts'
import { refuseLarge } from './json-files.ts'
import { noSafetensors } from './refusals.ts'

export interface RepositoryFile {
  /** Inside the repository, with `/`. */
  path: string
  /** Bytes. */
  size: number
  /** Its name among the blobs and its content hash: sha256 of an LFS file, git's sha1 of another. */
  etag: string
}

const isTemplate = (path: string) => new RegExp(`^${TEMPLATE_FOLDER}/[^/\\\\]+\\.jinja$`).test(path)

/** Why an etag is no content hash: it is also a file's name in the cache. */
export function checkEtag(etag: unknown, path: string, id: string): string {
  if (typeof etag === 'string' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) return etag
  throw new WinnowError('failure', {
    code: 'bad-hub-answer',
    message: `the hub gives no content hash for ${path}`,
    file: id,
    found: JSON.stringify(etag),
    hint: 'Check HF_ENDPOINT: nothing is taken that cannot be verified.',
  })
}

export interface ListingRequest {
  commit: string
  endpoint: string
  fetch: typeof globalThis.fetch
  folder: (path: string) => boolean
}

/** Files at the root of a repository and in those folders there that `folder` takes, at one commit. `fetch` throws for answers that are no success. */
export async function fetchListing(
  id: string,
  { commit, endpoint, fetch, folder: isListed }: ListingRequest,
): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = []
  const folders = ['']
  for (const folder of folders) {
    const entries = listFiles({
      repo: { type: 'model', name: id },
      revision: commit,
      hubUrl: endpoint,
      fetch,
      ...(folder === '' ? {} : { path: folder }),
    })
    for await (const { type, path, size, oid, lfs } of entries) {
      if (type === 'directory' && isListed(path)) folders.push(path)
      if (type !== 'file') continue
      files.push({ path, size: lfs?.size ?? size, etag: checkEtag(lfs?.oid ?? oid, path, id) })
    }
  }
  return files
}

/** Small files to fetch. Pure. Throws `file-too-large`. */
export function planTexts(id: string, listing: readonly RepositoryFile[]): RepositoryFile[] {
  const files = listing.filter(({ path }) => TEXT_FILES.includes(path) || isTemplate(path))
  for (const { path, size } of files) refuseLarge(size, `${id}/${path}`)
  return files
}

/** The weights to fetch, or the index that names them. Pure. Throws as `noSafetensors`, and `incomplete-model` without config.json. */
export function planWeights(id: string, listing: readonly RepositoryFile[]): RepositoryFile {
  const names = listing.map(({ path }) => path)
  const file = (path: string) => listing.find((file) => file.path === path)
  const weights = file(WEIGHTS_FILE) ?? file(WEIGHT_INDEX_FILE)
  if (weights === undefined) throw noSafetensors(id, names)
  if (file('config.json') !== undefined) return weights
  throw new WinnowError('input', {
    code: 'incomplete-model',
    message: 'the repository has no config.json',
    file: id,
    found: names.slice(0, 8).join(', '),
    hint: 'Name a repository that transformers can load.',
  })
}

/** The shards to fetch for an index. Pure. Throws `missing-shard` where the repository lacks one. */
export function planShards(id: string, listing: readonly RepositoryFile[], shards: Iterable<string>): RepositoryFile[] {
  return [...new Set(shards)].sort().map((shard) => {
    const file = listing.find(({ path }) => path === shard)
    if (file !== undefined) return file
    throw new WinnowError('input', {
      code: 'missing-shard',
      message: `the repository has no ${shard}, which its ${WEIGHT_INDEX_FILE} names`,
      file: id,
      hint: 'Name another revision, or report it to the authors of the model.',
    })
  })
}
