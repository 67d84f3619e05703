/** DSIR's features written down slowly: a regular expression, Node's SHA-256, integers of 256 bits. */

import { createHash } from 'node:crypto'

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are spaces to Python
const TOKEN = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu

export const referenceTokens = (text: string): string[] => text.toLowerCase().match(TOKEN) ?? []

export const referenceBucket = (ngram: string, buckets: number): number =>
  Number(BigInt('0x' + createHash('sha256').update(ngram, 'utf8').digest('hex')) % BigInt(buckets))

/** Buckets of the n-grams in text order: each token, then its pair with the one before. */
export function referenceBuckets(text: string, buckets: number): number[] {
  const tokens = referenceTokens(text)
  return tokens.flatMap((token, i) => {
    const ngrams = i === 0 ? [token] : [token, `${tokens[i - 1]} ${token}`]
    return ngrams.map((ngram) => referenceBucket(ngram, buckets))
  })
}

export function referenceCounts(texts: string[], buckets: number): Float64Array {
  const counts = new Float64Array(buckets)
  for (const text of texts) for (const bucket of referenceBuckets(text, buckets)) counts[bucket]++
  return counts
}
