/** Takes from the global object whatever is not the language's own, and from entropy its chance. */

import crypto from 'node:crypto'

/** What the interpreter still uses of it: it decodes text and tells the time. */
const KEPT = ['TextDecoder', 'TextEncoder', 'performance']

const LANGUAGE = [
  ...['globalThis', 'Infinity', 'NaN', 'undefined', 'isFinite', 'isNaN', 'parseFloat', 'parseInt'],
  ...['decodeURI', 'decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'unescape'],
  ...[
    'Object',
    'Function',
    'Boolean',
    'Symbol',
    'Number',
    'BigInt',
    'Math',
    'Date',
    'String',
    'RegExp',
    'JSON',
    'Intl',
  ],
  ...[
    'Error',
    'AggregateError',
    'EvalError',
    'RangeError',
    'ReferenceError',
    'SuppressedError',
    'SyntaxError',
    'TypeError',
    'URIError',
  ],
  ...[
    'Array',
    'ArrayBuffer',
    'SharedArrayBuffer',
    'DataView',
    'Atomics',
    'Map',
    'Set',
    'WeakMap',
    'WeakSet',
    'WeakRef',
    'FinalizationRegistry',
  ],
  ...[
    'Int8Array',
    'Uint8Array',
    'Uint8ClampedArray',
    'Int16Array',
    'Uint16Array',
    'Int32Array',
    'Uint32Array',
    'BigInt64Array',
    'BigUint64Array',
  ],
  ...[
    'Float16Array',
    'Float32Array',
    'Float64Array',
    'Promise',
    'Proxy',
    'Reflect',
    'Iterator',
    'AsyncDisposableStack',
    'DisposableStack',
  ],
]

/**
 * Deletes every other property of the global object (`process`, `require`, `fetch`, `WebAssembly`, timers, …), and empties the real `process`, which
 * something may still hold: whatever it has of its own, under any name that a version of Node gives it, and what it inherits. (What cannot be deleted
 * is plain data.) The interpreter still finds a console, which does nothing. Node itself needs `process` for all that waits: call this where nothing
 * is awaited any more, and keep beforehand what ends the process.
 */
export function bareGlobals(): void {
  const { process } = globalThis
  const now = performance.now.bind(performance)
  const start = now()
  const kept = new Set<unknown>([...LANGUAGE, ...KEPT])
  for (const name of Reflect.ownKeys(globalThis))
    if (!kept.has(name) && !Reflect.deleteProperty(globalThis, name)) Reflect.set(globalThis, name, undefined)
  for (const name of Reflect.ownKeys(process))
    if (!Reflect.deleteProperty(process, name)) Reflect.set(process, name, undefined)
  Object.setPrototypeOf(process, null)
  const nothing = () => {}
  const own = {
    performance: Object.freeze({ now: () => now() - start, timeOrigin: Date.now() }),
    console: Object.freeze({ log: nothing, warn: nothing, error: nothing, info: nothing, debug: nothing }),
  }
  for (const [name, value] of Object.entries(own))
    Object.defineProperty(globalThis, name, { value, writable: false, configurable: false })
}

/** Gives the interpreter a fixed stream for entropy, so that a program which draws gives the same answer again. Nothing secret is drawn there. */
export function fixEntropy(): void {
  let state = 0x9e3779b9
  const randomFillSync = (view: ArrayBufferView): ArrayBufferView => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    for (let i = 0; i < bytes.length; i++) {
      // xorshift32
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes[i] = state >>> 24
    }
    return view
  }
  Object.assign(crypto, { randomFillSync })
}
