/**
 * Learning merges from counted words: the most frequent pair of neighbouring symbols becomes a symbol, again and again
 * (Sennrich et al., 2016, algorithm 1). Ties go to the pair of the smaller ids, as in the `tokenizers` package. Counts
 * are kept up to date around each merge alone, so the work is that of the places where merges happen.
 */

import { BYTE_CHARACTERS } from './byte-alphabet.ts'

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
  /** Words that had the pair at some time, perhaps with repeats. */
  words: number[]
}

/**
 * Extends `tokens` (place = id; the bytes' tokens are there already) up to `size`, at most 65,536, and returns the merges
 * in order. Stops early when no pair has `minimumCount`.
 */
export function learnMerges(
  words: CountedWords,
  tokens: string[],
  size: number,
  minimumCount: number,
): [string, string][] {
  const idOf = new Map(tokens.map((token, id) => [token, id]))
  const byteIds = Uint32Array.from(BYTE_CHARACTERS, (character) => idOf.get(character)!)
  const { starts, counts } = words
  const symbols = Uint16Array.from(words.bytes, (byte) => byteIds[byte])
  const lengths = Uint32Array.from(counts, (_, word) => starts[word + 1] - starts[word])
  const pairs = new Map<number, Pair>()
  const queue = pairQueue()
  const grown = new Set<Pair>()

  const gain = (left: number, right: number, word: number) => {
    const key = (left << 16) | right
    let pair = pairs.get(key)
    if (pair === undefined) {
      pair = { left, right, count: 0, words: [] }
      pairs.set(key, pair)
    }
    pair.count += counts[word]
    if (pair.words[pair.words.length - 1] !== word) pair.words.push(word)
    grown.add(pair)
  }
  const lose = (left: number, right: number, word: number) => {
    pairs.get((left << 16) | right)!.count -= counts[word]
  }

  /** Merges every occurrence of the pair in one word, from the left. */
  const mergeIn = (word: number, pair: Pair, id: number) => {
    const start = starts[word]
    const end = start + lengths[word]
    let out = start
    for (let i = start; i < end; i++) {
      if (symbols[i] !== pair.left || i + 1 === end || symbols[i + 1] !== pair.right) {
        symbols[out++] = symbols[i]
        continue
      }
      if (out > start) {
        lose(symbols[out - 1], pair.left, word)
        gain(symbols[out - 1], id, word)
      }
      if (i + 2 < end) {
        lose(pair.right, symbols[i + 2], word)
        gain(id, symbols[i + 2], word)
      }
      symbols[out++] = id
      i++
    }
    lengths[word] = out - start
  }

  for (let word = 0; word < counts.length; word++)
    for (let i = starts[word]; i + 1 < starts[word + 1]; i++) gain(symbols[i], symbols[i + 1], word)
  for (const pair of grown) queue.push(pair)
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
    grown.clear()
    for (const word of best.words) mergeIn(word, best, id)
    best.count = 0
    pairs.delete((best.left << 16) | best.right)
    for (const pair of grown) if (pair.count > 0) queue.push(pair)
  }
  return merges
}

/**
 * Pairs by falling count, then by rising ids. A pair is pushed when its count has grown; an entry whose pair has shrunk
 * since goes back with the count of now, one whose pair has grown has a better entry elsewhere.
 */
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
  const push = (pair: Pair) => {
    const entry = { pair, count: pair.count }
    let i = heap.length
    heap.push(entry)
    while (i > 0 && before(entry, heap[(i - 1) >> 1])) {
      heap[i] = heap[(i - 1) >> 1]
      i = (i - 1) >> 1
    }
    heap[i] = entry
  }
  return {
    push,
    pop() {
      while (heap.length > 0) {
        const top = heap[0]
        const last = heap.pop()!
        if (heap.length > 0) sink(last)
        if (top.pair.count === 0 || top.count < top.pair.count) continue
        if (top.count === top.pair.count) return top.pair
        push(top.pair)
      }
      return undefined
    },
  }
}
