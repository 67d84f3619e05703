/** A row of tokens as a task: what comes before its first trained token is the prompt, what is trained is the reference. */

import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'

const firstTrained = (tokens: Uint32Array): number => {
  const at = tokens.findIndex((token) => (token & TRAINED_BIT) !== 0)
  return at < 0 ? tokens.length : at
}

/** The tokens of a row before the first trained one; all of them where none is trained. */
export function promptTokens(rows: TokenRows, row: number): Uint32Array {
  const tokens = rows.read(row)
  return tokens.slice(0, firstTrained(tokens)).map((token) => token & TOKEN_MASK)
}

/** The trained tokens that follow on a row's prompt, up to the first that is not trained; empty where none is. */
export function referenceTokens(rows: TokenRows, row: number): Uint32Array {
  const tokens = rows.read(row)
  const from = firstTrained(tokens)
  const length = tokens.subarray(from).findIndex((token) => (token & TRAINED_BIT) === 0)
  return tokens.slice(from, length < 0 ? tokens.length : from + length).map((token) => token & TOKEN_MASK)
}
