/** One thread's part of the search for the nearest earlier row: takes tiles of rows by ticket; they do not depend on each other. */

import { byTicket } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { type EarlierKernel, type EarlierLayout, viewsOfEarlier } from './earlier-kernel.ts'
import { panelBytes } from './fixed-tiles.ts'
import { TILE, TILE_PANELS } from './graph-kernel.ts'
import { NO_ROW } from './neighbours.ts'

export interface SharedEarlier {
  layout: EarlierLayout
  memory: WasmMemory
  module: WasmModule
}

/** The first `rows` rows of the memory. */
export interface Command {
  rows: number
}

export async function attach({ layout, memory, module }: SharedEarlier, worker: number) {
  const { d, at } = layout
  const { ticket, nearest, similarity } = viewsOfEarlier(layout, memory.buffer)
  const tileAt = at.tile + 4 * worker * TILE * TILE
  const tile = new Int32Array(memory.buffer, tileAt, TILE * TILE)
  const tileBytes = TILE_PANELS * panelBytes(d)
  const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
  const kernel = exports as EarlierKernel

  const keep = (row: number, product: number, column: number) => {
    if (nearest[row] !== NO_ROW && product <= similarity[row]) return
    nearest[row] = column
    similarity[row] = product
  }
  return byTicket<Command>(ticket, ({ rows }, block) => {
    // The last tiles have the most rows before them: they go first.
    const I = Math.ceil(rows / TILE) - 1 - block
    const count = Math.min(TILE, rows - I * TILE)
    nearest.fill(NO_ROW, I * TILE, I * TILE + count)
    for (let J = 0; J <= I; J++) {
      kernel.dots(at.panels + I * tileBytes, TILE_PANELS, at.panels + J * tileBytes, TILE_PANELS, tileAt, 4 * TILE)
      for (let r = 0; r < count; r++) {
        const start = r * TILE
        if (I === J) {
          for (let c = 0; c < r; c++) keep(I * TILE + r, tile[start + c], J * TILE + c)
          continue
        }
        const most = kernel.greatest(tileAt + 4 * start, 4 * TILE)
        // The first of several equal ones: columns come in order.
        const row = I * TILE + r
        if (nearest[row] === NO_ROW || most > similarity[row])
          keep(row, most, J * TILE + tile.subarray(start, start + TILE).indexOf(most))
      }
    }
  })
}
