/** A binary heap of all rows, ordered by a bound that changes from outside: what both greedy orders take their next row from. */

export interface RowHeap {
  /** The heap: `rows[0]` comes before all others. */
  readonly rows: Uint32Array
  /** Lets the row at this place sink to where its bound belongs; O(log n). */
  sink(place: number): void
  /** Takes the row at this place out. */
  remove(place: number): void
}

/** Rows 0 … n-1 in their order, which the caller makes a heap of by `sink` where their bounds differ. `before` must tell any two rows apart. */
export function rowHeap(n: number, before: (a: number, b: number) => boolean): RowHeap {
  const rows = Uint32Array.from({ length: n }, (_, row) => row)
  let size = n
  const sink = (place: number) => {
    const row = rows[place]
    let hole = place
    for (;;) {
      let child = 2 * hole + 1
      if (child >= size) break
      if (child + 1 < size && before(rows[child + 1], rows[child])) child++
      if (!before(rows[child], row)) break
      rows[hole] = rows[child]
      hole = child
    }
    rows[hole] = row
  }
  return {
    rows,
    sink,
    remove(place) {
      rows[place] = rows[--size]
      if (size > 0) sink(place)
    },
  }
}
