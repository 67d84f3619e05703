/** A Tokenizer from the text of tokenizer.json: winnow's own byte-level BPE where it is exact, the library elsewhere. */

import { createHash } from 'node:crypto'
import { maybeByteLevel } from './byte-level.ts'
import { libraryEncoding } from './library.ts'
import type { Tokenizer } from './tokenizer.ts'
import { parseTokenizerJson, type TokenizerJson } from './tokenizer-json.ts'
import { maybeRoleTokens, turnEncoder } from './turns.ts'

export interface LoadOptions {
  /** Where the text came from, for errors. */
  file?: string
  /** Token put behind a record's text when the tokenizer has no role markers. Default: none. */
  endOfText?: string
  /** Pre-tokens kept in the cache. Default 2^18. */
  cachedWords?: number
}

/**
 * The tokenizer that a tokenizer.json describes. Ids equal those of the `tokenizers` package 0.23; truncation and padding
 * written in the file are ignored. Throws a WinnowError `bad-tokenizer` or `unknown-token` (kind `input`).
 */
export function loadTokenizer(text: string, options: LoadOptions = {}): Tokenizer {
  const json = parseTokenizerJson(text, options.file)
  const encoding = maybeByteLevel(json, options.cachedWords) ?? libraryEncoding(json)
  const roles = maybeRoleTokens(json)
  return {
    vocabularySize: vocabularySize(json),
    hash: createHash('sha256').update(text).digest('hex'),
    padId: roles?.pad,
    eosId: roles?.end,
    layout: roles === undefined ? 'plain' : 'markers',
    encode: encoding.encode,
    decode: encoding.decode,
    encodeTurns: turnEncoder(json, encoding.encodeData, options),
    toJSON: () => text,
  }
}

/** One more than the highest id. */
export function vocabularySize(json: TokenizerJson): number {
  let size = 0
  const { vocab } = json.model
  if (Array.isArray(vocab)) size = vocab.length
  else for (const token in vocab) if (vocab[token] >= size) size = vocab[token] + 1
  for (const token of json.added_tokens ?? []) if (token.id >= size) size = token.id + 1
  return size
}
