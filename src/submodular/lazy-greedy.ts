/** Greedy maximisation of a monotone submodular function, evaluating a marginal gain only where it may be the largest. */

import { rowHeap } from './heap.ts'

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
  const before = (a: number, b: number) => bound[a] > bound[b] || (bound[a] === bound[b] && a < b)
  const heap = rowHeap(n, before)
  for (let i = (n >> 1) - 1; i >= 0; i--) heap.sink(i)
  const order: Order = { rows: new Uint32Array(picks), gains: new Float64Array(picks) }
  let turned = performance.now()
  for (let picked = 0; picked < picks; ) {
    const row = heap.rows[0]
    if (fresh[row] !== picked) {
      bound[row] = gain(row)
      fresh[row] = picked
      heap.sink(0)
    } else {
      order.rows[picked] = row
      order.gains[picked] = bound[row]
      take(row)
      picked++
      heap.remove(0)
    }
    if (performance.now() - turned < TURN) continue
    await new Promise((resolve) => setTimeout(resolve))
    signal?.throwIfAborted()
    onProgress?.(picked)
    turned = performance.now()
  }
  return order
}
