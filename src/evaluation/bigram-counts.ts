/** Counts of bigrams in typed memory: an open-addressing table while counting, then rows sorted by context and token. */

export interface BigramCounts {
  /** [V + 1]: the bigrams of context v are offsets[v] … offsets[v + 1]. */
  offsets: Uint32Array
  /** Second tokens, ascending inside a context, [bigrams]. */
  tokens: Uint32Array
  /** How often, [bigrams]. */
  counts: Uint32Array
  /** Sum of all counts. */
  total: number
}

export interface BigramCounter {
  add(context: number, token: number): void
  finish(): BigramCounts
}

/**
 * A counter for tokens below `vocabularySize` (at most 2^26, so that a pair fits in 53 bits). 12 bytes a slot, at most
 * 70 % of the slots in use; grows by doubling.
 */
export function bigramCounter(vocabularySize: number): BigramCounter {
  if (!(vocabularySize >= 1 && vocabularySize <= 2 ** 26))
    throw new RangeError(`vocabulary size ${vocabularySize} is not in [1, 2^26]`)
  let mask = (1 << 16) - 1
  // 0 is an empty slot, so a key is one more than its pair.
  let keys = new Float64Array(mask + 1)
  let counts = new Uint32Array(mask + 1)
  let used = 0
  let total = 0

  const slotOf = (key: number, context: number, token: number): number => {
    const hash = Math.imul(context, 0x9e3779b1) ^ Math.imul(token + 1, 0x85ebca6b)
    let slot = (hash ^ (hash >>> 15)) & mask
    while (keys[slot] !== 0 && keys[slot] !== key) slot = (slot + 1) & mask
    return slot
  }
  const grow = () => {
    const [oldKeys, oldCounts] = [keys, counts]
    mask = mask * 2 + 1
    keys = new Float64Array(mask + 1)
    counts = new Uint32Array(mask + 1)
    for (let old = 0; old < oldKeys.length; old++) {
      if (oldKeys[old] === 0) continue
      const pair = oldKeys[old] - 1
      const token = pair % vocabularySize
      const slot = slotOf(oldKeys[old], (pair - token) / vocabularySize, token)
      keys[slot] = oldKeys[old]
      counts[slot] = oldCounts[old]
    }
  }

  return {
    add: (context, token) => {
      if (context >= vocabularySize || token >= vocabularySize)
        throw new RangeError(`token ${Math.max(context, token)} is outside a vocabulary of ${vocabularySize}`)
      const key = context * vocabularySize + token + 1
      const slot = slotOf(key, context, token)
      if (keys[slot] === 0) {
        keys[slot] = key
        used++
      }
      counts[slot]++
      total++
      if (used > 0.7 * mask) grow()
    },
    finish: () => {
      const pairs = new Float64Array(used)
      for (let slot = 0, at = 0; slot <= mask; slot++) if (keys[slot] !== 0) pairs[at++] = keys[slot]
      pairs.sort()
      const offsets = new Uint32Array(vocabularySize + 1)
      const tokens = new Uint32Array(used)
      const sorted = new Uint32Array(used)
      pairs.forEach((key, at) => {
        const token = (key - 1) % vocabularySize
        const context = (key - 1 - token) / vocabularySize
        offsets[context + 1]++
        tokens[at] = token
        sorted[at] = counts[slotOf(key, context, token)]
      })
      for (let context = 0; context < vocabularySize; context++) offsets[context + 1] += offsets[context]
      return { offsets, tokens, counts: sorted, total }
    },
  }
}
