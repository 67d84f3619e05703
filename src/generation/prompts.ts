/** A row of tokens as a task: what comes before a trained stretch is the prompt, what is trained is the reference. Which tokens end an answer. */

import { WinnowError } from '../errors.ts'
import { TOKEN_MASK, type Tokenizer, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'

/** Which of a row's trained stretches: in a conversation of several answers the first, or the last. */
export type Answer = 'first' | 'last'

const isTrained = (token: number) => (token & TRAINED_BIT) !== 0

/** A trained stretch, half-open; both ends are the row's where nothing is trained. */
function trainedStretch(tokens: Uint32Array, answer: Answer): [start: number, end: number] {
  if (answer === 'first') {
    const start = tokens.findIndex(isTrained)
    if (start < 0) return [tokens.length, tokens.length]
    const length = tokens.subarray(start).findIndex((token) => !isTrained(token))
    return [start, length < 0 ? tokens.length : start + length]
  }
  const last = tokens.findLastIndex(isTrained)
  if (last < 0) return [tokens.length, tokens.length]
  return [tokens.subarray(0, last).findLastIndex((token) => !isTrained(token)) + 1, last + 1]
}

const idsOf = (tokens: Uint32Array, from: number, to: number) =>
  tokens.slice(from, to).map((token) => token & TOKEN_MASK)

/** The tokens of a row before its first (or last) trained stretch; all of them where nothing is trained. O(tokens). */
export function promptTokens(rows: TokenRows, row: number, answer: Answer = 'first'): Uint32Array {
  const tokens = rows.read(row)
  return idsOf(tokens, 0, trainedStretch(tokens, answer)[0])
}

/** The tokens of a row's first (or last) trained stretch, the one that ends the turn included; none where nothing is trained. O(tokens). */
export function referenceTokens(rows: TokenRows, row: number, answer: Answer = 'first'): Uint32Array {
  const tokens = rows.read(row)
  return idsOf(tokens, ...trainedStretch(tokens, answer))
}

/**
 * The ids that end what a model writes: the tokenizer's end token, those that its configuration names (`configured`: eos_token_id of
 * generation_config.json and config.json), and what this tokenizer puts behind a trained turn, such as `<|im_end|>` of a chat template.
 * Each once, ascending.
 */
export function endTokens(tokenizer: Tokenizer, ...configured: unknown[]): number[] {
  const ids = configured.flat().filter((id): id is number => Number.isSafeInteger(id))
  if (tokenizer.eosId !== undefined) ids.push(tokenizer.eosId)
  // Two answers without a letter in common: what both end with, the turn ends with.
  const [one, other] = ['yes', 'no'].map((content) => maybeAnswer(tokenizer, content))
  const end = one?.at(-1)
  if (one !== undefined && other !== undefined && one.length > 1 && other.length > 1 && end === other.at(-1))
    ids.push(end as number)
  return [...new Set(ids)].sort((a, b) => a - b)
}

/** The tokens that a tokenizer puts before a text of its own: what comes before the trained tokens of a record of plain text. */
export function textPrefix(tokenizer: Tokenizer): Uint32Array {
  const tokens = tokenizer.encodeTurns([{ role: 'text', content: 'a', trained: true }])
  return tokens.slice(0, trainedStretch(tokens, 'first')[0])
}

/** The trained tokens of an answer to something; nothing where a chat template refuses such a record. */
function maybeAnswer(tokenizer: Tokenizer, content: string): Uint32Array | undefined {
  try {
    const turns = [
      { role: 'user', content: 'Well?', trained: false },
      { role: 'assistant', content, trained: true },
    ] as const
    return tokenizer
      .encodeTurns(turns)
      .filter(isTrained)
      .map((token) => token & TOKEN_MASK)
  } catch (error) {
    if (error instanceof WinnowError) return undefined
    throw error
  }
}
