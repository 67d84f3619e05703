/**
 * Training a byte-level BPE tokenizer on a pool (Sennrich et al., 2016; bytes and pre-tokens as in GPT-2). The merges
 * are those of the `tokenizers` package's trainer, merge for merge: the most frequent pair first, of equally frequent
 * ones the pair of the smaller ids. They are found here because that trainer, called from Node, takes no vocabulary
 * size, reads only files, cuts texts at line ends, and draws progress bars on the terminal.
 */

import { BYTE_CHARACTERS, BYTE_ORDER } from './byte-alphabet.ts'
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

/**
 * Trains on an iterable of texts (a record's turn contents, in pool order). Thinning keeps whole texts, by a rule of
 * position alone: a text is counted while the bytes counted so far are below the bytes passed so far times
 * `maximumBytes` / `sourceBytes`. Without `sourceBytes` the first `maximumBytes` are counted. Same texts, same
 * tokenizer.json, on every machine. Memory: the different pre-tokens (some 50 bytes each), not the text.
 * O(bytes) to count, then O(p log p) in the pairs touched by merges.
 */
export function trainTokenizer(texts: Iterable<string>, options: TrainTokenizerOptions): TrainedTokenizer {
  const { vocabularySize, maximumBytes = 2 ** 26, sourceBytes = 0, minimumCount = 2 } = options
  const smallest = SPECIAL_TOKENS.length + 256
  if (!(vocabularySize >= smallest && vocabularySize <= 65_536))
    throw new RangeError(`vocabularySize ${vocabularySize} is not in [${smallest}, 65536]`)
  const share = Math.min(1, maximumBytes / Math.max(1, sourceBytes))
  const counter = wordCounts(nextGpt2)
  let passed = 0
  let counted = 0
  let used = 0
  for (const text of texts) {
    const within = counted <= passed * share
    passed += Buffer.byteLength(text)
    if (!within) continue
    counted += counter.add(text)
    used++
    if (counted >= maximumBytes) break
  }
  const tokens = [...SPECIAL_TOKENS, ...BYTE_ORDER.map((byte) => BYTE_CHARACTERS[byte])]
  const merges = learnMerges(counter.words(), tokens, vocabularySize, minimumCount)
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
  return {
    json: JSON.stringify(json),
    vocabularySize: tokens.length,
    texts: used,
    bytes: counted,
    words: counter.size,
  }
}

/** The different pre-tokens: word w is `bytes[starts[w]..starts[w + 1])`, seen `counts[w]` times. */
export interface CountedWords {
  bytes: Uint8Array
  starts: Uint32Array
  counts: Float64Array
}

interface Pair {
  left: number
  right: number
  count: number
  /** Words that had the pair at some time, with repeats. */
  words: number[]
}

/** Extends `tokens` (ids by place; the bytes' tokens already there) up to `size` and returns the merges in order. */
function learnMerges(words: CountedWords, tokens: string[], size: number, minimumCount: number): [string, string][] {
  const idOf = new Map(tokens.map((token, id) => [token, id]))
  const byteIds = Uint32Array.from(BYTE_CHARACTERS, (character) => idOf.get(character)!)
  const { starts, counts } = words
  const symbols = Uint32Array.from(words.bytes, (byte) => byteIds[byte])
  const lengths = Uint32Array.from(counts, (_, word) => starts[word + 1] - starts[word])
  const pairs = new Map<number, Pair>()
  const queue = pairQueue()
  let touched = new Set<Pair>()

  const addPairs = (word: number, sign: 1 | -1) => {
    const from = starts[word]
    for (let i = from; i + 1 < from + lengths[word]; i++) {
      const key = symbols[i] * 65_536 + symbols[i + 1]
      let pair = pairs.get(key)
      if (pair === undefined) {
        pair = { left: symbols[i], right: symbols[i + 1], count: 0, words: [] }
        pairs.set(key, pair)
      }
      pair.count += sign * counts[word]
      if (sign === 1 && pair.words.at(-1) !== word) pair.words.push(word)
      touched.add(pair)
    }
  }

  for (let word = 0; word < counts.length; word++) addPairs(word, 1)
  for (const pair of pairs.values()) queue.push(pair)
  const merges: [string, string][] = []
  while (tokens.length < size) {
    const best = queue.pop()
    if (best === undefined || best.count < minimumCount) break
    const merged = tokens[best.left] + tokens[best.right]
    // Two ways to spell one string ("ab" + "c", "a" + "bc") share one id, as in the library.
    let id = idOf.get(merged)
    if (id === undefined) {
      id = tokens.length
      tokens.push(merged)
      idOf.set(merged, id)
    }
    merges.push([tokens[best.left], tokens[best.right]])
    touched = new Set()
    const before = best.words
    best.words = []
    for (const word of new Set(before)) {
      addPairs(word, -1)
      mergeIn(symbols, starts[word], lengths, word, best, id)
      addPairs(word, 1)
    }
    for (const pair of touched) {
      if (pair.count > 0) queue.push(pair)
      else pairs.delete(pair.left * 65_536 + pair.right)
    }
  }
  return merges
}

/** Merges every occurrence of the pair in one word, from the left. */
function mergeIn(
  symbols: Uint32Array,
  start: number,
  lengths: Uint32Array,
  word: number,
  pair: Pair,
  id: number,
): void {
  const end = start + lengths[word]
  let out = start
  for (let i = start; i < end; i++) {
    if (i + 1 < end && symbols[i] === pair.left && symbols[i + 1] === pair.right) {
      symbols[out++] = id
      i++
    } else symbols[out++] = symbols[i]
  }
  lengths[word] = out - start
}

/** Pairs by falling count, then by rising ids. An entry whose count is no longer its pair's is passed over. */
function pairQueue(): { push(pair: Pair): void; pop(): Pair | undefined } {
  type Entry = { pair: Pair; count: number }
  const heap: Entry[] = []
  const before = (a: Entry, b: Entry) =>
    a.count !== b.count
      ? a.count > b.count
      : a.pair.left !== b.pair.left
        ? a.pair.left < b.pair.left
        : a.pair.right < b.pair.right
  const sink = (entry: Entry) => {
    let i = 0
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++
      if (!before(heap[child], entry)) break
      heap[i] = heap[child]
      i = child
    }
    heap[i] = entry
  }
  return {
    push(pair) {
      const entry = { pair, count: pair.count }
      let i = heap.length
      heap.push(entry)
      while (i > 0 && before(entry, heap[(i - 1) >> 1])) {
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
      }
      heap[i] = entry
    },
    pop() {
      while (heap.length > 0) {
        const top = heap[0]
        const last = heap.pop()!
        if (heap.length > 0) sink(last)
        if (top.count === top.pair.count && top.count > 0) return top.pair
      }
      return undefined
    },
  }
}
