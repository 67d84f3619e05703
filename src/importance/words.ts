/**
 * Words as DSIR's tokenizer cuts them: the runs of `\w+|[^\w\s]+` as Python's `re` reads them (NLTK's `wordpunct_tokenize` up to NLTK
 * 3.10.2; later ones use the `regex` module, to which combining marks are word characters).
 *
 * JavaScript's own `\w` and `\s` differ. To Python, `\w` is a letter, a number of any kind or `_`: [\p{L}\p{N}_], and so
 * neither a combining mark nor a joiner (JavaScript: ASCII only, with or without the `u` flag). `\s` lacks U+FEFF, and has
 * U+001C-U+001F and U+0085. Letters and numbers are those of the engine's Unicode version: a character younger than
 * Python's is a letter here and, there, punctuation.
 */

/** Kinds of a character; neighbours of one kind form a token, spaces form none. */
export const SPACE = 0
export const WORD = 1
export const PUNCTUATION = 2

const IS_WORD = /[\p{L}\p{N}_]/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are spaces to Python
const IS_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

const PAGE_BITS = 8
const PAGE = 1 << PAGE_BITS
/** Kinds of 256 code points at a time, made when a text first needs them. */
const pages: (Uint8Array | undefined)[] = Array(0x110000 >> PAGE_BITS)

function page(index: number): Uint8Array {
  const kinds = new Uint8Array(PAGE)
  for (let i = 0; i < PAGE; i++) {
    const character = String.fromCodePoint((index << PAGE_BITS) + i)
    kinds[i] = IS_WORD.test(character) ? WORD : IS_SPACE.test(character) ? SPACE : PUNCTUATION
  }
  pages[index] = kinds
  return kinds
}

/** Kinds of U+0000-U+00FF, at hand for the loop. */
const latinKinds = page(0)

/** The kind of a code point; a lone surrogate is punctuation. */
export function kindOf(codePoint: number): number {
  const index = codePoint >> PAGE_BITS
  return (pages[index] ?? page(index))[codePoint & (PAGE - 1)]
}

/**
 * Calls `token(start, end, hash)` for each token of `text`, which must be in lower case: a maximal run of word
 * characters, or of neither word nor space. `hash`: FNV-1a over its UTF-16 units.
 */
export function tokens(text: string, token: (start: number, end: number, hash: number) => void): void {
  const { length } = text
  let current = SPACE
  let start = 0
  let hash = 0
  for (let i = 0; i < length; ) {
    const at = i
    const unit = text.charCodeAt(i++)
    let kind: number
    let low = -1
    if (unit < PAGE) kind = latinKinds[unit]
    else if (unit < 0xd800 || unit > 0xdfff) kind = kindOf(unit)
    else {
      const point = pointAt(text, at, length)
      kind = kindOf(point)
      if (point > 0xffff) low = text.charCodeAt(i++)
    }
    if (kind !== current) {
      if (current !== SPACE) token(start, at, hash)
      current = kind
      start = at
      hash = 0x811c9dc5
    }
    hash = Math.imul(hash ^ unit, 0x01000193)
    if (low >= 0) hash = Math.imul(hash ^ low, 0x01000193)
  }
  if (current !== SPACE) token(start, length, hash)
}

/**
 * The code point at `at` of text[0, end); a half without its other half is itself. Not by `codePointAt`: once compiled, that of V8 13.6
 * (Node 24.21) finds the other half of a pair behind the end of a string that is a slice of another.
 */
export function pointAt(text: string, at: number, end: number): number {
  const high = text.charCodeAt(at)
  if (high < 0xd800 || high > 0xdbff || at + 1 >= end) return high
  const low = text.charCodeAt(at + 1)
  return low < 0xdc00 || low > 0xdfff ? high : 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
}

/** 32 bits into 32 bits, one to one, all bits depending on all (the finaliser of MurmurHash3). */
export function mix(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** A hash of an ordered pair of 32-bit values. */
export const pairHash = (first: number, second: number): number => mix(Math.imul(first, 0x9e3779b1) + second)
