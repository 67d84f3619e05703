/**
 * Special tokens of a pretrained model: which they are (tokenizer_config.json, else the ids of generation_config.json and
 * config.json), and what is put around a plain text (the post-processor of tokenizer.json, as transformers 5 does: an
 * `add_bos_token` beside a tokenizer.json decides nothing). No token is ever added to a vocabulary.
 */

import { WinnowError } from '../errors.ts'
import type { AddedTokenJson, ComponentJson, TokenizerJson } from './tokenizer-json.ts'

/** tokenizer_config.json, as far as it is read. */
export interface TokenizerConfig {
  chat_template?: unknown
  added_tokens_decoder?: Record<string, Partial<AddedTokenJson>>
  [field: string]: unknown
}

/** config.json or generation_config.json, as far as they are read. */
export interface ModelIds {
  bos_token_id?: number | number[] | null
  eos_token_id?: number | number[] | null
  pad_token_id?: number | number[] | null
  [field: string]: unknown
}

export interface SpecialTokenSources {
  config?: TokenizerConfig
  generationConfig?: ModelIds
  modelConfig?: ModelIds
  /** For errors. */
  file?: string
}

export interface SpecialToken {
  content: string
  id: number
}

export interface SpecialTokens {
  bos?: SpecialToken
  eos?: SpecialToken
  pad?: SpecialToken
  unk?: SpecialToken
  /** Ids that the tokenizer puts in front of a plain text. */
  prefix: number[]
  /** tokenizer.json with the special tokens that only the configuration names among its added ones. */
  json: TokenizerJson
  /** `bos_token`, `eos_token`, …: the variables of a chat template. */
  variables: Record<string, string>
}

/** The library wants every field. */
const PLAIN = { special: false, normalized: false, single_word: false, lstrip: false, rstrip: false }

const NAMES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const

/**
 * The special tokens of a tokenizer. A name that tokenizer_config.json has, null included, is what it says; one that it lacks
 * falls back to the id in generation_config.json, then config.json (the first of several). Throws a WinnowError `unknown-token` when
 * the bos or eos token is not in the vocabulary.
 */
export function specialTokens(json: TokenizerJson, sources: SpecialTokenSources): SpecialTokens {
  const { config = {}, generationConfig = {}, modelConfig = {} } = sources
  const added = [...(json.added_tokens ?? [])]
  const idOf = new Map(vocabularyEntries(json))
  for (const { content, id } of added) idOf.set(content, id)
  const contentOf = new Map([...idOf].map(([content, id]) => [id, content]))

  const variables: Record<string, string> = {}
  const named: Partial<Record<(typeof NAMES)[number], SpecialToken>> = {}
  for (const name of NAMES) {
    const key = `${name}_token`
    let content = Object.hasOwn(config, key) ? contentOfToken(config[key]) : undefined
    if (!Object.hasOwn(config, key)) {
      const id = [generationConfig[`${key}_id`], modelConfig[`${key}_id`]].flat().find((id) => typeof id === 'number')
      content = id === undefined ? undefined : contentOf.get(id as number)
    }
    if (content === undefined) continue
    variables[key] = content
    const id = idOf.get(content)
    if (id !== undefined) named[name] = { content, id }
    else if (name === 'bos' || name === 'eos') throw unknownToken(key, content, sources.file)
  }

  // What the configuration calls special is control, even if tokenizer.json has it among the ordinary tokens.
  const extra = Object.entries(config.added_tokens_decoder ?? {}).map(([id, token]) => ({ id: Number(id), ...token }))
  const listed = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) =>
    Array.isArray(list) ? list.map(contentOfToken) : [],
  )
  const special = new Set([...Object.values(named).map(({ content }) => content), ...listed])
  const known = new Set(added.map(({ content }) => content))
  for (const token of extra) {
    if (token.content === undefined || known.has(token.content) || idOf.get(token.content) !== token.id) continue
    added.push({ ...PLAIN, ...token, content: token.content })
    known.add(token.content)
  }
  for (const content of special) {
    if (content === undefined || known.has(content) || !idOf.has(content)) continue
    added.push({ ...PLAIN, id: idOf.get(content)!, content, special: true })
    known.add(content)
  }
  const changed = added.map((token) =>
    special.has(token.content) && !token.special ? { ...token, special: true } : token,
  )
  const { bos, eos, pad, unk } = named
  return {
    ...{ bos, eos, pad, unk, variables },
    prefix: textPrefix(json.post_processor, idOf),
    json: { ...json, added_tokens: changed },
  }
}

function vocabularyEntries(json: TokenizerJson): [string, number][] {
  const { vocab } = json.model
  return Array.isArray(vocab)
    ? vocab.map(([content]: [string, number], id: number) => [content, id])
    : Object.entries(vocab)
}

/** A token as tokenizer_config.json writes it: a string, or an object with `content`. */
function contentOfToken(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = (value as { content?: unknown } | null)?.content
  return typeof content === 'string' ? content : undefined
}

/** Ids in front of a single text in the post-processor of tokenizer.json. */
function textPrefix(json: ComponentJson | null | undefined, idOf: ReadonlyMap<string, number>): number[] {
  if (json === null || json === undefined) return []
  if (json.type === 'Sequence')
    return (json.processors as ComponentJson[]).flatMap((processor) => textPrefix(processor, idOf))
  if (json.type === 'BertProcessing' || json.type === 'RobertaProcessing') return [(json.cls as [string, number])[1]]
  if (json.type !== 'TemplateProcessing') return []
  const ids: number[] = []
  const tokens = (json.special_tokens ?? {}) as Record<string, { ids?: number[] }>
  for (const piece of json.single as { SpecialToken?: { id: string }; Sequence?: unknown }[]) {
    if (piece.SpecialToken === undefined) break
    const name = piece.SpecialToken.id
    ids.push(...(tokens[name]?.ids ?? [idOf.get(name)].filter((id) => id !== undefined)))
  }
  return ids
}

function unknownToken(key: string, content: string, file?: string): WinnowError {
  return new WinnowError('input', {
    code: 'unknown-token',
    message: `the token that the configuration names is not in the vocabulary`,
    file,
    path: key,
    found: JSON.stringify(content),
    expected: 'one of the tokens in tokenizer.json: no vocabulary is ever enlarged',
    hint: 'Take tokenizer.json and tokenizer_config.json from the same model.',
  })
}

/**
 * Whether a model with `rows` rows of embeddings has one for every id of its tokenizer. More rows than ids is normal (they are padded to a round
 * number); fewer is not, since a text could hold an id that the model does not know. Throws a WinnowError `tokenizer-mismatch`.
 */
export function checkVocabulary(tokenizer: { vocabularySize: number }, rows: number, file?: string): void {
  if (tokenizer.vocabularySize <= rows) return
  throw new WinnowError('input', {
    code: 'tokenizer-mismatch',
    message: 'the tokenizer has ids that the model has no embedding for',
    file,
    path: 'vocab_size',
    found: `${tokenizer.vocabularySize} ids, ${rows} rows`,
    expected: 'at least as many rows as ids',
    hint: 'Take the tokenizer of this very model. An embedding is never resized here: that would train rows that start from nothing.',
  })
}
