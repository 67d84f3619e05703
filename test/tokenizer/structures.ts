/** Tokenizers of the structures that published models have, over one small vocabulary, for comparison with the library. */

import { readFileSync } from 'node:fs'
import { CL100K_PATTERN, QWEN2_PATTERN } from '../../src/tokenizer/pre-tokens.ts'
import type { ComponentJson, TokenizerJson } from '../../src/tokenizer/tokenizer-json.ts'
import { trainTokenizer } from '../../src/tokenizer/train.ts'

/** Questions and answers of the example pool. */
export function exampleTexts(): string[] {
  const lines = readFileSync(new URL('../../examples/math.jsonl', import.meta.url), 'utf8').split('\n')
  return lines
    .filter((line) => line !== '')
    .flatMap((line) => {
      const { question, answer } = JSON.parse(line) as { question: string; answer: string }
      return [question, answer]
    })
}

/** A tokenizer of 1,000 ids trained on the example pool. */
export const nanoJson = trainTokenizer(exampleTexts(), { vocabularySize: 1000 }).json

const split = (Regex: string): ComponentJson => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
  ],
})
const byteLevel: ComponentJson = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
const digits = (individual_digits: boolean): ComponentJson => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Digits', individual_digits },
    { ...byteLevel, use_regex: true },
  ],
})
const plain = { single_word: false, lstrip: false, rstrip: false }

function structure(change: (json: TokenizerJson, size: number) => void): string {
  const json = JSON.parse(nanoJson) as TokenizerJson
  // The special tokens of these models stand behind the vocabulary or in it; nano's own are taken out of the way.
  json.added_tokens = []
  const size = Object.keys(json.model.vocab).length
  change(json, size)
  return JSON.stringify(json)
}

/** tokenizer.json by structure; `fast` ones are encoded in TypeScript, the others by the library. */
export const STRUCTURES: { name: string; json: string; fast: boolean }[] = [
  { name: 'nano', fast: true, json: nanoJson },
  {
    name: 'GPT-2',
    fast: true,
    json: structure((json, size) => {
      json.added_tokens = [{ id: size, content: '<|endoftext|>', special: true, normalized: false, ...plain }]
    }),
  },
  {
    name: 'GPT-NeoX',
    fast: true,
    json: structure((json, size) => {
      json.normalizer = { type: 'NFC' }
      json.added_tokens = [{ id: 0, content: '<|pad|>', special: true, normalized: false, ...plain }]
      for (let spaces = 24; spaces >= 2; spaces--)
        json.added_tokens.push({
          id: size + 24 - spaces,
          content: ' '.repeat(spaces),
          special: false,
          normalized: true,
          ...plain,
        })
    }),
  },
  {
    name: 'Llama 3',
    fast: true,
    json: structure((json, size) => {
      json.pre_tokenizer = split(CL100K_PATTERN)
      json.model.ignore_merges = true
      // A word of the vocabulary that the merges do not make.
      json.model.vocab[' zebra'.replace(' ', 'Ġ')] = size
      json.added_tokens = [{ id: size + 1, content: '<|eot_id|>', special: true, normalized: false, ...plain }]
    }),
  },
  {
    name: 'Qwen 2',
    fast: true,
    json: structure((json, size) => {
      json.normalizer = { type: 'NFC' }
      json.pre_tokenizer = split(QWEN2_PATTERN)
      json.added_tokens = [
        { id: size, content: '<|im_end|>', special: true, normalized: false, ...plain },
        { id: size + 1, content: '<tool_call>', special: false, normalized: false, ...plain },
        { id: size + 2, content: 'é̄', special: false, normalized: true, ...plain },
      ]
    }),
  },
  {
    name: 'SmolLM',
    fast: true,
    json: structure((json) => {
      json.pre_tokenizer = digits(true)
    }),
  },
  {
    name: 'digits in runs',
    fast: true,
    json: structure((json) => {
      json.pre_tokenizer = digits(false)
    }),
  },
  {
    name: 'prefix space',
    fast: false,
    json: structure((json) => {
      json.pre_tokenizer = { ...byteLevel, add_prefix_space: true }
    }),
  },
  {
    name: 'stripping added token',
    fast: false,
    json: structure((json, size) => {
      json.added_tokens = [{ id: size, content: '<mask>', special: false, normalized: false, ...plain, lstrip: true }]
    }),
  },
]
