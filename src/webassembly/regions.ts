/** Arrays that lie side by side in one WebAssembly memory, so that a kernel and every thread see the same ones. */

import { WinnowError } from '../errors.ts'
import { type WasmMemory, WebAssembly } from './webassembly.ts'

type Elements =
  | typeof Float32Array
  | typeof Float64Array
  | typeof Uint32Array
  | typeof Int32Array
  | typeof Uint8Array
  | typeof BigInt64Array

/** Name: type and count of its elements. */
export type Regions = Record<string, readonly [Elements, number]>
/** Byte offset of each. */
export type Places<R extends Regions> = { [Name in keyof R]: number }
export type ViewsOf<R extends Regions> = { [Name in keyof R]: InstanceType<R[Name][0]> }

export const PAGE_BYTES = 65536
/** Pages of the largest memory of 32-bit addresses. */
const MOST_PAGES = 65536
const LINE = 64

/** Places regions on cache lines, in order, behind an unused first line; `pages` leaves a vector's room at the end. */
export function placeRegions<R extends Regions>(regions: R): { at: Places<R>; pages: number } {
  const at = {} as Record<string, number>
  let end = LINE
  for (const [name, [type, count]] of Object.entries(regions)) {
    at[name] = end
    end += LINE * Math.ceil((count * type.BYTES_PER_ELEMENT) / LINE)
  }
  return { at: at as Places<R>, pages: Math.ceil((end + LINE) / PAGE_BYTES) }
}

type Viewer = new (buffer: ArrayBufferLike, offset: number, count: number) => object

export function viewRegions<R extends Regions>(regions: R, at: Places<R>, buffer: ArrayBufferLike): ViewsOf<R> {
  const views = Object.entries(regions).map(([name, [type, count]]) => [
    name,
    new (type as Viewer)(buffer, at[name], count),
  ])
  return Object.fromEntries(views)
}

/** A memory of that many pages. `what` (a plural noun phrase) and `hint` go into the error when there is none to be had. */
export function allocateMemory(pages: number, shared: boolean, what: string, hint: string): WasmMemory {
  try {
    if (pages > MOST_PAGES) throw new RangeError(`${pages} pages`)
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
  } catch (cause) {
    throw new WinnowError(
      'failure',
      {
        code: 'memory',
        message: `${what} cannot get their memory`,
        found: `${Math.ceil(pages / 16)} MiB needed`,
        expected: 'at most 4096 MiB, and as much free',
        hint,
      },
      { cause },
    )
  }
}
