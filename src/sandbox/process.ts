/** The process of an interpreter, seen from the outside: how it is started, what it is told, what it answers, how it ends. */

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { WinnowError } from '../errors.ts'
import { type Exit, frameReader } from './frame-reader.ts'
import { type Birth, decodeText, encodeText, frameOf, type Reply } from './frames.ts'
import type { ProgramResult } from './program.ts'

const OUTPUT_LIMIT = 65_536
/** JSON may write a character as six. */
const REPLY_LIMIT = 6 * OUTPUT_LIMIT + 4096
/** Seconds of processor time, besides the program's, after which the system ends a process that nobody waits for any more. */
const START_SECONDS = 60

export interface Interpreter {
  ready: Promise<void>
  run(source: string, signal?: AbortSignal): Promise<ProgramResult>
  kill(): void
  /** Kills it, and waits until it is gone. */
  end(): Promise<void>
}

interface Limits {
  memoryBytes: number
  seconds: number
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>

/** The process, with nothing of ours: no environment, no rights but to read the interpreter. */
function spawnInterpreter({ memoryBytes, seconds }: Limits): Child {
  const pyodide = realpathSync(createRequire(import.meta.url).resolve('pyodide/pyodide.mjs'))
  // Sources run unbuilt: the process's file ends as this one does.
  const here = realpathSync(dirname(fileURLToPath(import.meta.url)))
  const birth: Birth = { pyodide, memoryBytes, outputLimit: OUTPUT_LIMIT }
  const command = [
    process.execPath,
    '--permission',
    `--allow-fs-read=${join(dirname(pyodide), '*')}`,
    `--allow-fs-read=${join(here, '*')}`,
    '--disallow-code-generation-from-strings',
    '--no-addons',
    '--no-warnings',
    '--max-old-space-size=256',
    join(here, `interpreter${import.meta.url.slice(-3)}`),
    JSON.stringify(birth),
  ]
  const windows = process.platform === 'win32'
  // A limit of processor time ends the program even if this process is gone and cannot.
  const limited = ['/bin/sh', '-c', `ulimit -t ${Math.ceil(seconds) + START_SECONDS}; ulimit -c 0; exec "$0" "$@"`]
  const [file, ...rest] = windows ? command : [...limited, ...command]
  const env = windows ? { SystemRoot: process.env.SystemRoot } : {}
  return spawn(file, rest, { env, cwd: here, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true })
}

export function startInterpreter(limits: Limits, snapshot: Uint8Array): Interpreter {
  const child = spawnInterpreter(limits)
  const frames = frameReader(child)
  send(child, snapshot)
  let running = false
  const ready = frames.next(0).then((frame) => {
    if (frame === undefined) throw noSandbox(frames.complaint())
    // An interpreter that only waits keeps nobody's process from ending.
    if (!running) hold(child, false)
  })
  ready.catch(() => {})
  return {
    ready,
    kill: () => void child.kill('SIGKILL'),
    async end() {
      hold(child, true)
      child.kill('SIGKILL')
      await frames.exit
    },
    async run(source, signal) {
      running = true
      hold(child, true)
      const abort = () => child.kill('SIGKILL')
      signal?.addEventListener('abort', abort, { once: true })
      let late = false
      let timer: NodeJS.Timeout | undefined
      try {
        await ready.catch((error) => {
          throw signal?.aborted ? signal.reason : error
        })
        send(child, encodeText(source))
        const reply = frames.next(REPLY_LIMIT)
        let told = false
        reply.then(() => {
          told = true
        })
        timer = setTimeout(() => {
          // Where this thread was busy itself, the answer may be there, unread.
          setImmediate(() => {
            if (told) return
            late = true
            child.kill('SIGKILL')
          })
        }, limits.seconds * 1000)
        const bytes = await reply
        if (signal?.aborted) throw signal.reason
        if (bytes === undefined) return late ? timedOut(limits) : died(await frames.exit, limits, frames.complaint())
        const result = maybeReply(bytes)
        if (result === undefined) return { fault: 'error', message: 'the interpreter gave no answer that can be read' }
        return result.seconds > limits.seconds ? timedOut(limits) : resultOf(result)
      } finally {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
    },
  }
}

const timedOut = ({ seconds }: Limits): ProgramResult => ({
  fault: 'timeout',
  message: `the program was stopped after ${seconds} s`,
})

function died({ code, signal }: Exit, limits: Limits, complaint: string): ProgramResult {
  if (signal === 'SIGXCPU') return timedOut(limits)
  if (/out of memory/i.test(complaint))
    return { fault: 'memory', message: 'the program asks for more memory than it may have' }
  return { fault: 'error', message: `the interpreter ended without an answer (${signal ?? `exit status ${code}`})` }
}

function resultOf({ output, printed, fault, message }: Reply): ProgramResult {
  const cut =
    printed > OUTPUT_LIMIT ? `the program printed ${printed} bytes; the first ${OUTPUT_LIMIT} are kept` : undefined
  const words = message ?? cut
  return { output, ...(fault === undefined ? {} : { fault }), ...(words === undefined ? {} : { message: words }) }
}

/** What the process said, if it is a reply: it is not to be trusted. */
function maybeReply(bytes: Uint8Array): Reply | undefined {
  try {
    const reply = JSON.parse(decodeText(bytes)) as Reply
    const { output, printed, seconds, fault, message } = reply
    const isReply =
      typeof output === 'string' &&
      typeof printed === 'number' &&
      typeof seconds === 'number' &&
      [undefined, 'memory', 'error', 'forbidden'].includes(fault) &&
      ['undefined', 'string'].includes(typeof message)
    return isReply ? reply : undefined
  } catch {
    return undefined
  }
}

let snapshot: Promise<Uint8Array> | undefined

/** Memory of an interpreter that has just started, taken once: from it another starts in a tenth of the time. */
export function takeSnapshot(): Promise<Uint8Array> {
  snapshot ??= (async () => {
    const child = spawnInterpreter({ memoryBytes: 2 ** 29, seconds: 60 })
    const frames = frameReader(child)
    send(child, new Uint8Array())
    const taken = await frames.next(2 ** 28)
    child.kill('SIGKILL')
    if (taken !== undefined) return taken
    snapshot = undefined
    throw noSandbox(frames.complaint())
  })()
  return snapshot
}

const noSandbox = (complaint: string) =>
  new WinnowError('failure', {
    code: 'no-sandbox',
    message: 'the sandbox for programs does not start',
    found: complaint.trim().split('\n').slice(-4).join(' ').slice(0, 400) || undefined,
    hint: 'It needs the package pyodide and a Node from 22.18 on.',
  })

function send(child: Child, bytes: Uint8Array): void {
  child.stdin.write(frameOf(bytes))
}

function hold(child: Child, held: boolean): void {
  for (const part of [child, child.stdin, child.stdout, child.stderr] as { ref?(): void; unref?(): void }[])
    if (held) part.ref?.()
    else part.unref?.()
}
