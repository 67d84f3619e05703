/**
 * Added tokens in a text, as the `tokenizers` package finds them: first those matched in the raw text, then, in the
 * normalised stretches between, the `normalized` ones; always the leftmost match, the longest of those that start there.
 */

import type { AddedTokenJson } from './tokenizer-json.ts'

/** A stretch of a text: plain (already normalised) or one added token. */
export type Stretch = { text: string } | { id: number }

export interface AddedTokens {
  /** Whether the text may hold an added token; false is certain. */
  mayOccur(text: string): boolean
  /** Cuts the text into added tokens and normalised plain stretches; empty stretches are left out. */
  cut(text: string): Stretch[]
}

type Normalise = (text: string) => string

/**
 * A matcher for these tokens. They must carry none of `single_word`, `lstrip`, `rstrip`, which look at a match's
 * surroundings.
 */
export function addedTokens(tokens: readonly AddedTokenJson[], normalise: Normalise): AddedTokens {
  const raw = new Map<string, number>()
  const normalized = new Map<string, number>()
  for (const token of tokens) {
    if (token.content === '') continue
    if (token.normalized) normalized.set(normalise(token.content), token.id)
    else raw.set(token.content, token.id)
  }
  const rawPattern = maybePattern([...raw.keys()])
  const normalizedPattern = maybePattern([...normalized.keys()])
  const rawNeedles = needles([...raw.keys()])
  const normalizedNeedles = needles([...normalized.keys()])
  return {
    mayOccur(text) {
      for (const needle of rawNeedles) if (text.includes(needle)) return true
      if (normalizedNeedles.length === 0) return false
      const normal = normalise(text)
      for (const needle of normalizedNeedles) if (normal.includes(needle)) return true
      return false
    },
    cut(text) {
      const stretches: Stretch[] = []
      const plain = (part: string) => {
        if (part !== '') stretches.push({ text: part })
      }
      split(text, rawPattern, raw, stretches, (part) =>
        split(normalise(part), normalizedPattern, normalized, stretches, plain),
      )
      return stretches
    },
  }
}

function split(
  text: string,
  pattern: RegExp | undefined,
  ids: Map<string, number>,
  stretches: Stretch[],
  plain: (part: string) => void,
): void {
  let end = 0
  if (pattern !== undefined)
    for (const match of text.matchAll(pattern)) {
      if (match.index > end) plain(text.slice(end, match.index))
      stretches.push({ id: ids.get(match[0])! })
      end = match.index + match[0].length
    }
  if (end < text.length) plain(text.slice(end))
}

/** Alternatives are tried in order, so the longest come first. */
function maybePattern(contents: string[]): RegExp | undefined {
  if (contents.length === 0) return undefined
  const alternatives = contents
    .toSorted((a, b) => b.length - a.length)
    .map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
  return new RegExp(alternatives.join('|'), 'g')
}

/** The contents that hold no other one: a text without them has no token (24 runs of spaces need one look for two). */
function needles(contents: string[]): string[] {
  return contents.filter((content) => !contents.some((other) => other !== content && content.includes(other)))
}
