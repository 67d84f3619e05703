/** The responses of rows without what goes before them: what a model makes of an answer that it was not asked for. */

import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from './rows.ts'

/**
 * Rows of the trained tokens alone, those of several turns one behind the other, without prompts and role markers. A row is cut to `maxLength` before,
 * so that the tokens are the ones that are scored with the prompt. In front stands the token that begins a text (`bosId`), where the
 * model has one; else nothing, and the first response token, which nothing goes before, carries no loss. (The code of Superfiltering, Li et al.
 * 2024, leaves out the first token with GPT-2 too, whose tokenizer puts nothing in front of a text by itself.) O(tokens) for rows that are cut, else O(1) a row.
 */
export function responsesAlone(rows: TokenRows, options: { maxLength: number; bosId?: number }): TokenRows {
  const { maxLength, bosId } = options
  const lead = bosId === undefined ? [] : [bosId]
  const trainedOf = (row: number) => rows.read(row).subarray(0, maxLength).filter(isTrained)
  const labels = Uint32Array.from(rows.labels, (count, row) =>
    count === 0 || rows.lengths[row] <= maxLength ? count : trainedOf(row).length,
  )
  return {
    count: rows.count,
    lengths: labels.map((count) => (count === 0 ? 0 : lead.length + count)),
    labels,
    read(row) {
      const trained = trainedOf(row)
      const tokens = new Uint32Array(trained.length === 0 ? 0 : lead.length + trained.length)
      if (tokens.length === 0) return tokens
      tokens.set(lead)
      tokens.set(trained, lead.length)
      return tokens
    },
  }
}

const isTrained = (token: number) => token >= TRAINED_BIT
