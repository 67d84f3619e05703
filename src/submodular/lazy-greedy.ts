/** Greedy maximisation of a monotone submodular function, evaluating a marginal gain only where it may be the largest. */

export interface Order {
  /** Rows in the order in which they are picked. */
  rows: Uint32Array
  /** The gain of each pick, beside `rows`: never increasing. */
  gains: Float64Array
}

export interface LazyOptions {
  /** f({j}) of each row, [n]. */
  gains: Float64Array
  /** Picks; at most n. */
  picks: number
  /** f(S + j) - f(S) now. Must never exceed what it was for a smaller S. */
  gain(row: number): number
  /** Puts the row into S. */
  take(row: number): void
  signal?: AbortSignal
  onProgress?: (picked: number) => void
}

/** Between two of these the event loop turns, progress is told and an abort heard. Milliseconds. */
const TURN = 100

/**
 * Lazy greedy (Minoux, 1978): rows lie in a heap by the last gain known of them, an upper bound of the present one, for gains only shrink. The
 * top one is evaluated again and picked if it is still first. So every pick is that of plain greedy, the lowest row id among equal gains: at
 * least 1 - 1/e of the best value of any set of that size (Nemhauser, Wolsey & Fisher, 1978). A smaller number of picks gives a prefix.
 *
 * Errors: `signal.reason` when aborted.
 */
export async function lazyGreedy({ gains, picks, gain, take, signal, onProgress }: LazyOptions): Promise<Order> {
  signal?.throwIfAborted()
  const n = gains.length
  const bound = gains.slice()
  /** Picks when the bound was computed. */
  const fresh = new Uint32Array(n)
  const heap = Uint32Array.from({ length: n }, (_, row) => row)
  let size = n
  const before = (a: number, b: number) => bound[a] > bound[b] || (bound[a] === bound[b] && a < b)
  const sink = (from: number) => {
    const row = heap[from]
    let hole = from
    for (;;) {
      let child = 2 * hole + 1
      if (child >= size) break
      if (child + 1 < size && before(heap[child + 1], heap[child])) child++
      if (!before(heap[child], row)) break
      heap[hole] = heap[child]
      hole = child
    }
    heap[hole] = row
  }
  for (let i = (n >> 1) - 1; i >= 0; i--) sink(i)
  const order: Order = { rows: new Uint32Array(picks), gains: new Float64Array(picks) }
  let turned = performance.now()
  for (let picked = 0; picked < picks; ) {
    const row = heap[0]
    if (fresh[row] !== picked) {
      bound[row] = gain(row)
      fresh[row] = picked
      sink(0)
    } else {
      order.rows[picked] = row
      order.gains[picked] = bound[row]
      take(row)
      picked++
      heap[0] = heap[--size]
      if (size > 0) sink(0)
    }
    if (performance.now() - turned < TURN) continue
    await new Promise((resolve) => setTimeout(resolve))
    signal?.throwIfAborted()
    onProgress?.(picked)
    turned = performance.now()
  }
  return order
}
