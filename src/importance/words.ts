/**
 * Words as DSIR's tokenizer cuts them: the runs of `\w+|[^\w\s]+` as Python's `re` reads them (NLTK's `wordpunct_tokenize`).
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

/** Kinds of U+0000-U+00FF, for loops that treat those apart. */
export const latinKinds = page(0)

/** The kind of a code point; a lone surrogate is punctuation. */
export function kindOf(codePoint: number): number {
  const index = codePoint >> PAGE_BITS
  return (pages[index] ?? page(index))[codePoint & (PAGE - 1)]
}
