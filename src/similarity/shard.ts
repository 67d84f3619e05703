/**
 * One thread's part of a neighbour search: takes tiles of candidates by ticket, and keeps the k best of each query that it has seen. The best
 * of all threads' best are the same whoever saw which.
 */

import { byTicket } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import type { Kernel } from './kernel.ts'
import { type Layout, viewsOf } from './layout.ts'
import { grouped, PANEL_COLUMNS } from './tiles.ts'

export interface SharedSearch {
  layout: Layout
  memory: WasmMemory
  module: WasmModule
}

/** Rows [0, rows) of `candidates`, which are numbered from `firstRow`. */
export interface Command {
  rows: number
  firstRow: number
}

/** Sets up this thread's view of the search. */
export async function attach({ layout, memory, module }: SharedSearch, worker: number) {
  const { m, d, k, at, columns, tileRows } = layout
  const views = viewsOf(layout, memory.buffer)
  const { rows, similarities, least, keep } = views
  const tile = at.tile + worker * tileRows * columns * 4
  const products = new Float32Array(memory.buffer, tile, tileRows * columns)
  const leastAt = at.least + worker * columns * 4
  /** The row that is being offered, and where its products start. */
  let [row, rowStart] = [0, 0]

  /** Whether the kept neighbour at place a comes after (similarity, id). */
  const worse = (a: number, similarity: number, id: number) =>
    similarities[a] < similarity || (similarities[a] === similarity && rows[a] > id)

  /** Puts the row in place of the query's worst and lets it sink: a heap by "worse". */
  const offer = (offset: number) => {
    const query = offset >>> 2
    const similarity = products[rowStart + query]
    const base = (worker * m + query) * k
    if (!worse(base, similarity, row)) return
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= k) break
      if (child + 1 < k && worse(base + child + 1, similarities[base + child], rows[base + child])) child++
      if (!worse(base + child, similarity, row)) break
      similarities[base + hole] = similarities[base + child]
      rows[base + hole] = rows[base + child]
      hole = child
    }
    similarities[base + hole] = similarity
    rows[base + hole] = row
    least[worker * columns + query] = similarities[base]
  }

  const { exports } = await WebAssembly.instantiate(module, { core: { memory, offer } })
  const kernel = exports as Kernel
  return byTicket<Command>(views.ticket, (command, block) => {
    const first = block * tileRows
    const count = Math.min(tileRows, command.rows - first)
    kernel.dots(
      at.candidates + 4 * first * d,
      grouped(count) / 4,
      at.panels,
      columns / PANEL_COLUMNS,
      tile,
      4 * columns,
    )
    for (let r = 0; r < count; r++) {
      if (keep[first + r] === 0) continue
      row = command.firstRow + first + r
      rowStart = r * columns
      kernel.offer(tile + 4 * rowStart, leastAt)
    }
  })
}
