/** Content hashes: what a stage's cache key, a file's record and a signal's provenance are made of. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { ioError } from './fault.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** Size and content hash of one file as written. */
export interface FileRecord {
  /** Bytes. */
  size: number
  /** Hex. */
  sha256: string
}

/**
 * JSON with object keys in code-unit order and no white space, so that equal values give equal text (RFC 8785 but for
 * its number format, which `JSON.stringify` already follows). Members that are undefined are left out.
 *
 * @throws {TypeError} on anything JSON would change silently: NaN, infinities, undefined elements, functions, bigints,
 * typed arrays, dates.
 */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no JSON form`)
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const prototype = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined
  if (prototype !== Object.prototype && prototype !== null)
    throw new TypeError(`${Object.prototype.toString.call(value)} has no JSON form`)
  const members: string[] = []
  const object = value as { readonly [key: string]: Json | undefined }
  for (const key of Object.keys(object).sort()) {
    const member = object[key]
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`)
  }
  return `{${members.join(',')}}`
}

/** sha256 of bytes or of a string's UTF-8, hex. */
export function sha256(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex')
}

/** sha256 of a value's canonical JSON, hex. */
export function hashJson(value: Json): string {
  return sha256(canonicalJson(value))
}

/** Size and sha256 of a file, read in one streaming pass. */
export async function hashFile(path: string): Promise<FileRecord> {
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk)
      size += chunk.length
    }
  } catch (error) {
    throw ioError(error, path, 'read')
  }
  return { size, sha256: hash.digest('hex') }
}
