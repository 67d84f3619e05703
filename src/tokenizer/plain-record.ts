/**
 * Records for a model without a chat template (Pythia, GPT-2): the contents of the turns one behind the other as plain text.
 *
 *     bos  system ¶¶ user ¶¶ [assistant eos] user ¶¶ [assistant eos]        ¶¶ = a blank line, [ ] = trained
 *
 * A blank line ("\n\n", never trained) stands before each turn but the first; none behind an end-of-text token, which separates by itself.
 * A trained turn ends with the end-of-text token, trained as well. Neighbouring `text` turns (plain text, the pieces of a `--template`)
 * are one text as it is, without anything between, and one end-of-text token, trained if the last of them is. The bos token comes first if the
 * tokenizer puts one in front of a text.
 */

import type { Turn } from '../dataset/record.ts'

export const SEPARATOR = '\n\n'

/** A stretch of text under one mask, or one special token. */
export type Piece = { text: string; trained: boolean } | { id: number; trained: boolean }

/** A record's pieces in order; neighbouring stretches of one mask are one. `eos`: id of the end-of-text token. */
export function plainPieces(turns: readonly Turn[], tokens: { prefix: readonly number[]; eos?: number }): Piece[] {
  if (turns.length === 0) return []
  const pieces: Piece[] = tokens.prefix.map((id) => ({ id, trained: false }))
  const write = (text: string, trained: boolean) => {
    const last = pieces.at(-1)
    if (text === '') return
    if (last !== undefined && 'text' in last && last.trained === trained) last.text += text
    else pieces.push({ text, trained })
  }
  let separate = false
  for (let i = 0; i < turns.length; i++) {
    const { role, content, trained } = turns[i]
    const follows = role === 'text' && i > 0 && turns[i - 1].role === 'text'
    if (separate && !follows) write(SEPARATOR, false)
    write(content, trained)
    const ends = role === 'text' ? turns[i + 1]?.role !== 'text' : trained
    if (ends && tokens.eos !== undefined) pieces.push({ id: tokens.eos, trained })
    separate = !ends || tokens.eos === undefined
  }
  return pieces
}
