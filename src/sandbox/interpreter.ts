/**
 * The process in which one program runs: Python (Pyodide, WebAssembly) and nothing else. It is started by program.ts with an empty environment, under
 * Node's permission model, and killed by it. What it reads from stdin and writes to stdout are frames (frames.ts):
 *
 *     in   a memory snapshot of the interpreter, or an empty frame
 *     out  an empty frame: ready; or, where none came in, the snapshot, and the end
 *     in   the program
 *     out  what became of it, as JSON (`Ran`), and the end
 */

import { Buffer } from 'node:buffer'
import { constants, writeSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { loadPyodide } from 'pyodide'
import { bareGlobals, fixEntropy } from './bare-globals.ts'
import { type Birth, decodeText, encodeText, frameOf, type Ran } from './frames.ts'
import { GUARD, type InterpreterMemory, removeBuiltins } from './guard.ts'

const { pyodide: module, memoryBytes, outputLimit } = JSON.parse(process.argv[2]) as Birth
// `process.exit` would ask the listeners of a process that has been emptied.
const exit = (process as unknown as { reallyExit(code: number): never }).reallyExit.bind(process)

const input = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>
let pending: Buffer = Buffer.alloc(0)

/** The next frame; the end of the input is the end of the process. */
async function read(): Promise<Uint8Array> {
  const bytesOf = async (length: number) => {
    const parts = [pending]
    let have = pending.length
    while (have < length) {
      const { value, done } = await input.next()
      if (done) exit(0)
      parts.push(value)
      have += value.length
    }
    const all = Buffer.concat(parts)
    pending = all.subarray(length)
    return all.subarray(0, length)
  }
  return bytesOf((await bytesOf(4)).readUInt32LE(0))
}

/** Blocks until all of it is written: who reads may be slower than this. */
function write(bytes: Uint8Array): void {
  const frame = frameOf(bytes)
  for (let at = 0; at < frame.length; ) {
    try {
      at += writeSync(1, frame, at)
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error
      Atomics.wait(pause, 0, 0, 2)
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4))

interface GrowingMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/** Memory of WebAssembly grows to `memoryBytes` and no further: to the program, the machine has no more. */
function capMemory(): void {
  const { prototype } = (globalThis as unknown as { WebAssembly: { Memory: { prototype: GrowingMemory } } }).WebAssembly
    .Memory
  const { grow } = prototype
  const value = function (this: GrowingMemory, pages: number): number {
    if (this.buffer.byteLength + pages * 65_536 > memoryBytes) throw new RangeError('no more memory')
    return grow.call(this, pages)
  }
  Object.defineProperty(prototype, 'grow', { value, writable: false, configurable: false })
}

capMemory()
fixEntropy()
// Emscripten asks for the flags of `open` in a way that the permission model forbids.
Object.assign(process, { binding: () => ({ fs: constants }) })
const { loadPyodide: load } = (await import(pathToFileURL(module).href)) as { loadPyodide: typeof loadPyodide }
const quiet = { stdout: () => {}, stderr: () => {}, env: { HOME: '/home/program', PYTHONHASHSEED: '0', _: 'program' } }
const snapshot = await read()
if (snapshot.length === 0) {
  const python = await load({ ...quiet, _makeSnapshot: true })
  // What programs import most is there already when they start.
  python.runPython(
    'import math, cmath, datetime, fractions, decimal, statistics, itertools, functools, collections, re, random',
  )
  removeBuiltins((python as unknown as { _module: InterpreterMemory })._module)
  write(python.makeMemorySnapshot())
  exit(0)
}

const python = await load({ ...quiet, _loadSnapshot: snapshot })
const output: string[] = []
let printed = 0
const decoder = new TextDecoder()
python.setStdout({
  write(bytes: Uint8Array) {
    if (printed < outputLimit) output.push(decoder.decode(bytes.subarray(0, outputLimit - printed), { stream: true }))
    printed += bytes.length
    return bytes.length
  },
})
python.setStderr({ write: (bytes: Uint8Array) => bytes.length })
python.setStdin({ error: true })
const run = python.runPython(GUARD) as (source: string) => string | undefined

write(new Uint8Array())
const source = decodeText(await read())

// From here on nothing of Node is within reach of what runs, should it leave Python: no module can be loaded, no global is left but the language's
// own. And nothing is awaited.
registerHooks({
  resolve(name) {
    throw new Error(`${name} is not for programs`)
  },
})
bareGlobals()

const start = performance.now()
let ran: Ran
try {
  const fault = run(source)
  ran = fault === undefined ? {} : JSON.parse(fault)
} catch (error) {
  // Not an exception of Python, for those are caught: the interpreter itself has given up.
  ran = { fault: 'error', message: `the interpreter stopped: ${String(error).split('\n')[0].slice(0, 200)}` }
}
const seconds = (performance.now() - start) / 1000
try {
  write(encodeText(JSON.stringify({ ...ran, output: output.join(''), printed, seconds })))
} finally {
  exit(0)
}
