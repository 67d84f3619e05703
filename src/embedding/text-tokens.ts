/** Texts as token ids of an encoder, through the Rust `tokenizers` package: the ids that transformers gives, special tokens included. */

import type { Tokenizer } from 'tokenizers'
import { WinnowError } from '../errors.ts'

export interface TextTokenizerOptions {
  /** Text of tokenizer.json; what it says of truncation and padding is put aside. */
  json: string
  /** Longer texts are cut to this many tokens, special tokens included. */
  maxTokens: number
  /** Where tokenizer.json lies, for errors. */
  file?: string
}

export interface TextTokens {
  /** Ids of each text. */
  ids: ArrayLike<number>[]
  /** Texts that were longer than `maxTokens`. */
  cut: number
}

export interface TextTokenizer {
  /** Ids of each text, in order. O(bytes), on all cores. */
  encode(texts: readonly string[], signal?: AbortSignal): Promise<TextTokens>
}

/** Texts handed to the package at once; their encodings, ten times the ids, then go. */
const AT_ONCE = 1024

/**
 * Opens a tokenizer.
 *
 * @throws {WinnowError} `bad-tokenizer`.
 */
export async function openTextTokenizer(options: TextTokenizerOptions): Promise<TextTokenizer> {
  const { Tokenizer } = await import('tokenizers')
  const tokenizer = load(Tokenizer, options)
  return {
    async encode(texts, signal) {
      const ids: ArrayLike<number>[] = []
      let cut = 0
      for (let from = 0; from < texts.length; from += AT_ONCE) {
        signal?.throwIfAborted()
        // Half a surrogate pair has no UTF-8, which is what the package takes.
        const some = texts.slice(from, from + AT_ONCE).map((text) => text.toWellFormed())
        const encodings = await tokenizer.encodeBatch(some).catch((error) => {
          throw badTokenizer(error, options.file)
        })
        for (const encoding of encodings) {
          const row = encoding.getIds()
          if (row.length >= options.maxTokens && encoding.getOverflowing().length > 0) cut++
          ids.push(row)
        }
      }
      return { ids, cut }
    },
  }
}

function load(Library: typeof Tokenizer, { json, maxTokens, file }: TextTokenizerOptions): Tokenizer {
  try {
    const tokenizer = Library.fromString(json)
    tokenizer.disablePadding()
    tokenizer.setTruncation(maxTokens)
    return tokenizer
  } catch (error) {
    throw badTokenizer(error, file)
  }
}

const badTokenizer = (error: unknown, file?: string) =>
  new WinnowError(
    'input',
    {
      code: 'bad-tokenizer',
      message: 'tokenizer.json cannot be used',
      file,
      found: error instanceof Error ? error.message : String(error),
      hint: 'Give the tokenizer.json that belongs to the model.',
    },
    { cause: error },
  )
