/** One thread's part of the dense problem: tiles of the matrix by ticket, or gains of rows. */

import { panelBytes } from '../similarity/fixed-tiles.ts'
import { TILE, TILE_PANELS } from '../similarity/graph-kernel.ts'
import { triangleTile } from '../similarity/triangle.ts'
import { byTicket } from '../webassembly/team.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { type DenseKernel, type DenseLayout, viewsOfDense } from './dense-kernel.ts'

export interface SharedDense {
  layout: DenseLayout
  memory: WasmMemory
  module: WasmModule
}

/** Tiles from `first` on. */
export interface Command {
  first: number
}

/** The kernel as a thread uses it. */
export async function openKernel({ layout, memory, module }: SharedDense, worker: number) {
  const { at, padded } = layout
  const { sums } = viewsOfDense(layout, memory.buffer)
  const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
  const kernel = exports as DenseKernel
  const own = sums.subarray(4 * worker, 4 * worker + 4)
  const rowAt = (row: number) => at.similarity + 4 * padded * row
  return {
    kernel,
    gain: (row: number): number => {
      kernel.gain(rowAt(row), at.sums + 16 * worker)
      return own[0] + own[2] + 2 ** 32 * (own[1] + own[3])
    },
    take: (row: number) => kernel.take(rowAt(row)),
  }
}

export async function attach(shared: SharedDense, worker: number) {
  const { layout, memory } = shared
  const { d, at, padded } = layout
  const { ticket, similarity } = viewsOfDense(layout, memory.buffer)
  const { kernel } = await openKernel(shared, worker)
  const tileBytes = TILE_PANELS * panelBytes(d)
  return byTicket<Command>(ticket, ({ first }, block) => {
    const { row: I, column: J } = triangleTile(first + block)
    const from = padded * TILE * I + TILE * J
    kernel.dots(
      at.panels + I * tileBytes,
      TILE_PANELS,
      at.panels + J * tileBytes,
      TILE_PANELS,
      at.similarity + 4 * from,
      4 * padded,
    )
    if (I === J) return
    const to = padded * TILE * J + TILE * I
    for (let c = 0; c < TILE; c++) {
      const start = to + padded * c
      for (let r = 0, place = from + c; r < TILE; r++, place += padded) similarity[start + r] = similarity[place]
    }
  })
}
