/** Runs programs that a model wrote, where they can do no harm: each in a process of its own, in Python compiled to WebAssembly. */

import { WinnowError } from '../errors.ts'
import { type Interpreter, startInterpreter, takeSnapshot } from './process.ts'

export interface ProgramRunnerOptions {
  /** Wall-clock time of a program. Default 5. */
  seconds?: number
  /** Memory of the interpreter, of which it needs 32 MiB itself. Default 512 MiB. */
  memoryBytes?: number
  /** Programs that run at once; others wait. Default 1. */
  processes?: number
}

export interface ProgramResult {
  /** What the program printed, its first 64 KiB; not after a timeout. */
  output?: string
  /**
   * `timeout`; `memory`, asked for too much; `forbidden`, imported or called what leads out of the sandbox; `error`, an exception of any other
   * kind, a module that is not there, an exit status.
   */
  fault?: 'timeout' | 'memory' | 'error' | 'forbidden'
  message?: string
}

export interface ProgramRunner extends AsyncDisposable {
  /** Rejects with the signal's reason when it is aborted, and with a WinnowError where no interpreter can be started. A fault of the program is a result. */
  run(source: string, options?: { signal?: AbortSignal }): Promise<ProgramResult>
}

const LEAST_MEMORY = 2 ** 26
/**
 * Opens the sandbox. A program runs as `__main__` in a fresh interpreter (Pyodide, which is CPython, with the standard library alone: no numpy, no
 * sympy), in a process of its own that is killed afterwards, so nothing passes from one program to the next. One interpreter waits ready.
 *
 * Python itself is no wall. `js`, `pyodide`, `ctypes`, `socket`, `subprocess` and the like are refused when imported, and their modules in C are out
 * of the table of built-in ones, so that a program which needs them gets a clear fault; but one that sets out to can get around that, from Python to
 * the JavaScript that it runs on. The walls are two. JavaScript: no global but the language's own, an empty `process`, no text compiled, no module
 * loaded; files are in memory. The process: an empty environment and, by Node's permission model, Pyodide's folder and this one to read, nothing to
 * write, nothing to start. Node has a permission for the network from 25 on; before (22, 24), JavaScript's is the only wall before the network. The
 * wall clock stops the program, a cap of memory holds it, output is cut at 64 KiB.
 *
 * Same program, same output: hashes and entropy are fixed. (Time is not.)
 *
 * @throws {WinnowError} `bad-option`; `no-sandbox` where the interpreter does not start.
 */
export async function openProgramRunner(options: ProgramRunnerOptions = {}): Promise<ProgramRunner> {
  const { seconds = 5, memoryBytes = 2 ** 29, processes = 1 } = options
  if (!(seconds > 0 && seconds <= 3600)) throw badOption('seconds', seconds, 'a number above 0, at most 3600')
  if (!(Number.isSafeInteger(memoryBytes) && memoryBytes >= LEAST_MEMORY && memoryBytes <= 2 ** 32))
    throw badOption('memoryBytes', memoryBytes, `a whole number from ${LEAST_MEMORY} (64 MiB) to ${2 ** 32}`)
  if (!(Number.isSafeInteger(processes) && processes >= 1 && processes <= 256))
    throw badOption('processes', processes, 'a whole number from 1 to 256')
  const snapshot = await takeSnapshot()
  const start = () => startInterpreter({ memoryBytes, seconds }, snapshot)
  const alive = new Set<Interpreter>()
  const waiting: (() => void)[] = []
  let free = processes
  let closed = false
  let spare: Interpreter | undefined

  const take = (): Interpreter => {
    const taken = spare ?? start()
    alive.add(taken)
    spare = start()
    return taken
  }
  spare = start()
  try {
    await spare.ready
  } catch (error) {
    spare.kill()
    throw error
  }
  return {
    async run(source, { signal } = {}) {
      signal?.throwIfAborted()
      if (free === 0) await turn(waiting, signal)
      else free--
      try {
        signal?.throwIfAborted()
        if (closed) throw closedError()
        const interpreter = take()
        try {
          const result = await interpreter.run(source, signal)
          if (closed) throw closedError()
          return result
        } finally {
          interpreter.kill()
          alive.delete(interpreter)
        }
      } finally {
        // The place goes to the next in line, or is free.
        const next = waiting.shift()
        if (next === undefined) free++
        else next()
      }
    },
    async [Symbol.asyncDispose]() {
      closed = true
      const all = [...alive, ...(spare === undefined ? [] : [spare])]
      spare = undefined
      await Promise.all(all.map((interpreter) => interpreter.end()))
    },
  }
}

/** Waits in line until it is called, or the signal is aborted. */
function turn(line: (() => void)[], signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const called = () => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }
    const leave = () => {
      line.splice(line.indexOf(called), 1)
      reject(signal?.reason)
    }
    line.push(called)
    signal?.addEventListener('abort', leave, { once: true })
  })
}

const closedError = () => new WinnowError('failure', { code: 'closed', message: 'the sandbox was closed' })

const badOption = (path: string, found: number, expected: string) =>
  new WinnowError('usage', { code: 'bad-option', message: `the sandbox has no ${path} of ${found}`, path, expected })
