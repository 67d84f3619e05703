/**
 * The inner loops of entropic transport as one WebAssembly SIMD module, generated for a problem: its sizes, addresses and
 * epsilon are constants in the code. Rows are candidates j, columns targets i. `tile` is the address of row `first`'s costs or kernel.
 */

import { dotsFunction } from '../similarity/tiles.ts'
import { assemble } from '../webassembly/assembler.ts'
import { columnMostFunction, columnSumsFunction, foldFunction, gatherFunction } from './kernel-columns.ts'
import {
  costsFunction,
  entropiesFunction,
  nearestFunction,
  prepareFunction,
  recallFunction,
  scaleFunction,
  softenFunction,
  sumsFunction,
  sweepFunction,
} from './kernel-rows.ts'
import type { Layout } from './layout.ts'

export interface Kernel {
  /** Products of groups of four rows with packed targets: similarity/tiles.ts. */
  dots(rows: number, groups: number, panels: number, panelCount: number, tile: number, stride: number): number
  /** x -= origin for rows [first, last), and `candidateSquares`. */
  prepare(first: number, last: number): number
  /** Products become costs; `rowMost`, `rowLeast`. */
  costs(first: number, count: number, tile: number): number
  /** Costs of rows `first` on from `source` to `tile`; `rowMost`. */
  recall(first: number, count: number, tile: number, source: number): number
  /** `nearest`: the first column whose cost is the row's least. */
  nearest(first: number, count: number, tile: number): number
  /** Costs become E_ji = exp((base_i - C_ij - rowMost_j) / eps); rowSum_j = sum_i targetScale_i E_ji. */
  soften(first: number, count: number, tile: number): number
  /** Every row times its `rowFactor`. */
  scale(first: number, count: number, tile: number): number
  /** rowSum_j = sum_i targetScale_i K_ji of four rows. */
  sums(first: number, tile: number): number
  /** The same, and with the four rows before it what `gather` does. */
  sweep(first: number, tile: number, sums: number): number
  /** rowSum_j = sum_i targetScale_i K_ji log K_ji. */
  entropies(first: number, count: number, tile: number): number
  /** sums_i += sum_j rowFactor_j K_ji, `sums` at an address. */
  gather(first: number, count: number, tile: number, sums: number): number
  /** float64 totals_i += float32 sums_i; sums_i = 0. */
  fold(sums: number, totals: number): number
  /** Products become exponents rowFactor_j - C_ij / eps of rescued targets; most_i = max over j. `bytes`: of a row. */
  columnMost(first: number, count: number, tile: number, bytes: number, most: number): number
  /** sums_i = sum_j exp(exponent_ij - most_i). */
  columnSums(first: number, count: number, tile: number, bytes: number, most: number, sums: number): number
}

export function kernelModule(layout: Layout, shared: boolean, relaxed: boolean): Uint8Array<ArrayBuffer> {
  const { pages } = layout
  return assemble({
    pages,
    shared,
    imports: [],
    functions: [
      { name: 'dots', parameters: 6, code: dotsFunction(layout.d, relaxed) },
      { name: 'prepare', parameters: 2, code: prepareFunction(layout) },
      { name: 'costs', parameters: 3, code: costsFunction(layout) },
      { name: 'recall', parameters: 4, code: recallFunction(layout) },
      { name: 'nearest', parameters: 3, code: nearestFunction(layout) },
      { name: 'soften', parameters: 3, code: softenFunction(layout, relaxed) },
      { name: 'scale', parameters: 3, code: scaleFunction(layout) },
      { name: 'sums', parameters: 2, code: sumsFunction(layout, relaxed) },
      { name: 'sweep', parameters: 3, code: sweepFunction(layout, relaxed) },
      { name: 'entropies', parameters: 3, code: entropiesFunction(layout, relaxed) },
      { name: 'gather', parameters: 4, code: gatherFunction(layout, relaxed) },
      { name: 'fold', parameters: 2, code: foldFunction(layout) },
      { name: 'columnMost', parameters: 5, code: columnMostFunction(layout) },
      { name: 'columnSums', parameters: 6, code: columnSumsFunction(layout, relaxed) },
    ],
  })
}
