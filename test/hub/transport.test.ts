import { afterEach, describe, expect, it, vi } from 'vitest'
import { retryAfter } from '../../src/hub/faults.ts'
import { resolveModel } from '../../src/hub/resolve.ts'
import { COMMIT, ID, modelFiles, OLDER, situation } from './hub-model.ts'
import { failure, scratch } from './scratch.ts'
import { sha256, startHub } from './server.ts'

afterEach(() => vi.unstubAllEnvs())

const TOKEN = 'hf_secretsecret'

describe('the token', () => {
  it('goes to the hub with every request, and never to the host that it redirects to', async () => {
    const { hub, options } = await situation(undefined, { privateTo: TOKEN })
    await (await resolveModel(ID, { ...options, token: TOKEN })).weights.close()
    const sent = (host: string) =>
      new Set(hub.requests.filter((request) => request.host === host).map(({ authorization }) => authorization))
    expect(sent('hub')).toEqual(new Set([`Bearer ${TOKEN}`]))
    expect(sent('storage')).toEqual(new Set([undefined]))
  })

  it('comes from HF_TOKEN, and need not look like one of huggingface.co', async () => {
    const { options } = await situation(undefined, { privateTo: 'mirror token' })
    vi.stubEnv('HF_TOKEN', ' mirror token\n')
    await using model = await resolveModel(ID, { ...options, token: undefined })
    expect(model.source.revision).toBe(COMMIT)
  })

  it('and signed addresses appear in no error', async () => {
    const { hub, options } = await situation(undefined, { privateTo: TOKEN })
    const statuses = [403, 404, 418, 500]
    for (const status of statuses)
      for (const where of ['hub', 'storage']) {
        hub.intercept = ({ host, path }, response) => {
          const its = host === where && !path.startsWith('/api')
          if (its) response.writeHead(status).end('no')
          return its
        }
        const error = await failure(resolveModel(ID, { ...options, token: TOKEN }))
        const shown = JSON.stringify([error.fault, error.message, String(error.stack), String(error.cause)])
        expect(shown).not.toContain(TOKEN)
        expect(shown).not.toContain('Signature')
      }
  })
})

describe('refusals of the hub', () => {
  it.each([
    ['a model that is not there', 'tiny-org/tiny-lama', {}, 'model-not-found', /no public model.*spelling.*HF_TOKEN/],
    ['a private model', ID, { privateTo: TOKEN }, 'model-not-found', /HF_TOKEN/],
    ['a revision that is not there', `${ID}@v9`, {}, 'revision-not-found', /no revision 'v9'/],
    ['a commit that is not there', `${ID}@${OLDER}`, {}, 'revision-not-found', /whole commit hash/],
    ['a gated model', ID, { gated: true }, 'gated-model', /accept its terms at http:.*\/tiny-org\/tiny-llama/],
  ])('%s', async (_, name, repository, code, message) => {
    const { options, waits } = await situation(undefined, repository)
    const error = await failure(resolveModel(name, options))
    expect(error.fault.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.exitCode).toBe(2)
    expect(waits).toEqual([])
  })

  it.each([
    [401, { 'X-Error-Message': 'Invalid credentials in Authorization header' }, 'bad-token'],
    [403, {}, 'gated-model'],
    [404, { 'X-Error-Code': 'EntryNotFound' }, 'file-not-found'],
    [404, {}, 'model-not-found'],
    [403, { 'X-Error-Message': 'Access to this resource is disabled.' }, 'disabled-model'],
    [418, {}, 'bad-hub-answer'],
  ])('HTTP %s with %j is %s', async (status, headers, code) => {
    const { hub, options } = await situation()
    hub.intercept = (_, response) => Boolean(response.writeHead(status, headers).end('{}'))
    expect((await failure(resolveModel(ID, options))).fault.code).toBe(code)
  })
})

describe('answers that may pass', () => {
  /** Answers the first requests with these statuses, the others well. */
  async function answering(...answers: [number, Record<string, string>?][]) {
    const place = await situation()
    place.hub.intercept = (_, response) => {
      const answer = answers.shift()
      if (answer !== undefined) response.writeHead(answer[0], answer[1]).end()
      return answer !== undefined
    }
    return place
  }

  it('are asked for again after 1, 2, 4 seconds', async () => {
    const { options, waits } = await answering([500], [503], [502])
    await (await resolveModel(ID, options)).weights.close()
    expect(waits).toEqual([1000, 2000, 4000])
  })

  it('are refusals of the storage host, whose signed addresses expire: the hub gives another one', async () => {
    const { hub, options, waits } = await situation()
    let refused = false
    hub.intercept = ({ host }, response) => {
      if (host !== 'storage' || refused) return false
      refused = true
      response.writeHead(403).end('expired')
      return true
    }
    await (await resolveModel(ID, options)).weights.close()
    expect(waits).toEqual([1000])
    hub.intercept = ({ host }, response) => host === 'storage' && Boolean(response.writeHead(403).end('blocked'))
    const error = await failure(resolveModel(ID, { ...options, cacheDir: await scratch() }))
    expect(error.message).toMatch(/the storage host 127\.0\.0\.1:\d+ does not give the file \(found HTTP 403\)/)
  })

  it('end at an abort during the wait, with the reason of the caller', async () => {
    const { options } = await answering([500])
    const stop = new AbortController()
    const reason = new Error('enough')
    const sleep = async () => {
      stop.abort(reason)
      throw new DOMException('aborted', 'AbortError')
    }
    await expect(resolveModel(ID, { ...options, sleep, signal: stop.signal })).rejects.toBe(reason)
  })

  it('are given up at the fourth', async () => {
    const { options, waits, hub } = await answering([500], [500], [500], [504])
    const error = await failure(resolveModel(ID, options))
    expect(error.fault).toMatchObject({ code: 'hub-unavailable', found: 'HTTP 504' })
    expect(error.exitCode).toBe(1)
    expect([waits.length, hub.requests.length]).toEqual([3, 4])
  })

  it('wait as long as the server asks', async () => {
    const now = Date.parse('Sun, 06 Nov 1994 08:49:37 GMT')
    const { options, waits } = await answering(
      [429, { 'Retry-After': '7' }],
      [429, { 'Retry-After': 'Sun, 06 Nov 1994 08:49:59 GMT' }],
    )
    await (await resolveModel(ID, { ...options, now: () => now })).weights.close()
    expect(waits).toEqual([7000, 22_000])
  })

  it('are given up at once where the server asks for more than two minutes', async () => {
    const { options, waits } = await answering([429, { 'Retry-After': '3600' }])
    expect((await failure(resolveModel(ID, options))).fault).toMatchObject({ code: 'rate-limited', found: 'HTTP 429' })
    expect(waits).toEqual([])
  })

  it.each([
    ['12', 12_000],
    [' 0 ', 0],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
    ['soon', undefined],
    [null, undefined],
  ])('Retry-After %j is %j ms', (header, expected) => {
    expect(retryAfter(header, Date.parse('2026-01-01'))).toBe(expected)
  })

  it('are listings that break off, too', async () => {
    const { hub, options, waits } = await situation()
    let broken = false
    hub.intercept = ({ path }, response) => {
      if (broken || !path.includes('/tree/')) return false
      broken = true
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 500 })
      response.write('[{"type":', () => response.destroy())
      return true
    }
    await (await resolveModel(ID, options)).weights.close()
    expect(waits).toEqual([1000])
  })

  it('are connections that fall silent, before the answer and within it', async () => {
    const { hub, options, waits } = await situation()
    const bytes = (await modelFiles())['model.safetensors']
    const silent = ['/revision/', sha256(bytes)]
    hub.intercept = ({ path }, response) => {
      if (silent.length === 0 || !path.includes(silent[0]) || path.includes('/resolve/')) return false
      if (silent.shift() !== '/revision/') {
        response.writeHead(200, { 'Content-Length': bytes.length })
        response.write(bytes.subarray(0, 5000))
      }
      return true
    }
    await using model = await resolveModel(ID, { ...options, idleMilliseconds: 200 })
    expect(model.weights.files[0].bytes).toBe(bytes.length)
    expect(silent).toEqual([])
    expect(waits.length).toBeGreaterThanOrEqual(2)
  })
})

describe('what is no hub', () => {
  it.each([
    ['a login page', '<html>log in</html>'],
    ['JSON of something else', '{"hello":1}'],
    ['a list', '[]'],
    ['nothing', ''],
  ])('answers with %s and is named', async (_, body) => {
    const { hub, options } = await situation()
    hub.intercept = (_, response) => Boolean(response.writeHead(200).end(body))
    const { fault } = await failure(resolveModel(ID, options))
    expect(fault.code).toBe('bad-hub-answer')
    expect(fault.hint).toMatch(/HF_ENDPOINT/)
  })

  it('gives listings that cannot be verified', async () => {
    const { hub, options } = await situation()
    hub.intercept = ({ path }, response) => {
      const its = path.includes('/tree/')
      if (its) response.end(JSON.stringify([{ type: 'file', path: 'config.json', size: 2, oid: '../../x' }]))
      return its
    }
    expect((await failure(resolveModel(ID, options))).message).toMatch(/no content hash for config\.json/)
  })

  it('gives small files of a size that none of them has: nothing is fetched', async () => {
    const { hub, options } = await situation()
    hub.intercept = ({ path }, response) => {
      const its = path.includes('/tree/')
      const file = { type: 'file', oid: 'ab'.repeat(20) }
      const files = [
        { ...file, path: 'config.json', size: 2 },
        { ...file, path: 'model.safetensors', size: 2 },
        { ...file, path: 'tokenizer.json', size: 2 ** 40 },
      ]
      if (its) response.end(JSON.stringify(files))
      return its
    }
    const { fault } = await failure(resolveModel(ID, options))
    expect(fault).toMatchObject({ code: 'file-too-large', file: `${ID}/tokenizer.json`, found: `${2 ** 40} bytes` })
    expect(hub.requests.filter(({ path }) => path.includes('/resolve/'))).toEqual([])
  })

  it('redirects without end', async () => {
    const { hub, options } = await situation()
    hub.intercept = ({ path }, response) => Boolean(response.writeHead(307, { Location: path }).end())
    expect((await failure(resolveModel(ID, options))).message).toMatch(/redirects more than 8 times/)
    expect(hub.requests.length).toBe(9)
  })

  it('is followed where a repository has moved, with the token on the same host', async () => {
    const { hub, options } = await situation(undefined, { privateTo: TOKEN })
    hub.intercept = ({ path }, response) => {
      const moved = path.includes('old-org/')
      if (moved) response.writeHead(307, { Location: path.replace('old-org/tiny', 'tiny-org/tiny') }).end()
      return moved
    }
    await using model = await resolveModel('old-org/tiny-llama', { ...options, token: TOKEN })
    expect(model.source).toEqual({ kind: 'hub', id: 'old-org/tiny-llama', revision: COMMIT })
  })

  it('is not there at all', async () => {
    const hub = await startHub({})
    await hub[Symbol.asyncDispose]()
    const options = { endpoint: hub.endpoint, cacheDir: await scratch(), token: false as const, sleep: async () => {} }
    expect((await failure(resolveModel(ID, options))).fault).toMatchObject({
      code: 'hub-unreachable',
      found: 'ECONNREFUSED',
    })
  })
})
