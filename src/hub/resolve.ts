/** A model by what the user calls it: a directory, or an id on the hub, fetched into the cache that the Python client shares. */

import { join } from 'node:path'
import { modelInfo } from '@huggingface/hub'
import { WinnowError } from '../errors.ts'
import { type DownloadProgress, downloadBlob } from './blob.ts'
import {
  maybeListing,
  maybeRef,
  maybeSize,
  placeInSnapshot,
  repositoryFolder,
  snapshotPath,
  snapshotState,
  writeAbsence,
  writeRef,
} from './cache.ts'
import { type OpenOptions, openModelDirectory, readModelTexts } from './directory.ts'
import { checkEndpoint, environmentCache, environmentCopies, environmentOffline, maybeToken } from './environment.ts'
import type { HubRequest } from './faults.ts'
import { checkEtag, fetchListing, type RepositoryFile } from './listing.ts'
import type { ModelFiles, ModelTexts } from './model-files.ts'
import { checkRevision, expandPath, isCommit, parseReference } from './reference.ts'
import { createTransport, type Transport, type TransportOptions } from './transport.ts'
import { MODEL, TEXTS, type Wanted } from './wanted.ts'

export interface ResolveOptions extends Omit<TransportOptions, 'attempts'> {
  /** Branch, tag or commit. Default: what the name has behind `@`, else `main`. */
  revision?: string
  /** Default: that of the Python client. */
  cacheDir?: string
  /** Default HF_ENDPOINT or https://huggingface.co. */
  endpoint?: string
  /** Default HF_TOKEN or the token file of the Python client; false sends none. */
  token?: string | false
  /** Ask nobody, use the cache. Default HF_HUB_OFFLINE. */
  offline?: boolean
  onProgress?: (progress: DownloadProgress) => void
}

interface Repository {
  hub: HubRequest
  token: string | undefined
  folder: string
  options: ResolveOptions
  wanted: Wanted
}

/** Faults that say nothing of the model, only that the hub was not to be asked. */
const UNREACHED = ['hub-unreachable', 'hub-unavailable', 'rate-limited']

/** Files fetched at once. */
const CONCURRENT = 4

/**
 * Opens a model. An existing directory is taken as it is. Of a repository only config, tokenizer, chat templates and safetensors are
 * fetched, at the one commit that the revision stands for (`source.revision`); what either client has fetched before is used. Every file
 * is verified by size and content hash; one request is made where nothing has changed, none for a commit that is in the cache. If the
 * hub cannot be reached, the cached commit of the revision is used, with a notice.
 *
 * @throws {WinnowError} `bad-model-name`, `two-revisions`, `directory-revision`, `bad-endpoint`; `model-not-found`, `gated-model`,
 * `disabled-model`, `revision-not-found`, `bad-token`, `rate-limited`, `hub-unavailable`, `hub-unreachable`, `bad-hub-answer`, `offline`;
 * `hash-mismatch`, `size-mismatch`, `disk-full` and other faults of files; `pickled-weights`, `adapter-only`, `no-safetensors`,
 * `missing-shard`; and as `openModelDirectory`. The signal's own reason when it aborts.
 */
export async function resolveModel(nameOrPath: string, options: ResolveOptions = {}): Promise<ModelFiles> {
  const { directory, ...open } = await locateModel(nameOrPath, options, MODEL)
  return await openModelDirectory(directory, open)
}

/**
 * The small files of a model, for its tokenizer or its shape: as `resolveModel`, but weights are neither needed nor fetched.
 *
 * @throws {WinnowError} as `resolveModel`.
 */
export async function resolveModelTexts(nameOrPath: string, options: ResolveOptions = {}): Promise<ModelTexts> {
  const { directory, ...open } = await locateModel(nameOrPath, options, TEXTS)
  return await readModelTexts(directory, open)
}

/** The directory of a model, what is wanted of it fetched if need be. Throws as `resolveModel` before it opens the directory. */
export async function locateModel(
  nameOrPath: string,
  options: ResolveOptions,
  wanted: Wanted,
): Promise<OpenOptions & { directory: string }> {
  // A file of this name is refused as one: nobody means a model of the hub then.
  const there = (await maybeSize(nameOrPath)) !== undefined
  const reference = there ? ({ kind: 'directory', path: nameOrPath } as const) : parseReference(nameOrPath)
  if (reference.kind === 'directory') {
    if (options.revision === undefined) return { directory: reference.path }
    throw new WinnowError('usage', {
      code: 'directory-revision',
      message: `'${nameOrPath}' is a directory, which has no revisions`,
      found: options.revision,
      hint: 'Leave the revision out, or name a model of the hub.',
    })
  }
  const endpoint = checkEndpoint(options.endpoint)
  const revision = agreedRevision(nameOrPath, reference.revision, options.revision)
  const token = options.token === undefined ? await maybeToken() : options.token || undefined
  const cacheDir = options.cacheDir === undefined ? environmentCache() : expandPath(options.cacheDir)
  const repository: Repository = {
    hub: { id: reference.id, endpoint, revision, authorised: token !== undefined },
    token,
    folder: repositoryFolder(cacheDir, reference.id),
    options,
    wanted,
  }
  const notices: string[] = []
  const commit =
    (options.offline ?? environmentOffline())
      ? await cachedCommit(repository)
      : await currentCommit(repository, notices)
  return {
    directory: snapshotPath(repository.folder, commit),
    source: { kind: 'hub', id: reference.id, revision: commit },
    notices,
  }
}

function agreedRevision(name: string, written: string | undefined, option: string | undefined): string {
  if (written !== undefined && option !== undefined && written !== option)
    throw new WinnowError('usage', {
      code: 'two-revisions',
      message: `'${name}' and the revision '${option}' name different revisions`,
      hint: 'Give one of them.',
    })
  return checkRevision(written ?? option ?? 'main')
}

/** Offline: the commit that the revision was last seen at, if the cache has its model. */
async function cachedCommit({ hub, folder, wanted }: Repository): Promise<string> {
  const commit = isCommit(hub.revision) ? hub.revision : await maybeRef(folder, hub.revision)
  const missing = commit === undefined ? undefined : (await snapshotState(folder, commit, wanted)).missing
  if (commit !== undefined && missing?.length === 0) return commit
  throw new WinnowError('input', {
    code: 'offline',
    message:
      missing === undefined
        ? `the model's revision '${hub.revision}' is not in the cache, and winnow is offline`
        : `the model is not whole in the cache (${missing.join(', ')} missing), and winnow is offline`,
    file: hub.id,
    found: folder,
    hint: `Run once without --offline and HF_HUB_OFFLINE, or run \`hf download ${hub.id}\` where there is a network.`,
  })
}

/** Online: the commit that the revision stands at, its files in the cache. */
async function currentCommit(repository: Repository, notices: string[]): Promise<string> {
  const { hub, folder, options, wanted } = repository
  const known = isCommit(hub.revision) ? hub.revision : await maybeRef(folder, hub.revision)
  const state = known === undefined ? undefined : await snapshotState(folder, known, wanted)
  if (isCommit(hub.revision) && state?.whole) return hub.revision
  const usable = state?.missing.length === 0
  // Without a network, a model that is there need not wait for several attempts.
  const transport = createTransport(hub, repository.token, { ...options, attempts: usable ? 1 : undefined })
  let commit: string | undefined
  try {
    commit = isCommit(hub.revision) ? hub.revision : await fetchCommit(hub, transport)
    if (commit !== known || !state?.whole) await fetchModel(repository, commit)
    // A cache shared for reading serves as well without the note of where the branch stood.
    await writeRef(folder, hub.revision, commit).catch(() => undefined)
    return commit
  } catch (error) {
    // What is lacking then is at most a file that need not be there. Of a newer commit that broke off half-way, the older is no substitute.
    const sameModel = usable && known !== undefined && (commit ?? known) === known
    if (!sameModel || !(error instanceof WinnowError) || !UNREACHED.includes(error.fault.code)) throw error
    notices.push(
      `${hub.id}: the hub could not be asked (${error.fault.found}); the cached commit ${known.slice(0, 12)} of '${hub.revision}' is used`,
    )
    return known
  }
}

async function fetchCommit({ id, revision, endpoint }: HubRequest, { fetch }: Transport): Promise<string> {
  const info = await understood(id, endpoint, () =>
    modelInfo({ name: id, revision, hubUrl: endpoint, additionalFields: ['sha'], fetch }),
  )
  if (typeof info.sha === 'string' && isCommit(info.sha)) return info.sha
  throw badAnswer(id, endpoint, `no commit for '${revision}'`)
}

/** A library's failure to read an answer, as a WinnowError. */
async function understood<T>(id: string, endpoint: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) throw badAnswer(id, endpoint, error.message)
    throw error
  }
}

function badAnswer(id: string, endpoint: string, found: string): WinnowError {
  return new WinnowError('failure', {
    code: 'bad-hub-answer',
    message: `${endpoint} does not answer as the hub does`,
    file: id,
    found,
    hint: 'Check HF_ENDPOINT, and proxies or login pages on the way.',
  })
}

/** Fetches what the snapshot of a commit lacks. */
async function fetchModel({ hub, token, folder, options, wanted }: Repository, commit: string): Promise<void> {
  const { id, endpoint } = hub
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  const transport = createTransport(hub, token, { ...options, signal })
  const listing =
    (await maybeListing(folder, commit)) ??
    (await understood(id, endpoint, () =>
      fetchListing(id, { commit, endpoint, fetch: transport.fetch, folder: wanted.folder }),
    ))
  const fetchFile = async (file: RepositoryFile) => {
    const path = join(snapshotPath(folder, commit), file.path)
    if ((await maybeSize(path)) === file.size) return
    const url = `${endpoint}/${id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`
    checkEtag(file.etag, file.path, id)
    await downloadBlob({ file, url, folder, hub, transport, onProgress: options.onProgress })
    const copies = environmentCopies()
    await placeInSnapshot(folder, { commit, path: file.path, etag: file.etag, copies })
  }
  const fetchAll = async (files: readonly RepositoryFile[]) => {
    const pending = [...files]
    const lane = async () => {
      for (let file = pending.shift(); file !== undefined; file = pending.shift()) await fetchFile(file)
    }
    const lanes = Array.from({ length: CONCURRENT }, lane)
    try {
      await Promise.all(lanes)
    } catch (error) {
      // The first failure ends the others; they are waited for, so that nothing is written behind the caller's back.
      pending.length = 0
      stop.abort(error)
      await Promise.allSettled(lanes)
      throw error
    }
  }
  await fetchAll(wanted.plan(id, listing))
  if (wanted.further !== undefined) await fetchAll(await wanted.further(snapshotPath(folder, commit), id, listing))
  for (const file of wanted.files)
    if (!listing.some(({ path }) => path === file)) await writeAbsence(folder, commit, file)
}
