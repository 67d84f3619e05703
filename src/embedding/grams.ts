/**
 * The n-grams of a text that the `ngrams` embedding counts, as numbers of features in a table of 2^17.
 *
 * A text is normalised (NFKC, lower case) and cut into runs. Letters, numbers and marks make words, whose n-grams are the windows of
 * three characters over the word with its two ends: `cat` has `<ca`, `cat`, `at>`. Characters that stand for a syllable or a word
 * (Han, kana, Hangul) and symbols outside ASCII (emoji) count alone and in pairs of neighbours. Nothing else counts. So every script
 * works, those without spaces too, and words of one root share features without any table of a language.
 */

import { pointAt } from '../importance/words.ts'

/** Features; other n-grams share them by their hash. */
export const FEATURES = 1 << 17

/** Kinds of a character. */
const OTHER = 0
const LETTER = 1
const WIDE = 2
const MARK = 3

const IS_WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|(?![\0-\x7f])\p{S}/u
const IS_LETTER = /[\p{L}\p{N}]/u
const IS_MARK = /\p{M}/u

const PAGE_BITS = 8
const PAGE = 1 << PAGE_BITS
/** Kinds of 256 code points at a time, made when a text first needs them. */
const pages: (Uint8Array | undefined)[] = Array(0x110000 >> PAGE_BITS)

function page(index: number): Uint8Array {
  const kinds = Uint8Array.from({ length: PAGE }, (_, i) => {
    const character = String.fromCodePoint((index << PAGE_BITS) + i)
    if (IS_MARK.test(character)) return MARK
    if (IS_WIDE.test(character)) return WIDE
    return IS_LETTER.test(character) ? LETTER : OTHER
  })
  pages[index] = kinds
  return kinds
}
const latinKinds = page(0)

/** The ends of a word, beyond all code points. */
const START = 0x110000
const END = 0x110001
/** In a window's first place: the window is of one character, or of two. */
const ALONE = 0x110002
const PAIR = 0x110003

/** The feature of a window of three. */
function featureOf(a: number, b: number, c: number): number {
  let h = Math.imul(Math.imul(Math.imul(a, 0x9e3779b1) + b, 0x85ebca6b) + c, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return (h ^ (h >>> 16)) >>> 15
}

const ONLY_ASCII = /^[\0-\x7f]*$/

export interface GramCounts {
  /** Counts of the features met, [FEATURES]; zero elsewhere. */
  readonly counts: Uint32Array
  /** The features met, in the order of their first place in the text, in [0, met). */
  readonly features: Uint32Array
  /** Counts the n-grams of a text; returns how many features it has. O(length). */
  count(text: string): number
  /** Makes counts zero again. */
  reset(met: number): void
}

/** Counts for one text at a time. Memory: 1 MiB. */
export function gramCounts(): GramCounts {
  const counts = new Uint32Array(FEATURES)
  const features = new Uint32Array(FEATURES)
  return {
    counts,
    features,
    reset(met) {
      for (let i = 0; i < met; i++) counts[features[i]] = 0
    },
    count(text) {
      const plain = (ONLY_ASCII.test(text) ? text : text.normalize('NFKC')).toLowerCase()
      let met = 0
      const add = (a: number, b: number, c: number) => {
        const feature = featureOf(a, b, c)
        if (counts[feature]++ === 0) features[met++] = feature
      }
      let run = OTHER
      // The two characters before, of the run.
      let [a, b] = [START, START]
      const { length } = plain
      for (let i = 0; i < length; ) {
        let point = plain.charCodeAt(i++)
        let kind: number
        if (point < PAGE) kind = latinKinds[point]
        else {
          if (point >= 0xd800 && point <= 0xdbff) {
            point = pointAt(plain, i - 1, length)
            if (point > 0xffff) i++
          }
          const index = point >> PAGE_BITS
          kind = (pages[index] ?? page(index))[point & (PAGE - 1)]
        }
        // A mark belongs to the letter before it; after anything else (an emoji's variation selector) it counts for nothing.
        if (kind === MARK) {
          if (run !== LETTER) continue
          kind = LETTER
        }
        if (kind === LETTER) {
          if (run === LETTER) {
            add(a, b, point)
            a = b
          } else a = START
        } else {
          if (run === LETTER) add(a, b, END)
          if (kind === WIDE) {
            add(ALONE, ALONE, point)
            if (run === WIDE) add(PAIR, b, point)
          }
        }
        b = point
        run = kind
      }
      if (run === LETTER) add(a, b, END)
      return met
    },
  }
}
