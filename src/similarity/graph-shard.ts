/**
 * One thread's part of a neighbour graph: takes tiles of the lower triangle by ticket; each product counts for its row and for its column. The
 * k best keys of all threads' k best are the same whoever saw which.
 */

import { byTicket } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { panelBytes } from './fixed-tiles.ts'
import { type GraphKernel, type GraphLayout, TILE, TILE_PANELS, viewsOfGraph } from './graph-kernel.ts'
import { triangleTile } from './triangle.ts'

export interface SharedGraph {
  layout: GraphLayout
  memory: WasmMemory
  module: WasmModule
}

/** Tiles from `first` on. */
export interface Command {
  first: number
}

/** A neighbour as one number: the better the greater, the lower row first among equals. Products below 2^29, rows below 2^24. */
const ROWS = 2 ** 24
export const keyOf = (product: number, row: number): number => product * ROWS + (ROWS - 1 - row)
export const rowOfKey = (key: number): number => ROWS - 1 - (key % ROWS)
export const productOfKey = (key: number): number => Math.floor(key / ROWS)
export const MOST_ROWS = ROWS

/** Sets up this thread's view of the graph. */
export async function attach({ layout, memory, module }: SharedGraph, worker: number) {
  const { n, d, k, at } = layout
  const { ticket, least, self, keys } = viewsOfGraph(layout, memory.buffer)
  const tileAt = at.tile + 4 * worker * TILE * TILE
  const tile = new Int32Array(memory.buffer, tileAt, TILE * TILE)
  const tileBytes = TILE_PANELS * panelBytes(d)
  /** The row whose products are scanned, where they start in the tile, and the row of the pool that its first column is. */
  let [row, rowStart, firstColumn] = [0, 0, 0]

  /** Puts the key in place of the row's worst and lets it sink. */
  const keep = (of: number, key: number) => {
    const base = (worker * n + of) * k
    if (key <= keys[base]) return
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= k) break
      if (child + 1 < k && keys[base + child + 1] < keys[base + child]) child++
      if (keys[base + child] >= key) break
      keys[base + hole] = keys[base + child]
      hole = child
    }
    keys[base + hole] = key
    const worst = productOfKey(keys[base])
    if (worst > least[of]) least[of] = worst
  }

  const offer = (offset: number) => {
    const column = firstColumn + (offset >>> 2)
    // On the diagonal each pair stands twice, and each row beside itself.
    if (column >= row) return
    const product = tile[rowStart + (offset >>> 2)]
    if (product >= least[row]) keep(row, keyOf(product, column))
    if (product >= least[column]) keep(column, keyOf(product, row))
  }

  const { exports } = await WebAssembly.instantiate(module, { core: { memory, offer } })
  const kernel = exports as GraphKernel
  return byTicket<Command>(ticket, ({ first }, block) => {
    const { row: I, column: J } = triangleTile(first + block)
    kernel.dots(at.panels + I * tileBytes, TILE_PANELS, at.panels + J * tileBytes, TILE_PANELS, tileAt, 4 * TILE)
    const count = Math.min(TILE, n - I * TILE)
    firstColumn = J * TILE
    for (let r = 0; r < count; r++) {
      row = I * TILE + r
      rowStart = r * TILE
      if (I === J) self[row] = tile[rowStart + r]
      const columns = I === J ? r : TILE
      kernel.scan(tileAt + 4 * rowStart, at.least + 4 * firstColumn, least[row], 4 * columns)
    }
  })
}
