/** What training needs of a tokenised pool: lengths up front, tokens on demand. Nothing holds all tokens at once. */

export interface TokenRows {
  /** N, the number of rows. */
  readonly count: number
  /** Tokens of each row, untruncated, [N]. */
  readonly lengths: Uint32Array
  /** Trained (loss-carrying) tokens of each row, untruncated, [N]. */
  readonly labels: Uint32Array
  /** The tokens of one row; bit 31 marks those that carry loss (TRAINED_BIT in tokenizer/tokenizer.ts). Synchronous. */
  read(row: number): Uint32Array
}
