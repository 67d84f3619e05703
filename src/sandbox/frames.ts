/** What the sandbox's two processes say to each other: bytes after their length, and the shape of what is in them. */

/** The argument that the process of a program is started with. */
export interface Birth {
  /** Path of pyodide.mjs. */
  pyodide: string
  memoryBytes: number
  /** Bytes of output that are kept. */
  outputLimit: number
}

/** What became of a program. */
export interface Ran {
  fault?: 'memory' | 'error' | 'forbidden'
  message?: string
}

export interface Reply extends Ran {
  /** The first bytes that it printed, as text. */
  output: string
  /** Bytes that it printed. */
  printed: number
  /** That it ran. */
  seconds: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
export const encodeText = (text: string): Uint8Array => encoder.encode(text)
export const decodeText = (bytes: Uint8Array): string => decoder.decode(bytes)

/** The length as a 32-bit word, little end first, and the bytes. */
export function frameOf(bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + bytes.length)
  new DataView(frame.buffer).setUint32(0, bytes.length, true)
  frame.set(bytes, 4)
  return frame
}
