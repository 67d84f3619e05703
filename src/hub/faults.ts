/** What the hub's answers mean, as faults that say what to do. No token and no signed address ever appears in them. */

import { WinnowError } from '../errors.ts'

/** What was being fetched. */
export interface HubRequest {
  /** `owner/name`. */
  id: string
  endpoint: string
  revision: string
  /** Whether a token was sent. */
  authorised: boolean
}

/** A failure that may pass: worth another attempt, after `retryAfter` milliseconds if the server said so. */
export class PassingFailure extends Error {
  override name = 'PassingFailure'
  /** What to say when there are no attempts left. */
  readonly final: WinnowError
  readonly retryAfter: number | undefined

  constructor(final: WinnowError, retryAfter?: number) {
    super(final.message)
    this.final = final
    this.retryAfter = retryAfter
  }
}

/** Milliseconds that a Retry-After header asks for: seconds or a date. Undefined without one, or with one that is neither. */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined
  if (/^\d+$/.test(header.trim())) return 1000 * Number(header)
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** An answer that is no success, as the error that it stands for; 429 and 5xx as one that may pass. */
export function answerFault(
  status: number,
  headers: Headers,
  request: HubRequest,
  now: number,
): WinnowError | PassingFailure {
  const { id, endpoint, revision, authorised } = request
  const code = headers.get('X-Error-Code')
  const answer = `HTTP ${status}`
  const fault = (name: string, message: string, hint: string, kind: 'input' | 'failure' = 'input') =>
    new WinnowError(kind, { code: name, message, file: id, found: answer, hint })
  if (status === 429)
    return new PassingFailure(
      fault(
        'rate-limited',
        'the hub refuses more requests for now',
        `Try again in some minutes${authorised ? '' : '; with a token (HF_TOKEN) the limits are wider'}. What was fetched is kept.`,
        'failure',
      ),
      retryAfter(headers.get('Retry-After'), now),
    )
  if (status >= 500 || status === 408)
    return new PassingFailure(
      fault(
        'hub-unavailable',
        `the hub at ${endpoint} cannot answer now`,
        'Try again later. What was fetched is kept.',
        'failure',
      ),
      retryAfter(headers.get('Retry-After'), now),
    )
  if (/is disabled/i.test(headers.get('X-Error-Message') ?? ''))
    return fault('disabled-model', 'the hub has disabled the model', `See ${endpoint}/${id} for the reason.`)
  if (code === 'GatedRepo' || (status === 403 && code === null))
    return fault(
      'gated-model',
      'access to the model has to be granted first',
      `Ask for it or accept its terms at ${endpoint}/${id}, then set HF_TOKEN to a token that may read it${
        authorised ? ' (the token that was sent may not)' : ''
      }.`,
    )
  if (/invalid (credentials|user token|username)/i.test(headers.get('X-Error-Message') ?? ''))
    return fault(
      'bad-token',
      'the hub does not accept the token',
      'Check HF_TOKEN, or log in anew with `hf auth login`.',
    )
  if (code === 'RevisionNotFound')
    return fault(
      'revision-not-found',
      `the model has no revision '${revision}'`,
      'Name a branch, a tag or a whole commit hash.',
    )
  if (code === 'EntryNotFound')
    return fault('file-not-found', 'a file of the model is not there', `Look at ${endpoint}/${id}/tree/${revision}.`)
  if (status === 401 || status === 404 || code === 'RepoNotFound')
    return fault(
      'model-not-found',
      authorised ? 'there is no such model, or the token may not see it' : 'there is no public model of this name',
      `Check the spelling of owner/name, or of the directory, which is not there either${authorised ? ' and what the token may read' : '; for a private or gated model set HF_TOKEN'}.`,
    )
  return fault(
    'bad-hub-answer',
    `the hub at ${endpoint} answers with an error`,
    'Check HF_ENDPOINT and proxies on the way.',
    'failure',
  )
}

/** A refusal by the host that the hub redirects to, whose signed addresses expire: worth asking the hub for another one. */
export function storageFault(status: number, host: string, { id }: HubRequest): PassingFailure {
  return new PassingFailure(
    new WinnowError('failure', {
      code: 'hub-unavailable',
      message: `the storage host ${host} does not give the file`,
      file: id,
      found: `HTTP ${status}`,
      hint: 'Try again later, and check whether a proxy or firewall on the way blocks that host. What was fetched is kept.',
    }),
  )
}

/** A request that got no whole answer: no connection, a reset, silence. */
export function connectionFault(error: unknown, { id, endpoint }: HubRequest): PassingFailure {
  const cause = (error as { cause?: { code?: string; message?: string } } | undefined)?.cause
  const found = cause?.code ?? cause?.message ?? (error instanceof Error ? error.message : String(error))
  const fault = {
    code: 'hub-unreachable',
    message: `the connection to the hub at ${endpoint} failed`,
    file: id,
    found,
    hint:
      'Check the network, HF_ENDPOINT and proxies (Node takes HTTPS_PROXY only with NODE_USE_ENV_PROXY=1), then run the same command ' +
      'again: what was fetched is kept.',
  }
  return new PassingFailure(new WinnowError('failure', fault, { cause: error }))
}
