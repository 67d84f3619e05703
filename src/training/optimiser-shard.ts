/** One thread's part of an optimiser step: takes blocks by ticket until none is left. Blocks are independent: who took which changes nothing. */

import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import type { AdamWKernel } from './adamw-kernel.ts'

/** Addresses and size of a stretch of one parameter, in bytes, in one of the memories. */
export interface Block {
  bank: number
  parameters: number
  gradients: number
  first: number
  second: number
  bytes: number
  /** Address of the scalars to use. */
  scalars: number
  /** Address of its two partial sums of squares. */
  sums: number
}

export interface SharedState {
  banks: { memory: WasmMemory; module: WasmModule }[]
  blocks: Block[]
  /** One 32-bit counter. */
  ticket: ArrayBuffer | SharedArrayBuffer
}

export type Command = 'update' | 'squares'

/** Sets up this thread's view of the state. */
export async function attach({ banks, blocks, ticket }: SharedState) {
  const kernels = await Promise.all(
    banks.map(async ({ memory, module }) => {
      const { exports } = await WebAssembly.instantiate(module, { core: { memory } })
      return exports as AdamWKernel
    }),
  )
  const counter = new Int32Array(ticket)
  return (command: Command): void => {
    for (;;) {
      const block = blocks[Atomics.add(counter, 0, 1)]
      if (block === undefined) return
      const kernel = kernels[block.bank]
      if (command === 'squares') kernel.squares(block.gradients, block.bytes, block.sums)
      else kernel.update(block.parameters, block.gradients, block.first, block.second, block.bytes, block.scalars)
    }
  }
}
