/** Node's worker threads as the `Parallel` that the core asks for. */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Crew, Parallel } from './parallel.ts'

/** What a worker is born with. */
export interface WorkerBirth {
  module: string
  shared: unknown
  worker: number
}

/** What it says: ready or done (no error), or what went wrong. */
export interface WorkerReply {
  error?: unknown
}

/** `count` threads for each task that asks, this one among them; default: as many as the machine runs at once. */
export function workerThreads(count: number = availableParallelism()): Parallel {
  return {
    threads: count,
    start(module, shared) {
      // Sources run unbuilt: the worker's file ends as this one does.
      const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url)
      const members = Array.from({ length: count - 1 }, (_, index) => {
        const workerData: WorkerBirth = { module, shared, worker: index + 1 }
        return member(new Worker(entry, { workerData }))
      })
      const crew: Crew = {
        get gathering() {
          return members.some((m) => !m.ready)
        },
        run: async (command) => {
          await Promise.all(members.map((m) => m.ask(command)))
        },
        [Symbol.asyncDispose]: async () => {
          await Promise.all(members.map((m) => m.end()))
        },
      }
      return crew
    },
  }
}

/** One worker: its first message says that it is ready, each later one answers a command. */
function member(worker: Worker) {
  let ready = false
  let failure: unknown
  let waiting: { resolve: () => void; reject: (error: unknown) => void } | undefined
  const fail = (error: unknown) => {
    failure ??= error
    waiting?.reject(error)
    waiting = undefined
  }
  worker.on('message', ({ error }: WorkerReply) => {
    if (error !== undefined) return fail(error)
    ready = true
    waiting?.resolve()
    waiting = undefined
  })
  worker.on('error', fail)
  worker.on('exit', (code) => fail(new Error(`a worker thread ended early, exit code ${code}`)))
  return {
    get ready() {
      return ready
    },
    ask: async (command: unknown) => {
      if (failure !== undefined) throw failure
      if (!ready) return
      const answered = new Promise<void>((resolve, reject) => {
        waiting = { resolve, reject }
      })
      worker.postMessage(command)
      await answered
    },
    end: () => worker.terminate(),
  }
}
