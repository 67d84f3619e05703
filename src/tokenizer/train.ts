/**
 * Training a byte-level BPE tokenizer on a pool (Sennrich et al., 2016; bytes and pre-tokens as in GPT-2). The merges
 * are those of the `tokenizers` package's trainer, merge for merge: the most frequent pair first, of equally frequent
 * ones the pair of the smaller ids. They are found here because that trainer, called from Node, takes no vocabulary
 * size, reads only files, cuts texts at line ends, and draws progress bars on the terminal.
 */

import { BYTE_CHARACTERS, BYTE_ORDER } from './byte-alphabet.ts'
import { type CountedWords, learnMerges } from './merge-learning.ts'
import { nextGpt2 } from './pre-tokens.ts'
import type { TokenizerJson } from './tokenizer-json.ts'
import { SPECIAL_TOKENS } from './turns.ts'
import { wordCounts } from './word-counts.ts'

export interface TrainTokenizerOptions {
  /** Ids in all: 7 special tokens, 256 bytes, merges. At least 263. */
  vocabularySize: number
  /** Bytes of text counted at most; a longer source is thinned evenly. Default 64 MB (2^26). */
  maximumBytes?: number
  /** Bytes of the whole source, for even thinning, when the caller knows them (the input files' sizes are near enough). */
  sourceBytes?: number
  /** Pairs seen less often are not merged. Default 2. */
  minimumCount?: number
}

export interface TrainedTokenizer {
  /** tokenizer.json. */
  json: string
  /** At most `vocabularySize`: less when the text has no more pairs of `minimumCount`. */
  vocabularySize: number
  /** Texts and bytes that were counted, and different pre-tokens in them. */
  texts: number
  bytes: number
  words: number
}

export interface TokenizerTrainer {
  /** Takes the next text of the source. Returns false once no further text will be counted. */
  add(text: string): boolean
  /** Learns the merges from what was counted. Takes no further text. */
  finish(): TrainedTokenizer
}

/** Trains on texts (a record's turn contents, in pool order): `tokenizerTrainer` fed with all of them. */
export function trainTokenizer(texts: Iterable<string>, options: TrainTokenizerOptions): TrainedTokenizer {
  const trainer = tokenizerTrainer(options)
  for (const text of texts) if (!trainer.add(text)) break
  return trainer.finish()
}

/**
 * A trainer that takes its texts one by one, from a stream. Thinning keeps whole texts, by a rule of position alone: a
 * text is counted while the bytes counted so far are at most the bytes passed so far times `maximumBytes` /
 * `sourceBytes`. Without `sourceBytes` the first `maximumBytes` are counted. Same texts, same tokenizer.json, on every
 * machine. Memory: the different pre-tokens (some 50 bytes each, and their pairs when merging), not the text.
 * O(bytes) to count, then O(p log p) in the pairs that merges touch. Throws a RangeError for a vocabulary without room
 * for the bytes.
 */
export function tokenizerTrainer(options: TrainTokenizerOptions): TokenizerTrainer {
  const { vocabularySize, maximumBytes = 2 ** 26, sourceBytes = 0, minimumCount = 2 } = options
  const smallest = SPECIAL_TOKENS.length + 256
  if (!(vocabularySize >= smallest && vocabularySize <= 65_536))
    throw new RangeError(`vocabularySize ${vocabularySize} is not in [${smallest}, 65536]`)
  const share = Math.min(1, maximumBytes / Math.max(1, sourceBytes))
  const counter = wordCounts(nextGpt2)
  let passed = 0
  let counted = 0
  let texts = 0
  return {
    add(text) {
      const within = counted <= passed * share && counted < maximumBytes
      passed += Buffer.byteLength(text)
      if (within) {
        counted += counter.add(text)
        texts++
      }
      return counted < maximumBytes
    },
    finish() {
      const { json, size } = learnt(counter.words(), vocabularySize, minimumCount)
      return { json: JSON.stringify(json), vocabularySize: size, texts, bytes: counted, words: counter.size }
    },
  }
}

/** tokenizer.json of the merges that these words teach. */
function learnt(words: CountedWords, vocabularySize: number, minimumCount: number): { json: unknown; size: number } {
  const tokens = [...SPECIAL_TOKENS, ...BYTE_ORDER.map((byte) => BYTE_CHARACTERS[byte])]
  const merges = learnMerges(words, tokens, vocabularySize, minimumCount)
  const json: TokenizerJson & { version: string } = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    } as TokenizerJson['model'],
  }
  return { json, size: tokens.length }
}
