import type { Parallel } from '../../src/parallel/parallel.ts'
import { workerThreads } from '../../src/parallel/threads.ts'

/** Threads whose first command waits until every worker is there, so that small work is shared too. */
export function gatheredThreads(threads: number): Parallel {
  const workers = workerThreads(threads)
  return {
    threads,
    start(module, shared) {
      const crew = workers.start(module, shared)
      return {
        get gathering() {
          return crew.gathering
        },
        run: async (command) => {
          while (crew.gathering) {
            // Rejects if a worker could not start.
            await crew.run(command)
            await new Promise((resolve) => setImmediate(resolve))
          }
          await crew.run(command)
        },
        [Symbol.asyncDispose]: () => crew[Symbol.asyncDispose](),
      }
    },
  }
}
