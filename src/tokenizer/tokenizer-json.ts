/** The parts of tokenizer.json (Hugging Face tokenizers) that winnow reads. Everything else stays in the text. */

import { WinnowError } from '../errors.ts'

export interface AddedTokenJson {
  id: number
  content: string
  special?: boolean
  normalized?: boolean
  single_word?: boolean
  lstrip?: boolean
  rstrip?: boolean
}

/** A normalizer, pre-tokenizer or decoder: `type` and its own fields. */
export interface ComponentJson {
  type: string
  [field: string]: unknown
}

export interface ModelJson {
  type?: string
  vocab: Record<string, number>
  merges?: (string | [string, string])[]
  dropout?: number | null
  unk_token?: string | null
  continuing_subword_prefix?: string | null
  end_of_word_suffix?: string | null
  byte_fallback?: boolean
  ignore_merges?: boolean
}

export interface TokenizerJson {
  truncation?: unknown
  padding?: unknown
  added_tokens?: AddedTokenJson[]
  normalizer?: ComponentJson | null
  pre_tokenizer?: ComponentJson | null
  post_processor?: ComponentJson | null
  decoder?: ComponentJson | null
  model: ModelJson
}

/** Parses tokenizer.json. Throws a WinnowError `bad-tokenizer` (kind `input`) when it is not one. */
export function parseTokenizerJson(text: string, file?: string): TokenizerJson {
  const fail = (found: string, cause?: unknown) =>
    new WinnowError(
      'input',
      {
        code: 'bad-tokenizer',
        message: 'tokenizer.json cannot be read',
        file,
        found,
        expected: 'the JSON form of a Hugging Face tokenizer, with a `model`',
        hint: 'Give the tokenizer.json that belongs to the model.',
      },
      { cause },
    )
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw fail('text that is not JSON', error)
  }
  const model = (json as TokenizerJson | null)?.model
  if (typeof model !== 'object' || model === null) throw fail('no `model`')
  if (typeof model.vocab !== 'object' || model.vocab === null) throw fail('no `model.vocab`')
  return json as TokenizerJson
}
