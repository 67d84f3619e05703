/** The responses of rows without what goes before them: what a model makes of an answer that it was not asked for. */

import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from './rows.ts'

/** What stands in front of a response: the token that begins a text, the one token before each response, or nothing. */
export type Lead = { bosId: number } | 'marker' | 'nothing'

/** What this tokenizer's responses are read behind: nano's role marker, else the token that begins a text, where the model has one. */
export const leadOf = ({ layout, bosId }: { layout: string; bosId?: number }): Lead =>
  layout === 'markers' ? 'marker' : bosId === undefined ? 'nothing' : { bosId }

/**
 * Rows of the trained tokens alone, those of several turns one behind the other, without prompts. A row is cut to `maxLength` before, so that the
 * tokens are the ones that are scored with the prompt. The first needs a token in front of it to be predicted from: see `Lead`. With
 * `nothing` it carries no loss; the code of Superfiltering (Li et al. 2024) does so, whose GPT-2 tokenizer puts nothing in front of a
 * text by itself. O(tokens).
 */
export function responsesAlone(rows: TokenRows, { maxLength, lead }: { maxLength: number; lead: Lead }): TokenRows {
  const read = (row: number): Uint32Array => {
    const ids = rows.read(row).subarray(0, maxLength)
    const kept: number[] = []
    ids.forEach((id, i) => {
      if (!isTrained(id)) return
      if (typeof lead === 'object' && kept.length === 0) kept.push(lead.bosId)
      if (lead === 'marker' && i > 0 && !isTrained(ids[i - 1])) kept.push(ids[i - 1])
      kept.push(id)
    })
    return Uint32Array.from(kept)
  }
  const lengths = new Uint32Array(rows.count)
  const labels = new Uint32Array(rows.count)
  for (let row = 0; row < rows.count; row++) {
    const ids = read(row)
    lengths[row] = ids.length
    for (const id of ids) labels[row] += isTrained(id) ? 1 : 0
  }
  return { count: rows.count, lengths, labels, read }
}

const isTrained = (token: number) => token >= TRAINED_BIT
