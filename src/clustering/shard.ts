/**
 * One thread's part of k-means: takes blocks of rows by ticket until none is left, and does the command on each. All
 * results are per row or per block, so it does not matter who took which.
 */

import { type WasmMemory, type WasmModule, WebAssembly } from '../webassembly/webassembly.ts'
import { squaredDistance } from './distance.ts'
import type { Kernel } from './kernel.ts'
import { type Layout, scratchWords, type Views, viewsOf } from './layout.ts'
import { downward, FARTHEST, upward } from './rounding.ts'

export interface SharedProblem {
  layout: Layout
  memory: WasmMemory
  module: WasmModule
}

export type Command =
  /** Forget the bounds and, with `clusters`, the assignment. */
  | { do: 'reset'; clusters: boolean }
  /** Renew `assignment`, bounds and `changed`; then, with `sum`, `sums` and `counts`. */
  | { do: 'assign'; sum: boolean }
  /** Renew `sums` and `counts`. */
  | { do: 'sum' }
  /** Renew `squares` (to the own centroid) and `totals` of them. Overwrites the bounds. */
  | { do: 'measure' }
  /** Take centroid `seed` into account in `squares`, `totals` and, as the nearest seed, `assignment`. */
  | { do: 'seed'; seed: number }

/** Sets up this thread's view of the problem. */
export async function attach({ layout, memory, module }: SharedProblem, worker: number) {
  const views = viewsOf(layout, memory.buffer)
  let seed = 0
  const instance = await WebAssembly.instantiate(module, {
    core: {
      memory,
      exact: (row4: number) => searchExactly(layout, views, row4 >>> 2),
      nearer: (row4: number) => renewSquare(layout, views, seed, row4 >>> 2),
    },
  })
  const kernel = instance.exports as Kernel
  const scratch = layout.at.scratch + 4 * scratchWords(layout.groups * layout.slotsPerGroup) * worker
  const { rows, count } = layout.blocks
  return (command: Command): void => {
    if (command.do === 'seed') seed = command.seed
    for (;;) {
      const block = Atomics.add(views.ticket, 0, 1)
      if (block >= count) return
      work(command, layout, views, kernel, scratch, block, block * rows, Math.min(layout.n, (block + 1) * rows))
    }
  }
}

function work(
  command: Command,
  layout: Layout,
  views: Views,
  kernel: Kernel,
  scratch: number,
  block: number,
  first: number,
  last: number,
): void {
  const { k, d, bounds } = layout
  const sum = () => {
    const place = block * k
    views.sums.fill(0, place * d, (place + k) * d)
    views.counts.fill(0, place, place + k)
    kernel.sum(first, last, layout.at.sums + 8 * place * d, layout.at.counts + 4 * place)
  }
  switch (command.do) {
    case 'reset':
      if (command.clusters) views.assignment.fill(0, first, last)
      views.upper.fill(Infinity, first, last)
      views.lower.fill(0, first * bounds, last * bounds)
      break
    case 'assign':
      views.changed[block] = kernel.assign(first, last, scratch)
      if (command.sum) sum()
      break
    case 'sum':
      sum()
      break
    case 'measure':
      views.totals[block] = measure(layout, views, first, last)
      break
    case 'seed':
      views.totals[block] = renewSquares(layout, views, kernel, command.seed, first, last)
      break
  }
}

/** The float64 search over all centroids, for a row that float32 cannot decide. */
function searchExactly({ k, d, bounds }: Layout, views: Views, row: number): void {
  const { points, centroids, assignment, upper, lower, groupOf } = views
  const squares = new Float64Array(k)
  let nearest = 0
  for (let c = 0; c < k; c++) {
    squares[c] = squaredDistance(points, row * d, centroids, c * d, d)
    if (squares[c] < squares[nearest]) nearest = c
  }
  assignment[row] = nearest
  upper[row] = upward(Math.sqrt(squares[nearest]))
  lower.fill(FARTHEST, row * bounds, (row + 1) * bounds)
  for (let c = 0; c < k; c++) {
    if (c === nearest) continue
    const place = row * bounds + groupOf[c]
    lower[place] = Math.min(lower[place], downward(Math.sqrt(squares[c])))
  }
}

function measure({ d }: Layout, { points, centroids, assignment, squares }: Views, first: number, last: number) {
  let total = 0
  for (let row = first; row < last; row++) {
    squares[row] = squaredDistance(points, row * d, centroids, assignment[row] * d, d)
    total += squares[row]
  }
  return total
}

/** The first seed is everyone's nearest; for later ones the kernel says which rows to ask. */
function renewSquares({ d }: Layout, views: Views, kernel: Kernel, seed: number, first: number, last: number): number {
  const { points, centroids, assignment, squares, upper } = views
  if (seed === 0) {
    for (let row = first; row < last; row++) {
      squares[row] = squaredDistance(points, row * d, centroids, 0, d)
      upper[row] = upward(squares[row])
    }
    assignment.fill(0, first, last)
  } else kernel.seed(first, last, seed)
  let total = 0
  for (let row = first; row < last; row++) total += squares[row]
  return total
}

/** Takes `seed` as the row's nearest if float64 says that it is nearer. */
function renewSquare({ d }: Layout, views: Views, seed: number, row: number): void {
  const { points, centroids, assignment, squares, upper } = views
  const square = squaredDistance(points, row * d, centroids, seed * d, d)
  if (!(square < squares[row])) return
  squares[row] = square
  upper[row] = upward(square)
  assignment[row] = seed
}
