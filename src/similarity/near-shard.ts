/** One thread's part of the near-duplicate filter: takes tiles of the block's rows by ticket; rows do not depend on each other here. */

import { byTicket } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { BLOCK_ROWS, type NearKernel, type NearLayout, SLAB_COLUMNS, TILE_ROWS, viewsOfNear } from './near-kernel.ts'
import { NO_ROW } from './neighbours.ts'
import { grouped, PANEL_COLUMNS } from './tiles.ts'

export interface SharedFilter {
  layout: NearLayout
  memory: WasmMemory
  module: WasmModule
}

/** Compare rows [0, rows) of the block with the first `kept` kept rows, and with each other. */
export interface Command {
  rows: number
  kept: number
}

/** Sets up this thread's view of the filter. */
export async function attach({ layout, memory, module }: SharedFilter, worker: number) {
  const { at, d } = layout
  const { ticket, found } = viewsOfNear(layout, memory.buffer)
  const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
  const kernel = exports as NearKernel
  const stride = 4 * SLAB_COLUMNS
  const tile = at.tile + worker * TILE_ROWS * stride
  return byTicket<Command>(ticket, ({ rows, kept }, block) => {
    const first = block * TILE_ROWS
    const count = Math.min(TILE_ROWS, rows - first)
    const groups = grouped(count) / 4
    const start = at.block + 4 * first * d
    found.fill(NO_ROW, first, first + count)
    let open = count
    for (let slab = 0; slab < kept && open > 0; slab += SLAB_COLUMNS) {
      const columns = Math.min(SLAB_COLUMNS, kept - slab)
      const panels = Math.ceil(columns / PANEL_COLUMNS)
      kernel.dots(start, groups, at.panels + 4 * slab * d, panels, tile, stride)
      for (let r = 0; r < count; r++) {
        if (found[first + r] !== NO_ROW) continue
        // Columns of the last panel beyond the kept rows are still zeros, which reach no threshold.
        const column = kernel.firstNear(tile + r * stride, 32 * panels)
        if (column >= columns) continue
        found[first + r] = slab + column
        open--
      }
    }
    // With itself and those before; a tile's later rows come along.
    const panels = grouped(first + count) / PANEL_COLUMNS
    kernel.dots(start, groups, at.blockPanels, Math.ceil(panels), at.products + 4 * first * BLOCK_ROWS, 4 * BLOCK_ROWS)
  })
}
