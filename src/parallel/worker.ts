/** What runs in each worker thread: attaches to the module it was born for, then handles one command after another. */

import { parentPort, workerData } from 'node:worker_threads'
import type { Attach } from './parallel.ts'
import type { WorkerBirth, WorkerReply } from './threads.ts'

const { module, shared, worker } = workerData as WorkerBirth
const reply = (message: WorkerReply) => parentPort?.postMessage(message)

try {
  const { attach } = (await import(module)) as { attach: Attach<unknown, unknown> }
  const handle = await attach(shared, worker)
  parentPort?.on('message', (command) => {
    try {
      handle(command)
      reply({})
    } catch (error) {
      reply({ error })
    }
  })
  reply({})
} catch (error) {
  reply({ error })
}
