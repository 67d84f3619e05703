/**
 * The tokenizer of a pretrained model: tokenizer.json with what its other files say of special tokens and of chats. A chat template
 * writes the record as transformers' `apply_chat_template` does, to the same ids; without one it is plain text (plain-record.ts).
 */

import { createHash } from 'node:crypto'
import { type ByteLevelEncoding, maybeByteLevel } from './byte-level.ts'
import { type ChatTemplate, chatTemplate, maybeTemplateSource, TEMPLATE_DATE } from './chat-template.ts'
import { type ControlTokens, controlTokens } from './control-text.ts'
import { type Conversation, renderConversation } from './conversation.ts'
import { type LibraryEncoding, libraryEncoding } from './library.ts'
import { vocabularySize } from './load.ts'
import { overlapping, type TokenOffsets } from './offsets.ts'
import { type Piece, plainPieces } from './plain-record.ts'
import { type ModelIds, specialTokens, type TokenizerConfig } from './special-tokens.ts'
import { type RecordPlace, type Tokenizer, TRAINED_BIT } from './tokenizer.ts'
import { parseTokenizerJson, type TokenizerJson } from './tokenizer-json.ts'
import { joined, maybeRoleTokens, turnEncoder } from './turns.ts'

export { checkVocabulary } from './special-tokens.ts'

export interface PretrainedOptions {
  /** Text of tokenizer.json. */
  json: string
  /** tokenizer_config.json, parsed. */
  config?: TokenizerConfig
  /** Text of chat_template.jinja, or several by name; wins over those in `config`. Of several, `default` is used. */
  chatTemplate?: string | Record<string, string>
  /** config.json, parsed: its special ids serve where tokenizer_config.json names no token. */
  modelConfig?: ModelIds
  /** generation_config.json, parsed: the same, before config.json. */
  generationConfig?: ModelIds
  /** `none` writes records as plain text even where there is a chat template. Default `auto`. */
  template?: 'auto' | 'none'
  /** The day that templates are told it is, `YYYY-MM-DD`. Default TEMPLATE_DATE: a run repeats whenever it is made. */
  date?: string
  /** Where tokenizer.json came from, for errors. */
  file?: string
  /** Pre-tokens kept in the cache. Default 2^18. */
  cachedWords?: number
}

/** Grows when the same files give other tokens or another mask than before. */
const LAYOUT_VERSION = 1

/**
 * The tokenizer of a pretrained model.
 *
 * - `encodeTurns` with a chat template: ids equal `apply_chat_template(messages, tokenize=True)` of transformers 5 wherever no content spells a
 *   special token; one that does is encoded as the characters it is. Trained: assistant turns with `trained` set, as conversation.ts says; a
 *   token that straddles the border of a trained stretch is trained. Records of `text` turns are plain text all the same.
 * - Without one: plain-record.ts. A stretch of one mask is encoded on its own, so that a prompt has the ids it has alone; a tokenizer that is not
 *   byte-level (it may put a space in front of each text) encodes the record between special tokens as one text.
 * - A tokenizer with nano's role markers and no chat template writes turns as nano does.
 *
 * `hash` covers tokenizer.json, special tokens, template and date: whatever decides ids and mask. Throws WinnowErrors (kind `input`)
 * `bad-tokenizer`, `unknown-token`, `bad-chat-template`; `encodeTurns` throws `chat-template` and `template-mask`.
 */
export function loadPretrainedTokenizer(options: PretrainedOptions): Tokenizer {
  const { file, date = TEMPLATE_DATE } = options
  const special = specialTokens(parseTokenizerJson(options.json, file), options)
  const { json, bos, eos, pad, prefix, variables } = special
  const source =
    options.template === 'none'
      ? undefined
      : maybeTemplateSource(options.chatTemplate ?? options.config?.chat_template, file)
  const encoding = locatingEncoding(json, options.cachedWords)
  const template = source === undefined ? undefined : chatTemplate(source, { variables, date, file })
  const roles = template === undefined ? maybeRoleTokens(json) : undefined
  const plain = plainEncoder(encoding, { prefix, eos: eos?.id })
  const identity = { version: LAYOUT_VERSION, json, prefix, eos, variables, template: source, date: source && date }
  return {
    vocabularySize: vocabularySize(json),
    hash: createHash('sha256').update(JSON.stringify(identity)).digest('hex'),
    padId: pad?.id ?? roles?.pad,
    bosId: bos?.id,
    eosId: eos?.id ?? roles?.end,
    layout: template !== undefined ? 'template' : roles !== undefined ? 'markers' : 'plain',
    encode: encoding.encode,
    decode: encoding.decode,
    encodeTurns:
      template !== undefined
        ? chatEncoder(encoding, template, controlTokens(json.added_tokens ?? []), plain)
        : roles !== undefined
          ? turnEncoder(json, encoding.encodeData)
          : plain,
    toJSON: () => options.json,
  }
}

type EncodeTurns = Tokenizer['encodeTurns']

interface LocatingEncoding {
  encode(text: string): Uint32Array
  encodeData(text: string): Uint32Array
  decode(ids: ArrayLike<number>): string
  /** Ids with their places in the text. `data`: as `encodeData` gives them. */
  locate(text: string, data: boolean): { ids: Uint32Array; offsets: TokenOffsets }
  /** A text's ids do not depend on whether it begins a text. */
  byteLevel: boolean
}

/** winnow's own byte-level encoding where it is exact, and the library where it is not or cannot tell places. */
function locatingEncoding(json: TokenizerJson, cachedWords?: number): LocatingEncoding {
  const library: LibraryEncoding = libraryEncoding(json)
  const own: ByteLevelEncoding | undefined = maybeByteLevel(json, cachedWords)
  if (own === undefined) return { ...library, byteLevel: false }
  return {
    ...own,
    locate(text, data) {
      const ids = data ? own.encodeData(text) : own.encode(text)
      const offsets = own.maybeOffsets(text, ids)
      return offsets === undefined ? library.locate(text, data) : { ids, offsets }
    },
    byteLevel: true,
  }
}

/** Ids with TRAINED_BIT on those that overlap a span. */
function masked(
  { ids, offsets }: { ids: Uint32Array; offsets: TokenOffsets },
  spans: readonly (readonly [number, number])[],
): Uint32Array {
  const inside = overlapping(offsets, spans)
  for (let i = 0; i < ids.length; i++) if (inside[i] === 1) ids[i] |= TRAINED_BIT
  return ids
}

function plainEncoder(encoding: LocatingEncoding, tokens: { prefix: readonly number[]; eos?: number }): EncodeTurns {
  return (turns) => {
    const parts: Uint32Array[] = []
    let run: { text: string; trained: boolean }[] = []
    const flush = () => {
      if (run.length > 0) parts.push(encodeRun(encoding, run))
      run = []
    }
    for (const piece of plainPieces(turns, tokens)) {
      if ('text' in piece) run.push(piece)
      else {
        flush()
        parts.push(Uint32Array.of(marked(piece)))
      }
    }
    flush()
    return joined(parts)
  }
}

const marked = ({ id, trained }: Extract<Piece, { id: number }>) => (trained ? (id | TRAINED_BIT) >>> 0 : id)

/** Stretches between two special tokens. */
function encodeRun(encoding: LocatingEncoding, run: readonly { text: string; trained: boolean }[]): Uint32Array {
  const spans: [number, number][] = []
  let text = ''
  for (const stretch of run) {
    if (stretch.trained) spans.push([text.length, text.length + stretch.text.length])
    text += stretch.text
  }
  if (!encoding.byteLevel && run.length > 1) return masked(encoding.locate(text, true), spans)
  return joined(
    run.map((stretch) => {
      const ids = encoding.encodeData(stretch.text)
      if (stretch.trained) for (let i = 0; i < ids.length; i++) ids[i] |= TRAINED_BIT
      return ids
    }),
  )
}

function chatEncoder(
  encoding: LocatingEncoding,
  template: ChatTemplate,
  control: ControlTokens,
  plain: EncodeTurns,
): EncodeTurns {
  return (turns, place?: RecordPlace) => {
    if (turns.every(({ role }) => role === 'text')) return plain(turns)
    const conversation = renderConversation(template, turns, control, place)
    if (conversation.control !== undefined) return encodeAround(encoding, conversation, conversation.control)
    const { text, spans } = conversation
    return spans.length === 0 ? encoding.encode(text) : masked(encoding.locate(text, false), spans)
  }
}

/** The template's control tokens as they are, all text between them as data. */
function encodeAround(
  encoding: LocatingEncoding,
  { text, spans }: Conversation,
  control: readonly { start: number; end: number; id: number; lstrip?: boolean; rstrip?: boolean }[],
): Uint32Array {
  const parts: Uint32Array[] = []
  const stretch = (from: number, to: number) => {
    if (from >= to) return
    const own = spans.map(([start, end]): [number, number] => [Math.max(0, start - from), end - from])
    parts.push(masked(encoding.locate(text.slice(from, to), true), own))
  }
  let from = 0
  for (const { start, end, id, lstrip, rstrip } of control) {
    const before = text.slice(from, start)
    stretch(from, from + (lstrip ? before.trimEnd() : before).length)
    const trained = spans.some(([first, last]) => start < last && end > first)
    parts.push(Uint32Array.of(marked({ id, trained })))
    from = rstrip ? end + text.slice(end).search(/\S|$/) : end
  }
  stretch(from, text.length)
  return joined(parts)
}
