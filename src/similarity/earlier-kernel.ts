/** Memory and inner loops of the search for the nearest earlier row, generated for a problem. */

import { assemble } from '../webassembly/assembler.ts'
import { type Places, placeRegions, type ViewsOf, viewRegions } from '../webassembly/regions.ts'
import { fixedLanes } from './fixed-point.ts'
import { fixedDotsFunction, greatestFunction } from './fixed-tiles.ts'
import { TILE } from './graph-kernel.ts'

export interface EarlierSizes {
  /** The most rows of a group. */
  n: number
  d: number
  threads: number
}

export interface EarlierLayout extends EarlierSizes {
  /** n in whole tiles. */
  padded: number
  at: Places<EarlierRegions>
  pages: number
}

type EarlierRegions = ReturnType<typeof regionsOf>

function regionsOf({ d, threads, padded }: Omit<EarlierLayout, 'at' | 'pages'>) {
  return {
    ticket: [Int32Array, 1],
    panels: [Int32Array, fixedLanes(padded, d)],
    nearest: [Uint32Array, padded],
    similarity: [Int32Array, padded],
    tile: [Int32Array, threads * TILE * TILE],
  } as const
}

export function earlierLayoutOf(sizes: EarlierSizes): EarlierLayout {
  const plan = { ...sizes, padded: TILE * Math.ceil(sizes.n / TILE) }
  return { ...plan, ...placeRegions(regionsOf(plan)) }
}

export function viewsOfEarlier(layout: EarlierLayout, buffer: ArrayBufferLike): ViewsOf<EarlierRegions> {
  return viewRegions(regionsOf(layout), layout.at, buffer)
}

export interface EarlierKernel {
  dots(rows: number, rowPanels: number, panels: number, panelCount: number, tile: number, stride: number): number
  /** The greatest of the `bytes` / 4 products at `row`. */
  greatest(row: number, bytes: number): number
}

export function earlierModule({ d, pages }: EarlierLayout, shared: boolean): Uint8Array<ArrayBuffer> {
  return assemble({
    pages,
    shared,
    imports: [],
    functions: [
      { name: 'dots', parameters: 6, code: fixedDotsFunction(d) },
      { name: 'greatest', parameters: 2, code: greatestFunction() },
    ],
  })
}
