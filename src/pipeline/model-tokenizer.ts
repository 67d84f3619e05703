/** The tokenizer of a model directory: its own files, checked against the model's vocabulary. */

import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import type { ModelTexts } from '../hub/model-files.ts'
import { loadPretrainedTokenizer, type PretrainedOptions } from '../tokenizer/pretrained.ts'
import { checkVocabulary } from '../tokenizer/special-tokens.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/**
 * Loads the tokenizer of a model. Where config.json tells the model's vocabulary, every id must have a row in it. Throws a WinnowError
 * `no-tokenizer`, `tokenizer-mismatch` and as `loadPretrainedTokenizer`.
 */
export function modelTokenizer(
  files: ModelTexts,
  options: Pick<PretrainedOptions, 'template' | 'date'> = {},
): Tokenizer {
  const { directory, config, generationConfig, tokenizerJson, tokenizerConfig, specialTokensMap, chatTemplates } = files
  const file = join(directory, 'tokenizer.json')
  if (tokenizerJson === undefined)
    throw new WinnowError('input', {
      code: 'no-tokenizer',
      message: 'the model has no tokenizer.json',
      file: directory,
      expected: 'tokenizer.json, the form that Hugging Face tokenizers save',
      hint: 'Older formats (vocab.json, tokenizer.model) are not read: load the tokenizer in transformers and save it again.',
    })
  const tokenizer = loadPretrainedTokenizer({
    json: tokenizerJson,
    // special_tokens_map.json is how older versions of transformers said the same.
    config: { ...(tokenizerConfig?.added_tokens_decoder === undefined ? specialTokensMap : {}), ...tokenizerConfig },
    chatTemplate: chatTemplates,
    modelConfig: config,
    generationConfig,
    file,
    ...options,
  })
  const rows = config?.vocab_size
  if (typeof rows === 'number') checkVocabulary(tokenizer, rows, join(directory, 'config.json'))
  return tokenizer
}
