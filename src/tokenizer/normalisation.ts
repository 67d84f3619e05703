/**
 * Unicode normalisation form C as the `tokenizers` package does it. Only texts of characters that NFC
 * leaves alone in all Unicode versions pass without a call: below U+0300, for one, nothing composes and nothing is
 * replaced, and the stability policy (Unicode Standard Annex 15, section 3) keeps it so. All others go to the library.
 */

import { nfcNormalizer } from 'tokenizers'
import type { ComponentJson } from './tokenizer-json.ts'

/**
 * A character that NFC may change or join to another, or whose treatment may depend on the library's Unicode version:
 * all but those below U+0300, Cyrillic letters, U+2010-U+2027 and U+2030-U+205E (dashes, quotes, dots), the signs
 * U+20AC, U+2212, U+2248, U+2264 and U+2265, kana without sound marks, and the first unified Han ideographs.
 */
const MAY_CHANGE =
  /[\u0300-\u03ff\u0483-\u200f\u2028-\u202f\u205f-\u20ab\u20ad-\u2211\u2213-\u2247\u2249-\u2263\u2266-\u3040\u3097-\u30a0\u30fb-\u4dff\u9fa6-\uffff]/

const nfc = nfcNormalizer()

function normaliseNfc(text: string): string {
  return MAY_CHANGE.test(text) ? nfc.normalizeString(text) : text
}

/** The function of a `normalizer` in tokenizer.json, or undefined when it is one that only the library knows. */
export function maybeNormaliser(json: ComponentJson | null | undefined): ((text: string) => string) | undefined {
  if (json === null || json === undefined) return (text) => text
  if (json.type === 'NFC') return normaliseNfc
  if (json.type === 'Sequence') {
    const parts = json.normalizers as ComponentJson[]
    if (parts.length === 1) return maybeNormaliser(parts[0])
    if (parts.length === 0) return (text) => text
  }
  return undefined
}
