/**
 * The safetensors format: 8 bytes of header length, a JSON header, raw little-endian tensors. Bytes in and out; a header can be read
 * without its body, so that single tensors can be fetched from a file of any size.
 */

import type { TensorMap } from '../engine/tensor.ts'
import { WinnowError } from '../errors.ts'
import { decodeInto, encodeFloats, FLOAT_BYTES, isFloatFormat, type SavedFormat } from './float-formats.ts'

/** A tensor's place in a safetensors file. */
export interface TensorEntry {
  /** As the file names it: `F32`, `BF16`, `I8`, … */
  dtype: string
  shape: number[]
  /** First byte, counted from `dataStart`. */
  start: number
  /** One past the last byte, counted from `dataStart`. */
  end: number
}

export interface SafetensorsHeader {
  /** In the order of their bytes. */
  tensors: Map<string, TensorEntry>
  metadata: Record<string, string>
  /** Byte of the file at which the tensors begin. */
  dataStart: number
}

export interface HeaderOptions {
  /** Bytes of the whole file. Default: the bytes given. */
  fileBytes?: number
  /** Named in errors. */
  file?: string
}

/** The reference implementation reads no longer header. */
const MAXIMUM_HEADER_BYTES = 100_000_000

/** Bits of one element of every type that the format knows. */
const BITS: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
}

const DAMAGED = 'The file is damaged or no safetensors file: fetch or save it again.'

function damaged(
  file: string | undefined,
  message: string,
  more: { found?: string; expected?: string; hint?: string } = {},
) {
  return new WinnowError('input', {
    code: 'bad-safetensors',
    message: `safetensors: ${message}`,
    file,
    hint: DAMAGED,
    ...more,
  })
}

/**
 * Bytes of the JSON header behind the first 8, from those 8.
 *
 * @throws {WinnowError} `bad-safetensors`: fewer than 8 bytes, more than the file has or more than 100 MB.
 */
export function safetensorsHeaderBytes(
  bytes: Uint8Array,
  { fileBytes = bytes.length, file }: HeaderOptions = {},
): number {
  if (fileBytes < 8 || bytes.length < 8)
    throw damaged(file, `${Math.min(fileBytes, bytes.length)} bytes are too few for a header`)
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(MAXIMUM_HEADER_BYTES))
    throw damaged(file, `the header says ${length} bytes`, { expected: `at most ${MAXIMUM_HEADER_BYTES}` })
  if (Number(length) > fileBytes - 8)
    throw damaged(file, `the header says ${length} bytes, the file has ${fileBytes - 8} after its first 8`, {
      hint: `The file is torn: at least ${Number(length) + 8 - fileBytes} bytes are missing. Fetch or save it again.`,
    })
  return Number(length)
}

/**
 * Tensor places and metadata from the first `8 + safetensorsHeaderBytes` bytes of a file (more may follow). Checked as the reference
 * implementation does: the tensors, in the order of their offsets, fill the rest of the file without a gap or an overlap, and each
 * has the bytes that its shape and type need. Names are unique. Types that are not decoded are listed all the same. O(header).
 *
 * @throws {WinnowError} `bad-safetensors`, with the tensor at fault; a torn file says how many bytes are missing.
 */
export function parseSafetensorsHeader(bytes: Uint8Array, options: HeaderOptions = {}): SafetensorsHeader {
  const { fileBytes = bytes.length, file } = options
  const headerBytes = safetensorsHeaderBytes(bytes, { fileBytes, file })
  if (bytes.length < 8 + headerBytes)
    throw damaged(file, `the header says ${headerBytes} bytes, ${bytes.length - 8} were given`)
  const header = parseObject(bytes.subarray(8, 8 + headerBytes), file)
  const entries: [string, TensorEntry][] = []
  for (const [name, value] of Object.entries(header))
    if (name !== '__metadata__') entries.push([name, parseEntry(name, value, file)])
  entries.sort(([, a], [, b]) => a.start - b.start || a.end - b.end)
  const dataStart = 8 + headerBytes
  checkOffsets(entries, fileBytes - dataStart, file)
  return { tensors: new Map(entries), metadata: parseMetadata(header.__metadata__, file), dataStart }
}

function parseObject(bytes: Uint8Array, file: string | undefined): Record<string, unknown> {
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    header = JSON.parse(text)
  } catch {
    throw damaged(file, 'the header is not valid JSON')
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw damaged(file, 'the header is not a JSON object')
  // JSON.parse keeps the last of two equal names, silently.
  const names = topLevelNames(text)
  if (names.length !== Object.keys(header).length) {
    const seen = new Set<string>()
    const twice = names.find((name) => seen.size === seen.add(name).size)
    throw damaged(file, `the header names '${twice}' twice`)
  }
  return header as Record<string, unknown>
}

/** The names of a JSON object's own members, repeated ones too. The text is known to be valid JSON. */
function topLevelNames(json: string): string[] {
  const names: string[] = []
  let depth = 0
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth++
    else if (token === '}' || token === ']') depth--
    else if (depth === 1 && token.endsWith(':')) names.push(JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)))
  }
  return names
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function parseEntry(name: string, value: unknown, file: string | undefined): TensorEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>
  if (typeof dtype !== 'string') throw damaged(file, `tensor '${name}' has no dtype`)
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw damaged(file, `tensor '${name}' has a bad shape`, { found: `${JSON.stringify(shape)}` })
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1])
    throw damaged(file, `tensor '${name}' has bad data_offsets`, { found: `${JSON.stringify(offsets)}` })
  const [start, end] = offsets
  const size = (shape as number[]).reduce((a, b) => a * b, 1)
  // A type from after this was written has an unknown width: it is refused when its numbers are asked for.
  const bits = Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined
  if (bits !== undefined && (size * bits) / 8 !== end - start)
    throw damaged(file, `tensor '${name}' of type ${dtype} and shape [${shape}] has ${end - start} bytes`, {
      expected: `${(size * bits) / 8}`,
    })
  return { dtype, shape, start, end }
}

function parseMetadata(value: unknown, file: string | undefined): Record<string, string> {
  if (value === undefined || value === null) return {}
  if (
    typeof value !== 'object' ||
    Array.isArray(value) ||
    !Object.values(value).every((text) => typeof text === 'string')
  )
    throw damaged(file, '__metadata__ is not an object of strings')
  return value as Record<string, string>
}

function checkOffsets(entries: readonly [string, TensorEntry][], bodyBytes: number, file: string | undefined): void {
  let at = 0
  let before = 'the header'
  for (const [name, { start, end }] of entries) {
    if (start < at)
      throw damaged(file, `tensor '${name}' begins at byte ${start}, inside '${before}', which ends at ${at}`)
    if (start > at) throw damaged(file, `${start - at} bytes before tensor '${name}' belong to no tensor`)
    at = end
    before = name
  }
  if (at > bodyBytes)
    throw damaged(file, `tensor '${before}' ends at byte ${at}, the file holds ${bodyBytes}: it is torn`, {
      hint: `${at - bodyBytes} bytes are missing at the end. Fetch or save the file again.`,
    })
  if (at < bodyBytes) throw damaged(file, `${bodyBytes - at} bytes after the last tensor belong to no tensor`)
}

/**
 * The refusal of a tensor whose type has no float32 reading, by name; undefined where it has one.
 *
 * Quantised and 8-bit types carry scales of their own elsewhere, so reading their numbers alone would give a wrong model.
 */
export function unsupportedDtype(name: string, dtype: string, file?: string): WinnowError | undefined {
  if (isFloatFormat(dtype)) return undefined
  return new WinnowError('input', {
    code: 'unsupported-dtype',
    message: `tensor '${name}' has type ${dtype}, which is not read`,
    file,
    found: dtype,
    expected: Object.keys(FLOAT_BYTES).join(', '),
    hint: 'Use weights that are not quantised, saved as float32, float16 or bfloat16.',
  })
}

/** One tensor's numbers as float32, in memory of their own. Throws `unsupported-dtype` for types other than F32, F16, BF16 and F64. */
export function decodeTensor(name: string, bytes: Uint8Array, dtype: string, file?: string): Float32Array<ArrayBuffer> {
  if (!isFloatFormat(dtype)) throw unsupportedDtype(name, dtype, file)
  const data = new Float32Array(bytes.length / FLOAT_BYTES[dtype])
  decodeInto(data, 0, bytes, dtype)
  return data
}

/**
 * Tensors and metadata of a whole file in memory, all as float32.
 *
 * @throws {WinnowError} `bad-safetensors` on a torn or inconsistent file, `unsupported-dtype` on another number type.
 */
export function readSafetensors(
  bytes: Uint8Array,
  { file }: { file?: string } = {},
): { tensors: TensorMap; metadata: Record<string, string> } {
  const { tensors: entries, metadata, dataStart } = parseSafetensorsHeader(bytes, { file })
  const tensors: TensorMap = new Map()
  for (const [name, { dtype, shape, start, end }] of entries) {
    const data = decodeTensor(name, bytes.subarray(dataStart + start, dataStart + end), dtype, file)
    tensors.set(name, { shape, data })
  }
  return { tensors, metadata }
}

/**
 * The bytes before the tensors of a file that holds these, one after another in this order, saved as `dtype`. Padded with spaces so
 * that tensors start at a multiple of 8, as the format asks. Deterministic.
 */
export function encodeSafetensorsHeader(
  tensors: Iterable<readonly [string, { shape: readonly number[] }]>,
  { dtype = 'F32', metadata = {} }: { dtype?: SavedFormat; metadata?: Record<string, string> } = {},
): Uint8Array {
  const header: [string, unknown][] = [['__metadata__', metadata]]
  let offset = 0
  for (const [name, { shape }] of tensors) {
    const end = offset + FLOAT_BYTES[dtype] * shape.reduce((a, b) => a * b, 1)
    header.push([name, { dtype, shape, data_offsets: [offset, end] }])
    offset = end
  }
  // fromEntries, unlike assignment, takes '__proto__' as a name like any other.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
  const headerBytes = Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(8 + headerBytes).fill(0x20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true)
  bytes.set(json, 8)
  return bytes
}

/** Bytes of a file with these tensors, in map order, and string metadata. Numbers are rounded to nearest, ties to even. Deterministic. */
export function writeSafetensors(
  tensors: TensorMap,
  metadata: Record<string, string> = {},
  dtype: SavedFormat = 'F32',
): Uint8Array {
  const header = encodeSafetensorsHeader(tensors, { dtype, metadata })
  let size = header.length
  for (const { data } of tensors.values()) size += FLOAT_BYTES[dtype] * data.length
  const bytes = new Uint8Array(size)
  bytes.set(header)
  let at = header.length
  for (const { data } of tensors.values()) {
    const encoded = encodeFloats(data, dtype)
    bytes.set(encoded, at)
    at += encoded.length
  }
  return bytes
}
