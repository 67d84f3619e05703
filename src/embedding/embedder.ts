/** The contract of embedding models: texts in, one vector a text out. */

/** Plain data that tells one embedding from another; part of the key of what is computed from it. */
export type EmbedderIdentity = { readonly [key: string]: string | number | boolean | null }

export interface EmbedOptions {
  signal?: AbortSignal
  /** Texts done of this call, after each batch. */
  onProgress?: (texts: number) => void
}

export interface Embedder extends AsyncDisposable {
  /** `ngrams`, or a model as the user named it. */
  readonly name: string
  /** d */
  readonly dimensions: number
  /** Everything that a vector depends on besides the text (and the device): model hash, pooling, normalisation, length. */
  readonly identity: EmbedderIdentity
  /**
   * Vectors of the texts in order, row-major [texts.length, d], finite. L2-normalised unless the embedder was opened with `normalise: false`;
   * a text without any feature gets the zero vector. The same texts in the same call give the same bits.
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array>
}
