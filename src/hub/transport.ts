/** Requests to the hub: redirects, the token on the hub's own origin only, and a few attempts where a failure may pass. */

import { setTimeout as delay } from 'node:timers/promises'
import { WinnowError } from '../errors.ts'
import { answerFault, connectionFault, type HubRequest, PassingFailure, storageFault } from './faults.ts'

export interface TransportOptions {
  /** Default: Node's own. */
  fetch?: typeof fetch
  signal?: AbortSignal
  /** Waits between attempts. Default: a timer. */
  sleep?: (milliseconds: number, signal?: AbortSignal) => Promise<void>
  /** Milliseconds since 1970, for a Retry-After that is a date. Default Date.now. */
  now?: () => number
  /** Milliseconds without a byte after which a connection counts as lost. Default 30,000. */
  idleMilliseconds?: number
  /** Attempts in all where a failure may pass. Default 4. */
  attempts?: number
}

/** An answer whose body is still to be read. */
export interface OpenAnswer {
  status: number
  headers: Headers
  /** The body in pieces; ends with a failure that may pass when the connection breaks or falls silent. */
  body: AsyncGenerator<Uint8Array, void>
  /** Lets the connection go, whatever of the body was read. */
  close(): Promise<void>
}

export interface Transport {
  /** For library calls: as `fetch`, but with the token, attempts, and WinnowErrors for answers that are no success. */
  fetch: typeof fetch
  /** One attempt at a GET. The answer's status is 200, 206 or 416; others are thrown. */
  open(url: string, headers: Record<string, string>): Promise<OpenAnswer>
  /**
   * Repeats an action while it throws failures that may pass: after 1, 2, 4, … seconds or what the server asked for, up to
   * `attempts` in all. A MiB of progress since the last failure makes it the first one again.
   */
  persist<T>(action: () => Promise<T>, options?: { progress?: () => number }): Promise<T>
}

const LONGEST_WAIT = 120_000
const REDIRECTS = 8
const PROGRESS = 1 << 20
/** Bytes of an answer that is read whole: a page of a listing has a thousand files. */
const MOST_ANSWER = 64 << 20

function endless({ endpoint, id }: HubRequest): WinnowError {
  return new WinnowError('failure', {
    code: 'bad-hub-answer',
    message: `the hub at ${new URL(endpoint).host} answers without end`,
    file: id,
    found: `more than ${MOST_ANSWER} bytes`,
    expected: 'what it knows of one model',
    hint: 'Check HF_ENDPOINT and proxies on the way.',
  })
}

/** Aborts its signal when it was not restarted for so long. */
function idleTimer(milliseconds: number) {
  const controller = new AbortController()
  const expire = () => controller.abort(new Error(`nothing came for ${milliseconds / 1000} s`))
  let timer = setTimeout(expire, milliseconds)
  return {
    signal: controller.signal,
    restart: () => {
      clearTimeout(timer)
      timer = setTimeout(expire, milliseconds)
    },
    stop: () => clearTimeout(timer),
  }
}

export function createTransport(
  request: HubRequest,
  token: string | undefined,
  options: TransportOptions = {},
): Transport {
  const { signal, now = Date.now, idleMilliseconds = 30_000, attempts = 4 } = options
  const sleep = options.sleep ?? ((milliseconds, signal) => delay(milliseconds, undefined, { signal }))
  const origin = new URL(request.endpoint).origin

  /** A failure on the way, unless the caller ended it. */
  const broken = (error: unknown) => {
    signal?.throwIfAborted()
    return error instanceof WinnowError || error instanceof PassingFailure ? error : connectionFault(error, request)
  }

  /** The redirects are followed here: not every fetch takes the token off on its way to another host. */
  async function follow(url: string, init: RequestInit, stop: AbortSignal): Promise<{ response: Response; at: URL }> {
    let at = new URL(url)
    for (let hop = 0; hop <= REDIRECTS; hop++) {
      const headers = new Headers(init.headers)
      headers.set('User-Agent', 'winnow-llm')
      if (token !== undefined && at.origin === origin) headers.set('Authorization', `Bearer ${token}`)
      const response = await (options.fetch ?? fetch)(at.href, { ...init, headers, redirect: 'manual', signal: stop })
      const location = response.headers.get('Location')
      if (response.status < 300 || response.status > 399 || location === null) return { response, at }
      await response.body?.cancel()
      at = new URL(location, at)
    }
    throw new WinnowError('failure', {
      code: 'bad-hub-answer',
      message: `the hub at ${request.endpoint} redirects more than ${REDIRECTS} times`,
      file: request.id,
      hint: 'Check HF_ENDPOINT and proxies on the way.',
    })
  }

  async function begin(url: string, init: RequestInit) {
    const timer = idleTimer(idleMilliseconds)
    try {
      const stop = signal === undefined ? timer.signal : AbortSignal.any([signal, timer.signal])
      const { response, at } = await follow(url, init, stop)
      const accepted = response.ok || (response.status === 416 && new Headers(init.headers).has('Range'))
      if (!accepted) {
        await response.body?.cancel()
        if (at.origin !== origin && response.status < 500 && response.status !== 429)
          throw storageFault(response.status, at.host, request)
        throw answerFault(response.status, response.headers, request, now())
      }
      timer.restart()
      return { response, timer }
    } catch (error) {
      timer.stop()
      throw broken(error)
    }
  }

  async function* pieces({ response, timer }: Awaited<ReturnType<typeof begin>>): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const piece of response.body ?? []) {
        // The consumer's own time, writing to a slow disk, is none of the connection's.
        timer.stop()
        yield piece
        timer.restart()
      }
    } catch (error) {
      throw broken(error)
    } finally {
      timer.stop()
    }
  }

  const persist: Transport['persist'] = async (action, { progress = () => 0 } = {}) => {
    let failures = 0
    let mark = progress()
    while (true) {
      signal?.throwIfAborted()
      try {
        return await action()
      } catch (error) {
        if (!(error instanceof PassingFailure)) throw error
        if (progress() - mark >= PROGRESS) {
          failures = 0
          mark = progress()
        }
        failures++
        const wait = error.retryAfter ?? 1000 * 2 ** (failures - 1)
        if (failures >= attempts || wait > LONGEST_WAIT) throw error.final
        await sleep(wait, signal).catch((error) => {
          signal?.throwIfAborted()
          throw error
        })
      }
    }
  }

  return {
    persist,
    open: async (url, headers) => {
      const begun = await begin(url, { headers })
      const { response, timer } = begun
      const body = pieces(begun)
      const close = async () => {
        timer.stop()
        // Ends a reader that stands in the middle; a body that nobody read from is let go itself.
        await body.return()
        if (!response.bodyUsed) await response.body?.cancel()
      }
      return { status: response.status, headers: response.headers, body, close }
    },
    // Read whole inside the attempt, so that a body that breaks off is fetched again.
    fetch: (input, init = {}) =>
      persist(async () => {
        const begun = await begin(String(input), init)
        const body: Uint8Array[] = []
        let size = 0
        for await (const piece of pieces(begun)) {
          body.push(piece)
          size += piece.length
          if (size > MOST_ANSWER) throw endless(request)
        }
        const { status, headers } = begun.response
        return new Response(Buffer.concat(body), { status, headers })
      }),
  }
}
