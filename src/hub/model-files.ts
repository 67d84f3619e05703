/** A model in the Hugging Face layout as the rest of winnow sees it: what its files say, and its tensors one at a time. */

import type { FileRecord } from '../runs/hash.ts'

/** Where a model came from. */
export interface ModelSource {
  kind: 'directory' | 'hub'
  /** The directory as given, or the hub id: `EleutherAI/pythia-70m`. */
  id: string
  /** Hub only: the commit that was read, 40 hex digits. */
  revision?: string
}

export interface TensorDescription {
  /** As its file has it: `F32`, `BF16`, … `read` gives float32 whatever it is. */
  dtype: string
  shape: readonly number[]
}

/** The tensors of a model's safetensors files. Only their headers are in memory. */
export interface WeightFiles extends AsyncDisposable {
  /** Every tensor, in file order; shards in the order of their names. */
  names(): ReadonlyMap<string, TensorDescription>
  /**
   * One tensor as float32, row-major, in memory of its own; read at its place in the file, a few MiB at a time beyond the result.
   * Calls may overlap.
   *
   * @throws {WinnowError} `missing-tensor`, `unsupported-dtype` (quantised and 8-bit types), `bad-safetensors` where the file has
   * been cut since it was opened.
   */
  read(name: string): Promise<Float32Array>
  files: readonly { path: string; bytes: number }[]
  /** Closes the files. Nothing can be read afterwards; closing twice is nothing. */
  close(): Promise<void>
}

/** What a model's small files say: enough for its tokenizer and its shape, without its weights. */
export interface ModelTexts {
  directory: string
  source: ModelSource
  /** config.json. */
  config?: Record<string, unknown>
  /**
   * Classes that config.json wants to load from code in the repository (`auto_map`), which winnow never runs: the model can be used
   * only if its architecture is one that winnow has itself. Undefined where there are none.
   */
  remoteCode?: Record<string, unknown>
  /** generation_config.json. */
  generationConfig?: Record<string, unknown>
  /** Text of tokenizer.json. */
  tokenizerJson?: string
  /** tokenizer_config.json. */
  tokenizerConfig?: Record<string, unknown>
  /** special_tokens_map.json. */
  specialTokensMap?: Record<string, unknown>
  /**
   * Chat templates by name, `default` for the one without. From chat_template.jinja and additional_chat_templates/<name>.jinja; else
   * chat_template.json; else the `chat_template` of tokenizer_config.json, as transformers chooses. Empty where there are none.
   */
  chatTemplates: Record<string, string>
  /** What the reader should know although nothing failed: a hub that was not reached, say. */
  notices: readonly string[]
}

/** A model directory, opened. Close `weights` when done, or hold it with `await using`. */
export interface ModelFiles extends ModelTexts, AsyncDisposable {
  config: Record<string, unknown>
  weights: WeightFiles
  /**
   * Size and sha256 of every file that was read, by its path in the directory with `/`. Streams all weights once; the result is kept.
   */
  hashes(): Promise<Record<string, FileRecord>>
}
