/** What an encoder's own files say of how it is to be used: its pooling and the longest text it reads. Pure. */

import { WinnowError } from '../errors.ts'
import type { EncoderFiles } from '../hub/encoder.ts'
import type { Pooling } from './pooling.ts'

type SettingFiles = Pick<
  EncoderFiles,
  'directory' | 'config' | 'tokenizerConfig' | 'modules' | 'sentenceConfig' | 'pooling'
>

/** Names of pooling in sentence-transformers: of the field `pooling_mode` since its version 5.3, and the flags before it. */
const MODES: Readonly<Record<string, Pooling>> = {
  mean: 'mean',
  mean_tokens: 'mean',
  cls: 'cls',
  cls_token: 'cls',
  lasttoken: 'last',
  weightedmean: 'weighted-mean',
  weightedmean_tokens: 'weighted-mean',
}

/** Modules that a graph holds already, that are pooling, or that scale to length 1, which is an option here. */
const KNOWN_MODULES = ['Transformer', 'Pooling', 'Normalize']

const className = (type: string) => type.slice(type.lastIndexOf('.') + 1)

/**
 * The pooling that the model was trained with, as its sentence-transformers files say; `mean` where it has none.
 *
 * @throws {WinnowError} `unsupported-pooling` (maximum, several at once, prompts left out) and `unsupported-module` (a layer after pooling,
 * which no graph of hidden states holds).
 */
export function ownPooling({ directory, modules, pooling }: SettingFiles): Pooling {
  const strange = modules?.find(({ type }) => !KNOWN_MODULES.includes(className(type)))
  if (strange !== undefined)
    throw new WinnowError('input', {
      code: 'unsupported-module',
      message: `the model has a ${className(strange.type)} module after its hidden states, which winnow does not compute`,
      file: directory,
      path: 'modules.json',
      found: strange.type,
      expected: KNOWN_MODULES.join(', '),
      hint: 'Export the whole model, with an output `sentence_embedding`, or give a pooling to use its hidden states alone.',
    })
  if (pooling === undefined) return 'mean'
  const named = [pooling.pooling_mode].flat().filter((mode) => typeof mode === 'string')
  const flags = Object.entries(pooling).filter(([name, on]) => on === true && name.startsWith('pooling_mode_'))
  const modes = named.length > 0 ? named : flags.map(([name]) => name.slice('pooling_mode_'.length))
  const found = modes.length === 1 ? MODES[modes[0]] : undefined
  if (found === undefined || pooling.include_prompt === false)
    throw new WinnowError('input', {
      code: 'unsupported-pooling',
      message: "the model's own pooling is none that winnow has",
      file: directory,
      path: '1_Pooling/config.json',
      found: found === undefined ? modes.join(' and ') || 'none' : 'include_prompt: false',
      expected: 'one of mean, cls, lasttoken, weightedmean',
      hint: 'Give the pooling: mean, cls, last or weighted-mean.',
    })
  return found
}

/** Most tokens of a text unless asked for more. */
const MOST_TOKENS = 512

/** Families whose positions begin behind the padding's id. */
const OFFSET_FAMILIES = ['roberta', 'xlm-roberta', 'camembert', 'mpnet', 'longformer', 'data2vec-text']

const wholeNumber = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 1e9 ? value : undefined

/** Longest input that the model has positions for; undefined where config.json does not say. */
export function maybePositions({ config }: SettingFiles): number | undefined {
  const positions = wholeNumber(config.max_position_embeddings ?? config.n_positions ?? config.n_ctx)
  if (positions === undefined || !OFFSET_FAMILIES.includes(String(config.model_type))) return positions
  return positions - 1 - (wholeNumber(config.pad_token_id) ?? 1)
}

/**
 * Tokens that a text is cut to, special tokens included: as asked for, else the model's own limit (sentence_bert_config.json, then the
 * tokenizer's `model_max_length`, then positions), at most 512.
 *
 * @throws {WinnowError} `bad-option` for a number that is none or more than the model has positions for.
 */
export function tokenLimit(files: SettingFiles, asked?: number): number {
  const positions = maybePositions(files)
  if (asked === undefined) {
    const own =
      wholeNumber(files.sentenceConfig?.max_seq_length) ?? wholeNumber(files.tokenizerConfig?.model_max_length)
    return Math.min(MOST_TOKENS, own ?? MOST_TOKENS, positions ?? MOST_TOKENS)
  }
  const least = 8
  if (Number.isSafeInteger(asked) && asked >= least && asked <= (positions ?? asked)) return asked
  throw new WinnowError('usage', {
    code: 'bad-option',
    message: `${asked} tokens are no length that the encoder can read`,
    path: 'maxTokens',
    file: files.directory,
    expected: `a whole number from ${least}${positions === undefined ? '' : ` to ${positions}, the positions of the model`}`,
  })
}
