/** The safetensors format: 8 bytes of header length, a JSON header, raw little-endian tensors. Float32 in and out, bytes to bytes. */

import type { TensorMap } from '../engine/tensor.ts'

interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** Bytes of a file with these tensors, in map order, and string metadata. Deterministic. */
export function writeSafetensors(tensors: TensorMap, metadata: Record<string, string> = {}): Uint8Array {
  const header: Record<string, Entry | Record<string, string>> = { __metadata__: metadata }
  let offset = 0
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape: [...shape], data_offsets: [offset, offset + data.byteLength] }
    offset += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  // Padded with spaces so that tensors start at a multiple of 8, as the format asks.
  const headerBytes = Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(8 + headerBytes + offset)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true)
  bytes.fill(0x20, 8, 8 + headerBytes)
  bytes.set(json, 8)
  let at = 8 + headerBytes
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return bytes
}

/** Tensors and metadata of a file. Throws, with what is wrong, on a torn or inconsistent file or another number type. */
export function readSafetensors(bytes: Uint8Array): { tensors: TensorMap; metadata: Record<string, string> } {
  const fail = (what: string): never => {
    throw new Error(`safetensors: ${what}`)
  }
  if (bytes.length < 8) fail(`${bytes.length} bytes are too few for a header`)
  const headerBytes = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  if (headerBytes > bytes.length - 8)
    fail(`the header says ${headerBytes} bytes, the file has ${bytes.length - 8} after its first 8`)
  let header: Record<string, unknown>
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + headerBytes)))
  } catch (error) {
    throw new Error('safetensors: the header is not valid JSON', { cause: error })
  }
  const body = bytes.subarray(8 + headerBytes)
  const tensors: TensorMap = new Map()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const entry = value as Entry
    if (entry?.dtype !== 'F32') fail(`tensor '${name}' has type ${entry?.dtype}, expected F32`)
    const size = entry.shape.reduce((a, b) => a * b, 1)
    const [start, end] = entry.data_offsets
    if (!(start >= 0 && end - start === 4 * size))
      fail(`tensor '${name}' of shape [${entry.shape}] has ${end - start} bytes, expected ${4 * size}`)
    if (end > body.length) fail(`tensor '${name}' ends at byte ${end}, the file holds ${body.length}: it is torn`)
    tensors.set(name, { shape: entry.shape, data: new Float32Array(Uint8Array.from(body.subarray(start, end)).buffer) })
  }
  return { tensors, metadata: (header.__metadata__ ?? {}) as Record<string, string> }
}
