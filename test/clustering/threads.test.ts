import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { kmeans } from '../../src/clustering/kmeans.ts'
import type { Parallel } from '../../src/parallel/parallel.ts'
import { workerThreads } from '../../src/parallel/threads.ts'
import { randomStream } from '../../src/random/philox.ts'

const stream = randomStream(3, 'test')
const [n, d, k] = [60_000, 8, 60]
const points = { data: Float32Array.from({ length: n * d }, () => stream.normal()), n, d }
const options = { k, seed: 2, restarts: 1, iterations: 20 }

it('has the same bits on 1, 2 and 3 threads', async () => {
  const alone = await kmeans(points, options)
  expect(await kmeans(points, { ...options, parallel: workerThreads(2) })).toEqual(alone)
  expect(await kmeans(points, { ...options, parallel: workerThreads(3) })).toEqual(alone)
})

it('has every worker ready in the end, and ends them', async () => {
  let ready = false
  let ended = false
  const threads = workerThreads(2)
  const observed: Parallel = {
    threads: 2,
    start(module, shared) {
      const crew = threads.start(module, shared)
      return {
        get gathering() {
          ready ||= !crew.gathering
          return crew.gathering
        },
        // Waits for the worker before the first command, so that it takes part in every one.
        run: async (command) => {
          while (crew.gathering) await new Promise((resolve) => setImmediate(resolve))
          await crew.run(command)
        },
        [Symbol.asyncDispose]: async () => {
          await crew[Symbol.asyncDispose]()
          ended = true
        },
      }
    },
  }
  expect(await kmeans(points, { ...options, parallel: observed })).toEqual(await kmeans(points, options))
  expect({ ready, ended }).toEqual({ ready: true, ended: true })
})

it('fails with the error of a worker that cannot start', async () => {
  const crew = workerThreads(2).start('file:///nowhere/missing.js', {})
  const ask = async () => {
    while (crew.gathering) {
      await crew.run({})
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await expect(ask()).rejects.toThrow('missing.js')
  await crew[Symbol.asyncDispose]()
})

it('needs nothing of Node in the core', () => {
  const folder = new URL('../../src/clustering/', import.meta.url)
  const files = readdirSync(folder)
  expect(files).toContain('kmeans.ts')
  for (const file of files)
    expect(readFileSync(new URL(file, folder), 'utf8')).not.toMatch(/from '(node:|\.\.\/parallel\/(?!parallel\.ts))/)
})
