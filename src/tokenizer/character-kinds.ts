/**
 * Letters, numbers, white space and the rest, as the `tokenizers` package sees them. Unicode tables differ between
 * engines and versions (JavaScript's `\s` has U+FEFF and lacks U+0085; new letters arrive every year), so the kind of a
 * character outside ASCII is not looked up in this engine's tables: the library's own pre-tokenizer is asked, once for
 * each character met, which of the runs `a`, `0`, `!` it joins.
 */

import { byteLevelPreTokenizer } from 'tokenizers'

/** `\p{L}`, `\p{N}`, `\s` and none of them; 0 is "not asked yet" (or "not ASCII" in ASCII_KINDS). */
export const LETTER = 1
export const NUMBER = 2
export const SPACE = 3
export const OTHER = 4

/** Kind of each ASCII byte, [256]; 0 from 128 on. */
export const ASCII_KINDS: Uint8Array = (() => {
  const kinds = new Uint8Array(256)
  for (let byte = 0; byte < 128; byte++) {
    if ((byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)) kinds[byte] = LETTER
    else if (byte >= 48 && byte <= 57) kinds[byte] = NUMBER
    else if (byte === 32 || (byte >= 9 && byte <= 13)) kinds[byte] = SPACE
    else kinds[byte] = OTHER
  }
  return kinds
})()

// The library never changes while the process runs, so its answers are shared by all tokenizers.
const known = new Uint8Array(0x110000)
const oracle = byteLevelPreTokenizer(false, true)

function ask(codePoint: number): number {
  const character = String.fromCodePoint(codePoint)
  const joins = (run: string) => oracle.preTokenizeString(run + character).length === 1
  const kind = joins('a') ? LETTER : joins('0') ? NUMBER : joins('!') ? OTHER : SPACE
  known[codePoint] = kind
  return kind
}

/** Kind of a code point (no surrogate). About 10 us the first time, a table look-up afterwards. */
export function kindOf(codePoint: number): number {
  return known[codePoint] || ask(codePoint)
}

/** Kind of the character that starts at `bytes[i]`, in well-formed UTF-8. */
export function kindAt(bytes: Uint8Array, i: number): number {
  const byte = bytes[i]
  return byte < 0x80 ? ASCII_KINDS[byte] : kindOf(codePointAt(bytes, i))
}

/** Length in bytes of the character whose first UTF-8 byte this is. */
export function characterLength(byte: number): number {
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
}

function codePointAt(bytes: Uint8Array, i: number): number {
  const byte = bytes[i]
  if (byte < 0xe0) return ((byte & 0x1f) << 6) | (bytes[i + 1] & 0x3f)
  if (byte < 0xf0) return ((byte & 0x0f) << 12) | ((bytes[i + 1] & 0x3f) << 6) | (bytes[i + 2] & 0x3f)
  return ((byte & 0x07) << 18) | ((bytes[i + 1] & 0x3f) << 12) | ((bytes[i + 2] & 0x3f) << 6) | (bytes[i + 3] & 0x3f)
}
