/** Node's worker threads as the `Parallel` that the core asks for. */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Crew, Parallel } from '../clustering/parallel.ts'

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

/** `count` worker threads for each task that asks; default: as many as the machine runs at once. */
export function workerThreads(count: number = availableParallelism()): Parallel {
  return {
    threads: count,
    async start(module, shared) {
      // Sources run unbuilt: the worker's file ends as this one does.
      const entry = new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url)
      const members = Array.from({ length: count }, (_, worker) =>
        member(new Worker(entry, { workerData: { module, shared, worker } satisfies WorkerBirth })),
      )
      const crew: Crew = {
        run: async (command) => {
          await Promise.all(members.map((m) => m.ask(command)))
        },
        [Symbol.asyncDispose]: async () => {
          await Promise.all(members.map((m) => m.end()))
        },
      }
      try {
        await Promise.all(members.map((m) => m.ready))
      } catch (error) {
        await crew[Symbol.asyncDispose]()
        throw error
      }
      return crew
    },
  }
}

/** One worker: a question at a time, each with one reply. */
function member(worker: Worker) {
  let settle: { resolve: () => void; reject: (error: unknown) => void } | undefined
  let failure: unknown
  const reply = () =>
    new Promise<void>((resolve, reject) => {
      if (failure !== undefined) reject(failure)
      else settle = { resolve, reject }
    })
  const fail = (error: unknown) => {
    failure = error
    settle?.reject(error)
    settle = undefined
  }
  worker.on('message', ({ error }: WorkerReply) => {
    if (error !== undefined) return fail(error)
    settle?.resolve()
    settle = undefined
  })
  worker.on('error', fail)
  worker.on('exit', (code) => fail(new Error(`a worker thread ended early, exit code ${code}`)))
  return {
    ready: reply(),
    ask: (command: unknown) => {
      const answered = reply()
      worker.postMessage(command)
      return answered
    },
    end: () => worker.terminate(),
  }
}
