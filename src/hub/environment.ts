/** The environment variables and the token file of the Python client, read as it reads them. */

import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { getHFHubCachePath, HUB_URL } from '@huggingface/hub'
import { WinnowError } from '../errors.ts'
import { errorCode } from '../runs/fault.ts'
import { expandPath } from './reference.ts'

const isOn = (name: string) => ['1', 'ON', 'YES', 'TRUE'].includes((process.env[name] ?? '').toUpperCase())

/** HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub. */
export const environmentCache = () => expandPath(getHFHubCachePath())

/** HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: `1`, `on`, `yes` or `true`. */
export const environmentOffline = () => isOn('HF_HUB_OFFLINE') || isOn('TRANSFORMERS_OFFLINE')

/** HF_HUB_DISABLE_SYMLINKS: copies in the snapshots. */
export const environmentCopies = () => isOn('HF_HUB_DISABLE_SYMLINKS')

/** HF_ENDPOINT, or the hub itself, without a slash at its end. Throws `bad-endpoint`: it stands in errors and before paths. */
export function checkEndpoint(endpoint: string = process.env.HF_ENDPOINT || HUB_URL): string {
  const url = URL.parse(endpoint)
  if (url !== null && (url.username !== '' || url.password !== ''))
    throw new WinnowError('input', {
      code: 'bad-endpoint',
      message: `the hub's address at ${url.host} holds a user name or password, which would be shown in errors`,
      expected: 'https://…, without them',
      hint: 'Leave them out of HF_ENDPOINT; a token goes into HF_TOKEN.',
    })
  if (url !== null && /^https?:$/.test(url.protocol) && !/[?#]/.test(endpoint)) return endpoint.replace(/\/+$/, '')
  throw new WinnowError('input', {
    code: 'bad-endpoint',
    message: `the hub's address '${endpoint}' is none`,
    expected: 'https://…',
    hint: 'Check HF_ENDPOINT.',
  })
}

/**
 * The access token: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the file that `hf auth login` writes (HF_TOKEN_PATH, HF_HOME/token). Undefined
 * where there is none, or where HF_HUB_DISABLE_IMPLICIT_TOKEN is set. It is sent to the endpoint alone and shown nowhere.
 */
export async function maybeToken(): Promise<string | undefined> {
  if (isOn('HF_HUB_DISABLE_IMPLICIT_TOKEN')) return undefined
  const given = cleaned(process.env.HF_TOKEN || process.env.HUGGING_FACE_HUB_TOKEN)
  if (given !== undefined) return given
  const { HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  const path = expandPath(HF_TOKEN_PATH ?? join(home, 'token'))
  try {
    return cleaned(await readFile(path, 'utf8'))
  } catch (error) {
    // A home directory that cannot be read holds no token for this user: public models need none.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EISDIR'].includes(errorCode(error) ?? '')) return undefined
    throw error
  }
}

function cleaned(token: string | undefined): string | undefined {
  return token?.replaceAll(/[\r\n]/g, '').trim() || undefined
}
