/**
 * A hub on 127.0.0.1 that speaks the paths of huggingface.co: model info, trees, resolve with its redirects to a storage host (here
 * another port), ranges, etags. Faults are put in its way with `intercept`.
 */

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { posix } from 'node:path'

export interface HubRepository {
  /** Commits by branch or tag. */
  refs: Record<string, string>
  /** Files by commit, then path. Those ending in .safetensors or tokenizer.json are LFS files. */
  commits: Record<string, Record<string, Uint8Array>>
  gated?: boolean
  /** Sees nobody without this token. */
  privateTo?: string
}

export interface SeenRequest {
  host: 'hub' | 'storage'
  method: string
  path: string
  authorization?: string
  range?: string
}

/** Answers the request itself and returns true, or leaves it to the hub. */
export type Intercept = (request: SeenRequest, response: ServerResponse) => boolean | undefined

export interface LocalHub extends AsyncDisposable {
  endpoint: string
  requests: SeenRequest[]
  intercept: Intercept
}

const isLfs = (path: string) => /(\.safetensors|tokenizer\.json)$/.test(path)
export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
export const gitHash = (bytes: Uint8Array) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
export const etagOf = (path: string, bytes: Uint8Array) => (isLfs(path) ? sha256(bytes) : gitHash(bytes))

function json(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value))
}

/** Sends bytes, or the part of them that the request's Range asks for. */
export function sendBytes(response: ServerResponse, bytes: Uint8Array, range?: string, headers: object = {}) {
  const from = /^bytes=(\d+)-(\d*)$/.exec(range ?? '')
  if (from === null) {
    response.writeHead(200, { ...headers, 'Content-Length': bytes.length }).end(bytes)
    return
  }
  const [start, last] = [
    Number(from[1]),
    from[2] === '' ? bytes.length - 1 : Math.min(Number(from[2]), bytes.length - 1),
  ]
  if (start >= bytes.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${bytes.length}` }).end()
    return
  }
  const part = bytes.subarray(start, last + 1)
  const contentRange = `bytes ${start}-${last}/${bytes.length}`
  response.writeHead(206, { ...headers, 'Content-Range': contentRange, 'Content-Length': part.length }).end(part)
}

export async function startHub(repositories: Record<string, HubRepository>): Promise<LocalHub> {
  const requests: SeenRequest[] = []
  const stored = new Map<string, Uint8Array>()
  let storage = ''

  const answerHub = (request: SeenRequest, response: ServerResponse) => {
    const url = new URL(request.path, 'http://hub')
    const path = decodeURIComponent(url.pathname)
    const api = /^\/api\/models\/(.+?)\/(revision|tree)\/(.+)$/.exec(path)
    const resolve = /^\/(.+?)\/resolve\/(.+)$/.exec(path)
    const id = (api ?? resolve)?.[1] ?? ''
    const repository = repositories[id]
    if (
      repository === undefined ||
      (repository.privateTo && request.authorization !== `Bearer ${repository.privateTo}`)
    )
      return json(
        response,
        401,
        { error: 'Invalid username or password.' },
        { 'X-Error-Message': 'Repository not found' },
      )
    const rest = (api?.[3] ?? resolve?.[2]) as string
    const names = [...Object.keys(repository.refs), ...Object.keys(repository.commits)]
    const revision = names.find((name) => rest === name || rest.startsWith(`${name}/`))
    const commit = revision === undefined ? undefined : (repository.refs[revision] ?? revision)
    if (revision === undefined || commit === undefined)
      return json(response, 404, { error: 'Invalid rev id' }, { 'X-Error-Code': 'RevisionNotFound' })
    const files = repository.commits[commit]
    const inside = rest.slice(revision.length + 1)
    if (api?.[2] === 'revision')
      return json(response, 200, { _id: '1', id, sha: commit, private: false, gated: repository.gated ?? false })
    if (api?.[2] === 'tree')
      return json(response, 200, tree(files, inside, url.searchParams.get('recursive') === 'true'))
    if (repository.gated)
      return json(response, 403, { error: 'gated' }, { 'X-Error-Code': 'GatedRepo', 'X-Repo-Commit': commit })
    const bytes = files[inside]
    if (bytes === undefined)
      return json(response, 404, { error: 'no entry' }, { 'X-Error-Code': 'EntryNotFound', 'X-Repo-Commit': commit })
    const etag = `"${etagOf(inside, bytes)}"`
    if (!isLfs(inside)) return sendBytes(response, bytes, request.range, { ETag: etag, 'X-Repo-Commit': commit })
    stored.set(sha256(bytes), bytes)
    response.writeHead(302, {
      Location: `${storage}/store/${sha256(bytes)}?X-Amz-Signature=secret`,
      'X-Repo-Commit': commit,
      'X-Linked-Etag': etag,
      'X-Linked-Size': bytes.length,
      'Content-Length': 0,
    })
    response.end()
  }
  const answerStorage = (request: SeenRequest, response: ServerResponse) => {
    const bytes = stored.get(new URL(request.path, storage).pathname.split('/')[2])
    if (bytes === undefined) response.writeHead(404).end()
    else sendBytes(response, bytes, request.range, { ETag: '"of the storage"' })
  }

  const listen = async (
    host: SeenRequest['host'],
    answer: (request: SeenRequest, response: ServerResponse) => void,
  ) => {
    const server = createServer((message: IncomingMessage, response) => {
      const { method = '', url: path = '', headers } = message
      const { authorization, range } = headers
      const request: SeenRequest = { host, method, path, authorization, range }
      requests.push(request)
      if (hub.intercept(request, response) !== true) answer(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }
  const hub: LocalHub = {
    endpoint: '',
    requests,
    intercept: () => false,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([main.server, cdn.server].map(close))
    },
  }
  const main = await listen('hub', answerHub)
  const cdn = await listen('storage', answerStorage)
  hub.endpoint = main.address
  storage = cdn.address
  return hub
}

async function close(server: Server) {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

function tree(files: Record<string, Uint8Array>, folder: string, recursive: boolean) {
  const entries: object[] = []
  const folders = new Set<string>()
  for (const [path, bytes] of Object.entries(files)) {
    if (folder !== '' && !path.startsWith(`${folder}/`)) continue
    const below = path.slice(folder === '' ? 0 : folder.length + 1)
    if (below.includes('/')) folders.add(posix.join(folder, below.split('/')[0]))
    if (below.includes('/') && !recursive) continue
    const entry = { type: 'file', path, size: bytes.length, oid: gitHash(bytes) }
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 133 }
    entries.push(isLfs(path) ? { ...entry, oid: gitHash(Buffer.from(lfs.oid)), lfs } : entry)
  }
  for (const path of folders) entries.push({ type: 'directory', path, oid: '0'.repeat(40), size: 0 })
  return entries
}
