/**
 * Byte-pair encoding of one pre-token (Sennrich et al., 2016): while any neighbouring pair has a merge, the pair of the
 * lowest rank is merged, the leftmost first. Equal to the `tokenizers` package's BPE model without dropout.
 */

/** Merges as an open-addressing hash table from a pair of ids to rank and merged id. */
export interface Merges {
  /** Rank of the pair's merge, or -1. */
  rank(left: number, right: number): number
  /** Id that the merge of this rank makes, [merges]. */
  readonly made: Uint32Array
}

/** Merge table: `left[r]`, `right[r]` become `made[r]`; of a pair listed twice the later rank counts. */
export function mergeTable(left: Uint32Array, right: Uint32Array, made: Uint32Array): Merges {
  let size = 16
  while (size < 2 * left.length) size *= 2
  const mask = size - 1
  const slots = new Int32Array(size).fill(-1)
  const find = (a: number, b: number): number => {
    let slot = (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77)) >>> 0
    slot = (slot ^ (slot >>> 15)) & mask
    while (slots[slot] !== -1 && (left[slots[slot]] !== a || right[slots[slot]] !== b)) slot = (slot + 1) & mask
    return slot
  }
  for (let rank = 0; rank < left.length; rank++) slots[find(left[rank], right[rank])] = rank
  return { made, rank: (a, b) => slots[find(a, b)] }
}

/** Above this many symbols a heap of candidate pairs beats rescanning the whole word. */
const LONG_WORD = 48

/**
 * Merges `symbols[0..length)` in place as far as the table goes; returns the new length.
 * O(length^2) for short words, O(length log length) for long ones.
 */
export function applyMerges(symbols: Uint32Array, length: number, merges: Merges): number {
  if (length > LONG_WORD) return applyMergesByHeap(symbols, length, merges)
  let count = length
  while (count > 1) {
    let best = -1
    let at = 0
    for (let i = 0; i + 1 < count; i++) {
      const rank = merges.rank(symbols[i], symbols[i + 1])
      if (rank !== -1 && (best === -1 || rank < best)) {
        best = rank
        at = i
      }
    }
    if (best === -1) break
    symbols[at] = merges.made[best]
    symbols.copyWithin(at + 1, at + 2, count)
    count--
  }
  return count
}

function applyMergesByHeap(symbols: Uint32Array, length: number, merges: Merges): number {
  const next = new Int32Array(length)
  const previous = new Int32Array(length)
  for (let i = 0; i < length; i++) {
    next[i] = i + 1 < length ? i + 1 : -1
    previous[i] = i - 1
  }
  // Each merge adds at most two candidates, so 3 * length bounds the heap. Order: rank, then position.
  const ranks = new Int32Array(3 * length)
  const places = new Int32Array(3 * length)
  let size = 0
  const push = (place: number) => {
    const rank = merges.rank(symbols[place], symbols[next[place]])
    if (rank === -1) return
    let i = size++
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (ranks[parent] < rank || (ranks[parent] === rank && places[parent] <= place)) break
      ranks[i] = ranks[parent]
      places[i] = places[parent]
      i = parent
    }
    ranks[i] = rank
    places[i] = place
  }
  const dropTop = () => {
    const rank = ranks[--size]
    const place = places[size]
    let i = 0
    for (let child = 1; child < size; child = 2 * i + 1) {
      const right = child + 1
      if (
        right < size &&
        (ranks[right] < ranks[child] || (ranks[right] === ranks[child] && places[right] < places[child]))
      )
        child = right
      if (rank < ranks[child] || (rank === ranks[child] && place <= places[child])) break
      ranks[i] = ranks[child]
      places[i] = places[child]
      i = child
    }
    ranks[i] = rank
    places[i] = place
  }
  for (let i = 0; i + 1 < length; i++) push(i)
  const gone = new Uint8Array(length)
  while (size > 0) {
    const rank = ranks[0]
    const place = places[0]
    dropTop()
    const right = next[place]
    // A candidate is stale when one of its symbols has been merged since.
    if (gone[place] === 1 || right === -1 || merges.rank(symbols[place], symbols[right]) !== rank) continue
    symbols[place] = merges.made[rank]
    gone[right] = 1
    next[place] = next[right]
    if (next[place] !== -1) {
      previous[next[place]] = place
      push(place)
    }
    if (previous[place] !== -1) push(previous[place])
  }
  let count = 0
  for (let i = 0; i !== -1; i = next[i]) symbols[count++] = symbols[i]
  return count
}
