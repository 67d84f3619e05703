/**
 * Records as token sequences. A tokenizer with role markers (nano's) writes a turn as its role's marker, its content and
 * `<|end|>`; one without writes the contents one behind the other and the end-of-text token, since what separates turns
 * is then the business of the model's own template. Text is data: it never becomes a marker, whatever it spells.
 */

import type { Role, Turn } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import { TRAINED_BIT } from './tokenizer.ts'
import type { TokenizerJson } from './tokenizer-json.ts'

/** Special tokens of a tokenizer trained here; their ids are their places in this list. */
export const SPECIAL_TOKENS = [
  '<|pad|>',
  '<|end|>',
  '<|text|>',
  '<|system|>',
  '<|user|>',
  '<|assistant|>',
  '<|tool|>',
] as const

export interface RoleTokens {
  pad: number
  /** End of a turn. */
  end: number
  /** Marker at the start of a turn; `text` of a stretch of literal text. */
  markers: Record<Role, number>
}

/** The role markers of a tokenizer, or undefined when it lacks any of them. */
export function maybeRoleTokens(json: TokenizerJson): RoleTokens | undefined {
  const ids = new Map((json.added_tokens ?? []).map((token) => [token.content, token.id]))
  const found = SPECIAL_TOKENS.map((token) => ids.get(token))
  if (found.includes(undefined)) return undefined
  const [pad, end, text, system, user, assistant, tool] = found as number[]
  return { pad, end, markers: { text, system, user, assistant, tool } }
}

/**
 * The encoder of a record's turns. Trained ids carry TRAINED_BIT: the contents of trained turns and, behind them, the
 * end token; never a marker. Neighbouring `text` turns are one text (one marker, one end token, trained if the last of
 * them is). Throws a WinnowError `unknown-token` when `endOfText` is not in the vocabulary.
 */
export function turnEncoder(
  json: TokenizerJson,
  encodeData: (text: string) => Uint32Array,
  options: { endOfText?: string; file?: string } = {},
): (turns: readonly Turn[]) => Uint32Array {
  const roles = maybeRoleTokens(json)
  const endOfText = roles === undefined ? endOfTextId(json, options) : undefined
  return (turns) => {
    const parts: Uint32Array[] = []
    const append = (ids: Uint32Array, trained: boolean) => {
      if (trained) for (let i = 0; i < ids.length; i++) ids[i] |= TRAINED_BIT
      parts.push(ids)
    }
    let i = 0
    while (i < turns.length) {
      const { role, trained } = turns[i]
      const stretch = role === 'text' || roles === undefined
      if (roles !== undefined) append(Uint32Array.of(roles.markers[role]), false)
      let last = trained
      do {
        last = turns[i].trained
        // Pieces of one text with one mask are encoded together, so that words may span them.
        let content = turns[i++].content
        while (stretch && continues(turns, i, roles) && turns[i].trained === last) content += turns[i++].content
        append(encodeData(content), last)
      } while (stretch && continues(turns, i, roles))
      if (roles !== undefined) append(Uint32Array.of(roles.end), last)
      else if (endOfText !== undefined) append(Uint32Array.of(endOfText), last)
    }
    return joined(parts)
  }
}

function continues(turns: readonly Turn[], i: number, roles: RoleTokens | undefined): boolean {
  return i < turns.length && (roles === undefined || turns[i].role === 'text')
}

/** The arrays one behind the other. */
export function joined(parts: readonly Uint32Array[]): Uint32Array {
  let length = 0
  for (const part of parts) length += part.length
  const tokens = new Uint32Array(length)
  let position = 0
  for (const part of parts) {
    tokens.set(part, position)
    position += part.length
  }
  return tokens
}

function endOfTextId(json: TokenizerJson, options: { endOfText?: string; file?: string }): number | undefined {
  const token = options.endOfText
  if (token === undefined) return undefined
  const id = json.added_tokens?.find((added) => added.content === token)?.id ?? json.model.vocab[token]
  if (typeof id === 'number') return id
  throw new WinnowError('input', {
    code: 'unknown-token',
    message: `end-of-text token ${JSON.stringify(token)} is not in the vocabulary`,
    file: options.file,
    expected: 'one of the added tokens or of the vocabulary',
    hint: 'Name the token that ends a text for this model, as in its tokenizer_config.json (`eos_token`).',
  })
}
