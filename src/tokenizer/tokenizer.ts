/** What the rest of winnow knows of a tokenizer. Token ids fit in 31 bits; bit 31 of a stored token says "carries loss". */

import type { Turn } from '../dataset/record.ts'

/** Set on a stored token that carries loss (a response token, its end-of-turn token included). */
export const TRAINED_BIT = 0x80000000
export const TOKEN_MASK = 0x7fffffff

/** Where a record stands, for errors. */
export interface RecordPlace {
  file?: string
  line?: number
}

export interface Tokenizer {
  /** Number of ids: every id is below it. */
  readonly vocabularySize: number
  /** sha256 of all that decides ids and mask, hex: part of the key of everything computed from them. */
  readonly hash: string
  /** Id of the padding token, where there is one; padding is never read, so 0 serves elsewhere. */
  readonly padId?: number
  /** Id of the token that begins a text, where the model has one. */
  readonly bosId?: number
  /** Id of the token that ends a text or a turn, where the model has one. */
  readonly eosId?: number
  /** How records are written: nano's role markers, the model's chat template, or contents as plain text. */
  readonly layout: 'markers' | 'template' | 'plain'
  /** Ids of a text as the `tokenizers` package gives them: special tokens written in it are recognised, none is added. */
  encode(text: string): Uint32Array
  /** Text of ids, special tokens included. */
  decode(ids: ArrayLike<number>): string
  /**
   * A record's tokens in order, trained ones marked with TRAINED_BIT. No text in a turn becomes a special token. `place` is named in the error
   * of a chat template that cannot write the record.
   */
  encodeTurns(turns: readonly Turn[], place?: RecordPlace): Uint32Array
  /** tokenizer.json, for saving. */
  toJSON(): string
}
