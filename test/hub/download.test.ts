import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DownloadProgress } from '../../src/hub/blob.ts'
import { resolveModel } from '../../src/hub/resolve.ts'
import { ownProcess } from '../../src/runs/process.ts'
import { COMMIT, ID, modelFiles, situation } from './hub-model.ts'
import { failure } from './scratch.ts'
import { etagOf, sendBytes } from './server.ts'

const WEIGHTS = 'model.safetensors'
const weights = async () => (await modelFiles())[WEIGHTS]
/** A process of this host that does not run: pids end far below. */
const ENDED = `${ownProcess().host}-2147483000-${'0'.repeat(12)}-0`

/** Whole headers, part of the body, then the connection is gone. */
const cut = (bytes: Uint8Array, after: number) => (response: ServerResponse) => {
  response.writeHead(200, { 'Content-Length': bytes.length })
  // An orderly end: what was sent before a reset may be lost on its way to the reader.
  response.write(bytes.subarray(0, after), () => response.socket?.end())
}

async function interruptible() {
  const place = await situation()
  const bytes = await weights()
  const etag = etagOf(WEIGHTS, bytes)
  const blobs = join(place.folder, 'blobs')
  /** The first request for the weights' bytes meets the first action, and so on; later ones are answered well. */
  const atWeights = (...actions: ((response: ServerResponse, range?: string) => void)[]) => {
    let turn = 0
    place.hub.intercept = ({ host, path, range }, response) => {
      if (host !== 'storage' || !path.includes(etag)) return false
      const action = actions[turn++]
      action?.(response, range)
      return action !== undefined
    }
  }
  const ranges = () =>
    place.hub.requests.filter(({ host, path }) => host === 'storage' && path.includes(etag)).map(({ range }) => range)
  /** Puts a file among the blobs. */
  const leave = async (name: string, content: Uint8Array) => {
    await mkdir(blobs, { recursive: true })
    await writeFile(join(blobs, name), content)
    return join(blobs, name)
  }
  /** Blobs and rests of the weights after a download. */
  const left = async () => (await readdir(blobs)).filter((name) => name.startsWith(etag))
  const fetched = async () => {
    await using model = await resolveModel(ID, place.options)
    expect(await readFile(model.weights.files[0].path)).toEqual(Buffer.from(bytes))
  }
  return { ...place, bytes, etag, blobs, atWeights, ranges, leave, left, fetched }
}

describe('a download that broke off', () => {
  it('goes on at the byte where the connection was lost', async () => {
    const { bytes, etag, atWeights, ranges, left, fetched, waits } = await interruptible()
    atWeights(cut(bytes, 10_000))
    await fetched()
    expect(ranges()[0]).toBeUndefined()
    expect(Number(/^bytes=(\d+)-$/.exec(ranges()[1] ?? '')?.[1])).toBeGreaterThan(0)
    expect(waits).toEqual([1000])
    expect(await left()).toEqual([etag])
  })

  it('goes on where a process that has ended stopped, and reports its bytes as there', async () => {
    const { bytes, etag, leave, ranges, left, options } = await interruptible()
    await leave(`${etag}.${ENDED}.incomplete`, bytes.subarray(0, 20_000))
    await leave(`${etag}.${ENDED.slice(0, -1)}1.incomplete`, bytes.subarray(0, 7))
    const seen: DownloadProgress[] = []
    await using model = await resolveModel(ID, { ...options, onProgress: (progress) => void seen.push(progress) })
    expect(model.weights.files[0].bytes).toBe(bytes.length)
    expect(ranges()).toEqual(['bytes=20000-'])
    expect(seen.find(({ file }) => file === WEIGHTS)).toEqual({ file: WEIGHTS, bytes: 20_000, total: bytes.length })
    expect(await left()).toEqual([etag])
  })

  it.skipIf(process.platform === 'win32')('goes on after a kill', async () => {
    const { bytes, etag, atWeights, ranges, left, fetched, hub, options } = await interruptible()
    atWeights((response) => {
      response.writeHead(200, { 'Content-Length': bytes.length })
      response.write(bytes.subarray(0, 5000))
    })
    const script = join(import.meta.dirname, 'killed-download.child.ts')
    const child = spawn(process.execPath, [script, ID, hub.endpoint, options.cacheDir], { stdio: 'ignore' })
    const [, signal] = await once(child, 'exit')
    expect(signal).toBe('SIGKILL')
    expect(await left()).toEqual([expect.stringMatching(`^${etag}\\..*incomplete$`)])
    await fetched()
    expect(ranges()).toEqual([undefined, 'bytes=5000-'])
    expect(await left()).toEqual([etag])
  })

  it('goes on after an abort, with the reason of the caller', async () => {
    const { bytes, etag, atWeights, ranges, left, fetched, options, waits } = await interruptible()
    const stop = new AbortController()
    const reason = new Error('enough')
    atWeights((response) => {
      response.writeHead(200, { 'Content-Length': bytes.length })
      response.write(bytes.subarray(0, 5000))
    })
    const onProgress = ({ file, bytes }: DownloadProgress) => {
      if (file === WEIGHTS && bytes > 0) stop.abort(reason)
    }
    await expect(resolveModel(ID, { ...options, onProgress, signal: stop.signal })).rejects.toBe(reason)
    expect(waits).toEqual([])
    expect(await left()).toEqual([expect.stringMatching(`^${etag}\\..*incomplete$`)])
    await fetched()
    expect(ranges().at(-1)).toBe('bytes=5000-')
    expect(await left()).toEqual([etag])
  })

  it('of an older Python client goes on from a copy while that may still be written', async () => {
    const { bytes, etag, leave, ranges, left, fetched } = await interruptible()
    await leave(`${etag}.incomplete`, bytes.subarray(0, 9000))
    await fetched()
    expect(ranges()).toEqual(['bytes=9000-'])
    expect(await left()).toEqual([etag, `${etag}.incomplete`])
  })

  it('of a Python client that has long been abandoned is taken over', async () => {
    const { bytes, etag, leave, ranges, left, fetched } = await interruptible()
    const path = await leave(`${etag}.0a1b2c3d.incomplete`, bytes.subarray(0, 9000))
    await utimes(path, 1, 1)
    await fetched()
    expect(ranges()).toEqual(['bytes=9000-'])
    expect(await left()).toEqual([etag])
  })

  it('leaves alone what a running process writes', async () => {
    const { bytes, etag, leave, ranges, left, fetched } = await interruptible()
    const { host } = ownProcess()
    const name = `${etag}.${host}-${process.ppid}--0.incomplete`
    await leave(name, bytes.subarray(0, 9000))
    await fetched()
    expect(ranges()).toEqual([undefined])
    expect(await left()).toEqual([etag, name])
  })

  it('starts over where the server ignores the range', async () => {
    const { bytes, etag, leave, atWeights, left, fetched } = await interruptible()
    await leave(`${etag}.${ENDED}.incomplete`, bytes.subarray(0, 20_000))
    atWeights((response) => sendBytes(response, bytes))
    await fetched()
    expect(await left()).toEqual([etag])
  })

  it('starts over where the server knows no such range, or sends another', async () => {
    const { bytes, etag, leave, atWeights, ranges, fetched } = await interruptible()
    await leave(`${etag}.${ENDED}.incomplete`, bytes.subarray(0, 20_000))
    atWeights(
      (response) => response.writeHead(416, { 'Content-Range': 'bytes */7' }).end(),
      (response) => cut(bytes, 5000)(response),
      (response) => sendBytes(response, bytes, 'bytes=0-'),
    )
    await fetched()
    expect(ranges()).toEqual(['bytes=20000-', undefined, expect.stringMatching(/^bytes=\d+-$/), undefined])
  })

  it('starts over once where its beginning was wrong, or longer than the file', async () => {
    for (const rest of [new Uint8Array(9000), new Uint8Array(99_999)]) {
      const { etag, leave, left, fetched } = await interruptible()
      await leave(`${etag}.${ENDED}.incomplete`, rest)
      await fetched()
      expect(await left()).toEqual([etag])
    }
  })

  it('is given up after a few attempts without progress, and kept', async () => {
    const { bytes, etag, atWeights, left, waits, fetched, options } = await interruptible()
    const dead = (response: ServerResponse) => void response.destroy()
    atWeights(cut(bytes, 10_000), dead, dead, dead)
    const error = await failure(resolveModel(ID, options))
    expect(error.fault.code).toBe('hub-unreachable')
    expect(error.fault.hint).toMatch(/what was fetched is kept/)
    expect(waits).toEqual([1000, 2000, 4000])
    expect((await left()).length).toBe(1)
    await fetched()
    expect(await left()).toEqual([etag])
  })
})

describe('a file that is not what the repository says', () => {
  it('is removed: no blob, no link, no rest', async () => {
    const { bytes, etag, blobs, folder, left, options, hub } = await interruptible()
    const wrong = Uint8Array.from(bytes)
    wrong[20_000] ^= 1
    hub.intercept = ({ host, path }, response) => {
      const its = host === 'storage' && path.includes(etag)
      if (its) sendBytes(response, wrong)
      return its
    }
    const error = await failure(resolveModel(ID, options))
    expect(error.fault.code).toBe('hash-mismatch')
    expect(error.fault.expected).toMatch(/^[0-9a-f]{64}$/)
    expect(await left()).toEqual([])
    await expect(stat(join(folder, 'snapshots', COMMIT, WEIGHTS))).rejects.toThrow('ENOENT')
    await expect(stat(join(folder, 'refs', 'main'))).rejects.toThrow('ENOENT')
    expect((await readdir(blobs)).includes(etag)).toBe(false)
  })

  it('is found out by the hash of git where it is a small one', async () => {
    const { options, hub } = await interruptible()
    const wrong = Buffer.from('{"eos_token_id":3}')
    hub.intercept = ({ path }, response) => {
      const its = path.endsWith('/generation_config.json')
      if (its) sendBytes(response, wrong)
      return its
    }
    const { fault } = await failure(resolveModel(ID, options))
    expect(fault.message).toMatch(/generation_config\.json are not those/)
    expect(fault.found).toMatch(/^git sha1 /)
  })

  it('is refused as soon as it is longer', async () => {
    const { bytes, atWeights, left, options } = await interruptible()
    atWeights((response) => sendBytes(response, Buffer.concat([bytes, bytes])))
    expect((await failure(resolveModel(ID, options))).fault).toMatchObject({
      code: 'size-mismatch',
      expected: '25952 bytes',
    })
    expect(await left()).toEqual([])
  })
})

describe('two downloads at once', () => {
  it('both end with the whole model and leave no rest', async () => {
    const { etag, left, fetched } = await interruptible()
    await Promise.all([fetched(), fetched(), fetched()])
    expect(await left()).toEqual([etag])
  })
})

describe('a disk that is full', () => {
  it.skipIf(process.platform !== 'linux')('is named, and no blob is there', async () => {
    const { etag, blobs, left, options } = await interruptible()
    await mkdir(blobs, { recursive: true })
    await symlink('/dev/full', join(blobs, `${etag}.${ENDED}.incomplete`))
    const error = await failure(resolveModel(ID, options))
    expect(error.fault).toMatchObject({ code: 'disk-full', file: join(blobs, etag) })
    expect(await left()).toEqual([expect.stringMatching(/incomplete$/)])
  })
})
