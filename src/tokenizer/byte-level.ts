/**
 * Byte-level BPE (GPT-2, GPT-NeoX, Llama 3, Qwen, SmolLM, nano) in TypeScript. A pre-token's ids do not depend on its
 * neighbours, so a cache of pre-tokens stands before the merges. The ids are those of the `tokenizers` package: whatever
 * in a tokenizer.json is not known here to be equal makes `maybeByteLevel` answer undefined, and the library is used.
 */

import { addedTokens } from './added-tokens.ts'
import { BYTE_CHARACTERS, bytesToToken, maybeTokenBytes } from './byte-alphabet.ts'
import { applyMerges, type Merges, mergeTable } from './merges.ts'
import { maybeNormaliser } from './normalisation.ts'
import { byteOffsets, type TokenOffsets } from './offsets.ts'
import { digitStretches, maybeScanner, type NextPreToken, nextGpt2 } from './pre-tokens.ts'
import type { AddedTokenJson, ComponentJson, ModelJson, TokenizerJson } from './tokenizer-json.ts'
import { wordCache } from './word-cache.ts'

export interface TextEncoding {
  /** Ids as the library's `encode(text, null, { addSpecialTokens: false })` gives them. */
  encode(text: string): Uint32Array
  /** The same, with special tokens written in the text read as plain characters: data never controls. */
  encodeData(text: string): Uint32Array
  /** Text of ids, special tokens included; unknown ids are left out, broken UTF-8 becomes U+FFFD. */
  decode(ids: ArrayLike<number>): string
}

/** A byte-level encoding, which knows where its tokens lie. */
export interface ByteLevelEncoding extends TextEncoding {
  /**
   * Where the tokens of `ids`, the encoding of `text`, lie in it; undefined where normalisation changed the text, so that
   * only the library can tell.
   */
  maybeOffsets(text: string, ids: Uint32Array): TokenOffsets | undefined
}

interface PreTokenizer {
  /** End of the stretch that the next pre-tokens are cut from; undefined: the whole text. */
  stretch?: NextPreToken
  next: NextPreToken
}

/**
 * The encoding of a tokenizer.json that is byte-level BPE, or undefined when the library must do it.
 * Fresh caches hold at most `cachedWords` pre-tokens (default 2^18).
 */
export function maybeByteLevel(json: TokenizerJson, cachedWords?: number): ByteLevelEncoding | undefined {
  const preTokenizer = maybePreTokenizer(json.pre_tokenizer)
  const normalise = maybeNormaliser(json.normalizer)
  const model = maybeModel(json.model)
  const tokens = json.added_tokens ?? []
  if (!preTokenizer || !normalise || !model || !idsAgree(tokens, json.model.vocab)) return undefined
  if (json.decoder?.type !== 'ByteLevel') return undefined

  const words = wordCache(cachedWords)
  const utf8 = new TextEncoder()
  let bytes = new Uint8Array(4096)
  let out = new Uint32Array(4096)
  let count = 0

  const encodeWord = (start: number, end: number) => {
    const from = count
    if (model.wholeWords !== undefined) {
      const id = model.wholeWords.get(bytesToToken(bytes, start, end))
      if (id !== undefined) out[count++] = id
    }
    if (count === from) {
      for (let i = start; i < end; i++) out[count++] = model.byteIds[bytes[i]]
      count = from + applyMerges(out.subarray(from, count), count - from, model.merges)
    }
    words.remember(bytes, start, end, out, from, count)
  }

  const encodePlain = (text: string) => {
    if (bytes.length < 3 * text.length) bytes = new Uint8Array(3 * text.length)
    const length = utf8.encodeInto(text, bytes).written
    if (out.length < count + length) out = enlarged(out, 2 * (count + length))
    const { stretch, next } = preTokenizer
    for (let from = 0; from < length; ) {
      const to = stretch === undefined ? length : stretch(bytes, from, length)
      while (from < to) {
        const end = next(bytes, from, to)
        const position = words.recall(bytes, from, end, out, count)
        if (position === -1) encodeWord(from, end)
        else count = position
        from = end
      }
    }
  }

  const encoder = (recognised: readonly AddedTokenJson[]) => {
    // Tokens that look at a match's surroundings are matched by the library alone.
    if (recognised.some((token) => token.single_word || token.lstrip || token.rstrip)) return undefined
    const added = addedTokens(recognised, normalise)
    return (text: string): Uint32Array => {
      count = 0
      // The library replaces lone surrogates before it looks for anything.
      const wellFormed = text.isWellFormed() ? text : text.toWellFormed()
      if (!added.mayOccur(wellFormed)) encodePlain(normalise(wellFormed))
      else
        for (const part of added.cut(wellFormed)) {
          if ('text' in part) encodePlain(part.text)
          else {
            if (count === out.length) out = enlarged(out, 2 * out.length)
            out[count++] = part.id
          }
        }
      return out.slice(0, count)
    }
  }

  const encode = encoder(tokens)
  const encodeData = encoder(tokens.filter((token) => !token.special))
  if (encode === undefined || encodeData === undefined) return undefined
  return { encode, encodeData, decode: decoder(json), maybeOffsets: byteOffsets(json, normalise) }
}

function enlarged(array: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length)
  larger.set(array)
  return larger
}

function maybePreTokenizer(json: ComponentJson | null | undefined): PreTokenizer | undefined {
  if (json === null || json === undefined) return undefined
  const parts = json.type === 'Sequence' ? (json.pretokenizers as ComponentJson[]) : [json]
  const last = parts.at(-1)
  if (last?.type !== 'ByteLevel' || last.add_prefix_space !== false) return undefined
  if (last.use_regex !== false) {
    if (parts.length === 1) return { next: nextGpt2 }
    const [digits] = parts
    if (parts.length !== 2 || digits.type !== 'Digits') return undefined
    return { stretch: digitStretches(digits.individual_digits === true), next: nextGpt2 }
  }
  const [split] = parts
  if (parts.length !== 2 || split.type !== 'Split' || split.behavior !== 'Isolated' || split.invert === true)
    return undefined
  const pattern = (split.pattern as { Regex?: string }).Regex
  const next = pattern === undefined ? undefined : maybeScanner(pattern)
  return next && { next }
}

interface ByteLevelModel {
  /** Id of each byte's token, [256]. */
  byteIds: Uint32Array
  merges: Merges
  /** With `ignore_merges`, a pre-token that is in the vocabulary is its id, whatever the merges make of it. */
  wholeWords?: Map<string, number>
}

function maybeModel(json: ModelJson): ByteLevelModel | undefined {
  if (json.type !== 'BPE' || json.merges === undefined) return undefined
  if (json.dropout || json.continuing_subword_prefix || json.end_of_word_suffix || json.byte_fallback) return undefined
  const ids = new Map(Object.entries(json.vocab))
  const byteIds = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    const id = ids.get(BYTE_CHARACTERS[byte])
    if (id !== undefined) byteIds[byte] = id
    // Bytes that no UTF-8 text holds may be missing (GPT-NeoX has none of them).
    else if (byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5) return undefined
  }
  const size = json.merges.length
  const [left, right, made] = [new Uint32Array(size), new Uint32Array(size), new Uint32Array(size)]
  for (let rank = 0; rank < size; rank++) {
    const merge = json.merges[rank]
    const pair = typeof merge === 'string' ? merge.split(' ') : merge
    const found = [ids.get(pair[0]), ids.get(pair[1]), ids.get(pair[0] + pair[1])]
    if (pair.length !== 2 || found.includes(undefined)) return undefined
    left[rank] = found[0]!
    right[rank] = found[1]!
    made[rank] = found[2]!
  }
  return { byteIds, merges: mergeTable(left, right, made), wholeWords: json.ignore_merges ? ids : undefined }
}

/** Whether the ids written with the added tokens are those the library gives them: the vocabulary's, else the next free. */
function idsAgree(tokens: readonly AddedTokenJson[], vocabulary: Record<string, number>): boolean {
  let next = Object.keys(vocabulary).length
  const seen = new Set<string>()
  for (const token of tokens) {
    const id = Object.hasOwn(vocabulary, token.content) ? vocabulary[token.content] : next++
    if (id !== token.id || seen.has(token.content)) return false
    seen.add(token.content)
  }
  return true
}

function decoder(json: TokenizerJson): (ids: ArrayLike<number>) => string {
  const tokens = new Map<number, string>()
  for (const [token, id] of Object.entries(json.model.vocab)) tokens.set(id, token)
  for (const token of json.added_tokens ?? []) tokens.set(token.id, token.content)
  const utf8 = new TextEncoder()
  // A byte order mark is text like any other.
  const text = new TextDecoder('utf-8', { ignoreBOM: true })
  return (ids) => {
    const parts: number[] = []
    for (let i = 0; i < ids.length; i++) {
      const token = tokens.get(ids[i])
      if (token !== undefined) for (const byte of maybeTokenBytes(token) ?? utf8.encode(token)) parts.push(byte)
    }
    return text.decode(Uint8Array.from(parts))
  }
}
