/**
 * Text of data that spells control tokens. Before a chat template sees a content, such stretches are replaced by single
 * private-use characters, so that in the rendered text every control token is the template's own; afterwards they are
 * put back and encoded as plain text. A content that itself holds private-use characters has them replaced alike.
 */

import type { AddedTokenJson } from './tokenizer-json.ts'

/** Around a stretch of generated text, in a rendering that is only read for positions. */
export const MARK_START = '\uf8fe'
export const MARK_END = '\uf8ff'
/** All characters that stand for something here: no template may use them. */
export const RESERVED = /[\ue000-\uf8ff]/
const FIRST = 0xe000
const LAST = 0xf8fd

export interface ControlTokens {
  /** Length of the longest control token at `position`, or 0. */
  lengthAt(text: string, position: number): number
  /** Whether a control token ends at `position`. */
  endsAt(text: string, position: number): boolean
  /** The control tokens in order, always the leftmost and longest. */
  find(text: string): { start: number; end: number; token: AddedTokenJson }[]
  /** Stretches of control text in data: what `find` gives, and single reserved characters. */
  hostile(text: string): [start: number, end: number][]
}

/** The special tokens of a tokenizer, found in texts by their first character, then by length. O(text), whatever their number. */
export function controlTokens(tokens: readonly AddedTokenJson[]): ControlTokens {
  const special = new Map(
    tokens.filter((token) => token.special && token.content !== '').map((token) => [token.content, token]),
  )
  const lengths = [...new Set([...special.keys()].map((content) => content.length))].sort((a, b) => b - a)
  const firsts = [...new Set([...special.keys()].map((content) => content[0]))]
  const escaped = firsts.map((first) => `\\u${first.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
  const candidate = new RegExp(`[${escaped}\\ue000-\\uf8ff]`, 'g')
  const lengthAt = (text: string, position: number) =>
    lengths.find((length) => {
      const end = position + length
      return end <= text.length && special.has(text.slice(position, end))
    }) ?? 0
  const stretches = (text: string, reserved: boolean) => {
    const found: [number, number][] = []
    let free = 0
    for (const { index } of text.matchAll(candidate)) {
      if (index < free) continue
      const length = lengthAt(text, index) || (reserved && RESERVED.test(text[index]) ? 1 : 0)
      if (length === 0) continue
      free = index + length
      found.push([index, free])
    }
    return found
  }
  return {
    lengthAt,
    endsAt: (text, position) =>
      lengths.some((length) => length <= position && special.has(text.slice(position - length, position))),
    find: (text) =>
      stretches(text, false).map(([start, end]) => ({ start, end, token: special.get(text.slice(start, end))! })),
    hostile: (text) => stretches(text, true),
  }
}

export interface HiddenText {
  /** The contents, control text replaced. */
  contents: string[]
  /** What each reserved character stands for; empty when nothing was replaced. */
  hidden: Map<string, string>
}

/** Replaces control text in the contents of one record. Undefined when there is more of it than there are characters for. */
export function hideControlText(contents: readonly string[], control: ControlTokens): HiddenText | undefined {
  const characters = new Map<string, string>()
  let full = false
  const characterFor = (text: string) => {
    let character = characters.get(text)
    if (character === undefined) {
      const code = FIRST + characters.size
      if (code > LAST) full = true
      character = String.fromCharCode(Math.min(code, LAST))
      characters.set(text, character)
    }
    return character
  }
  const changed = contents.map((content) => {
    let [text, from] = ['', 0]
    for (const [start, end] of control.hostile(content)) {
      text += content.slice(from, start) + characterFor(content.slice(start, end))
      from = end
    }
    return from === 0 ? content : text + content.slice(from)
  })
  if (full) return undefined
  return { contents: changed, hidden: new Map([...characters].map(([text, character]) => [character, text])) }
}

/** The text with hidden stretches put back, and for each index of `text` (its end included) the index in the result. */
export function restoreControlText(
  text: string,
  hidden: ReadonlyMap<string, string>,
): { text: string; positions: Uint32Array } {
  const positions = new Uint32Array(text.length + 1)
  let restored = ''
  for (let i = 0; i < text.length; i++) {
    positions[i] = restored.length
    restored += hidden.get(text[i]) ?? text[i]
  }
  positions[text.length] = restored.length
  return { text: restored, positions }
}
