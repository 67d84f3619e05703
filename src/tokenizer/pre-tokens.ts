/**
 * Pre-tokenisation by hand: the regular expressions of GPT-2 and of the cl100k family as scanners over UTF-8 bytes.
 * Each returns the end of the pre-token that starts at `start`; the text ends at `end` (a look-ahead sees nothing
 * behind it). Every byte belongs to exactly one pre-token. Linear time.
 */

import { ASCII_KINDS, characterLength, kindAt, LETTER, NUMBER, OTHER, SPACE } from './character-kinds.ts'

/** End of the pre-token of `bytes[start..end)` that begins at `start`; `start < end`. */
export type NextPreToken = (bytes: Uint8Array, start: number, end: number) => number

/** GPT-2's expression (openai/gpt-2, encoder.py); also GPT-NeoX's and the `ByteLevel` pre-tokenizer's own. */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const CL100K_HEAD = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
const CL100K_TAIL = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
/** Llama 3's expression: numbers in groups of up to three digits. */
export const CL100K_PATTERN = `${CL100K_HEAD}{1,3}${CL100K_TAIL}`
/** Qwen 2's expression: every digit alone. */
export const QWEN2_PATTERN = CL100K_HEAD + CL100K_TAIL

const APOSTROPHE = 0x27
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/** End of the run of characters of one kind. */
function runEnd(bytes: Uint8Array, start: number, end: number, kind: number): number {
  let i = start
  while (i < end) {
    const byte = bytes[i]
    if (byte < 0x80) {
      if (ASCII_KINDS[byte] !== kind) break
      i++
    } else {
      if (kindAt(bytes, i) !== kind) break
      i += characterLength(byte)
    }
  }
  return i
}

/** `\s+(?!\S)|\s+`: all white space before the text's end, else all but the last character of the run (at least one). */
function spaceEnd(bytes: Uint8Array, start: number, end: number): number {
  const run = runEnd(bytes, start, end, SPACE)
  if (run === end) return end
  let last = run - 1
  while ((bytes[last] & 0xc0) === 0x80) last--
  return last > start ? last : run
}

/** Length of `'s|'t|'re|'ve|'m|'ll|'d` behind an apostrophe at `start`, or 0. `fold` is 0x20 to ignore case. */
function contractionLength(bytes: Uint8Array, start: number, end: number, fold: number): number {
  if (start + 1 >= end) return 0
  const first = bytes[start + 1] | fold
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return 2
  if (start + 2 >= end) return 0
  const second = bytes[start + 2] | fold
  if ((first === 0x72 || first === 0x76) && second === 0x65) return 3
  return first === 0x6c && second === 0x6c ? 3 : 0
}

/** GPT2_PATTERN. */
export const nextGpt2: NextPreToken = (bytes, start, end) => {
  const byte = bytes[start]
  if (byte === APOSTROPHE) {
    const length = contractionLength(bytes, start, end, 0)
    if (length > 0) return start + length
  }
  if (byte === 0x20 && start + 1 < end) {
    const kind = kindAt(bytes, start + 1)
    if (kind !== SPACE) return runEnd(bytes, start + 1, end, kind)
  }
  const kind = kindAt(bytes, start)
  return kind === SPACE ? spaceEnd(bytes, start, end) : runEnd(bytes, start, end, kind)
}

function lineBreaksEnd(bytes: Uint8Array, start: number, end: number): number {
  let i = start
  while (i < end && (bytes[i] === LINE_FEED || bytes[i] === CARRIAGE_RETURN)) i++
  return i
}

/** CL100K_PATTERN (`digits` 3) and QWEN2_PATTERN (`digits` 1). */
function cl100kScanner(digits: number): NextPreToken {
  return (bytes, start, end) => {
    const byte = bytes[start]
    if (byte === APOSTROPHE) {
      const length = contractionLength(bytes, start, end, 0x20)
      if (length > 0) return start + length
      // U+017F, the long s, is an s when case is ignored.
      if (start + 2 < end && bytes[start + 1] === 0xc5 && bytes[start + 2] === 0xbf) return start + 3
    }
    const kind = kindAt(bytes, start)
    if (kind === LETTER) return runEnd(bytes, start, end, LETTER)
    if (kind === NUMBER) {
      let i = start
      for (let taken = 0; taken < digits && i < end && kindAt(bytes, i) === NUMBER; taken++)
        i += characterLength(bytes[i])
      return i
    }
    const next = start + characterLength(byte)
    const nextKind = next < end ? kindAt(bytes, next) : 0
    if (nextKind === LETTER && byte !== LINE_FEED && byte !== CARRIAGE_RETURN) return runEnd(bytes, next, end, LETTER)
    if (kind === OTHER) return lineBreaksEnd(bytes, runEnd(bytes, start, end, OTHER), end)
    if (byte === 0x20 && nextKind === OTHER) return lineBreaksEnd(bytes, runEnd(bytes, next, end, OTHER), end)
    const run = runEnd(bytes, start, end, SPACE)
    for (let i = run - 1; i >= start; i--) if (bytes[i] === LINE_FEED || bytes[i] === CARRIAGE_RETURN) return i + 1
    return spaceEnd(bytes, start, end)
  }
}

/** The scanner of a regular expression, by its exact text; undefined for an expression not known here. */
export function maybeScanner(pattern: string): NextPreToken | undefined {
  if (pattern === GPT2_PATTERN) return nextGpt2
  if (pattern === CL100K_PATTERN) return cl100kScanner(3)
  if (pattern === QWEN2_PATTERN) return cl100kScanner(1)
  return undefined
}

/**
 * The `Digits` pre-tokenizer (SmolLM, StarCoder) as a scanner of stretches: numbers are cut out (each digit alone, or
 * runs of them), and what is between them is one stretch. A scanner of pre-tokens behind it sees each stretch as a text
 * of its own.
 */
export function digitStretches(individual: boolean): NextPreToken {
  return (bytes, start, end) => {
    if (kindAt(bytes, start) === NUMBER)
      return individual ? start + characterLength(bytes[start]) : runEnd(bytes, start, end, NUMBER)
    let i = start
    while (i < end && kindAt(bytes, i) !== NUMBER) i += characterLength(bytes[i])
    return i
  }
}
