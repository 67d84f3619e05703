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
  const wrong = maybeWrong(json)
  if (wrong !== undefined) throw fail(wrong)
  return json as TokenizerJson
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isListOf = <T>(value: unknown, is: (item: unknown) => item is T): value is T[] =>
  Array.isArray(value) && value.every(is)
const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0
const isToken = (value: unknown): value is AddedTokenJson =>
  isObject(value) && typeof value.content === 'string' && isId(value.id)
const isEntry = (value: unknown): value is [string, number] => Array.isArray(value) && typeof value[0] === 'string'

/** What of the parts that are read here has another form than theirs; the library checks the others. O(vocabulary). */
function maybeWrong(json: unknown): string | undefined {
  const { model, added_tokens: added, ...rest } = (json ?? {}) as Record<string, unknown>
  if (!isObject(model)) return 'no `model`'
  const { vocab, merges } = model
  if (Array.isArray(vocab) ? !vocab.every(isEntry) : !isObject(vocab)) return 'no `model.vocab`'
  // Unigram models have pairs of token and score, whose places are their ids.
  if (!Array.isArray(vocab) && !Object.values(vocab as object).every(isId)) return 'a `model.vocab` of other than ids'
  if (
    merges !== undefined &&
    !isListOf(merges, (merge): merge is string | [] => typeof merge === 'string' || Array.isArray(merge))
  )
    return 'a broken `model.merges`'
  if (added !== undefined && added !== null && !isListOf(added, isToken)) return 'a broken `added_tokens`'
  const parts = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder']
  const broken = parts.find((part) => rest[part] !== undefined && rest[part] !== null && !isComponent(rest[part]))
  return broken && `a broken \`${broken}\``
}

/** Names of the members of a sequence of normalizers, pre-tokenizers, …. */
const LISTS = ['normalizers', 'pretokenizers', 'processors', 'decoders']

function isComponent(value: unknown): value is ComponentJson {
  if (!isObject(value) || typeof value.type !== 'string') return false
  if (value.type === 'TemplateProcessing') return isListOf(value.single, isObject)
  if (value.type === 'BertProcessing' || value.type === 'RobertaProcessing') return isEntry(value.cls)
  if (value.type === 'Split') return isObject(value.pattern)
  return value.type !== 'Sequence' || LISTS.some((list) => isListOf(value[list], isComponent))
}
