/** k-center by farthest-first: rows picked so that no row is far from the nearest pick. */

import { FIXED_ONE, fixedComponent, fixedLanes, fixedPlace, packFixed, pairsOf } from '../similarity/fixed-point.ts'
import { fixedNearestFunction, NEAREST_COLUMNS, panelBytes } from '../similarity/fixed-tiles.ts'
import { PANEL_COLUMNS } from '../similarity/tiles.ts'
import { checkFinite, checkShape } from '../similarity/validation.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { assemble } from '../webassembly/assembler.ts'
import { allocateMemory, placeRegions, viewRegions } from '../webassembly/regions.ts'
import { WebAssembly } from '../webassembly/webassembly.ts'
import { rowHeap } from './heap.ts'

export interface CenterOptions {
  /** The first pick. Default: the row nearest the mean of all. */
  start?: number
  /** Picks, at most. Default: all rows. */
  picks?: number
  /** Asked after every pick: whether that is enough. */
  enough?: (row: number) => boolean
  signal?: AbortSignal
  onProgress?: (picked: number) => void
}

export interface Centers {
  /** Rows in the order in which they are picked. */
  rows: Uint32Array
  /** Euclidean distance of each, on the unit sphere, to the nearest pick before it: never increasing. NaN of the first. */
  distances: Float64Array
}

/** Between two of these the event loop turns, progress is told and an abort heard. Milliseconds. */
const TURN = 100

/**
 * Greedy k-center (Gonzalez, 1985; Sener & Savarese, ICLR 2018, algorithm 1): each pick is the row farthest from its nearest earlier pick, the
 * lowest row id among equals. After any number of picks the largest distance of a row to its nearest pick is at most twice the smallest
 * possible one. A smaller number of picks gives a prefix.
 *
 * Distances are Euclidean on the unit sphere, sqrt(2 - 2 cos), of vectors in fixed point (fixed-point.ts): the same order on any machine; below
 * some 0.02 they are rounding. A
 * row's distance is brought up to date only when the row may be the farthest: at most n picks d multiply-adds, and often far fewer. One thread.
 * Memory: 2 d (n + picks) bytes.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite` or `memory`; `signal.reason` when aborted.
 */
export async function centerOrder(vectors: Vectors, options: CenterOptions = {}): Promise<Centers> {
  const { enough, signal, onProgress } = options
  checkShape(vectors, 'rows')
  checkFinite(vectors.data, vectors.d, 'rows')
  signal?.throwIfAborted()
  const { n, d } = vectors
  const picks = Math.min(n, options.picks ?? n)
  const capacity = NEAREST_COLUMNS * Math.ceil(picks / NEAREST_COLUMNS)
  const regions = {
    rows: [Int32Array, fixedLanes(n, d)],
    centers: [Int32Array, fixedLanes(capacity, d)],
  } as const
  const { at, pages } = placeRegions(regions)
  const memory = allocateMemory(pages, false, `${n} rows and ${picks} centres`, 'Use fewer rows.')
  const views = viewRegions(regions, at, memory.buffer)
  packFixed(vectors, views.rows)
  const code = { name: 'nearest', parameters: 3, code: fixedNearestFunction(d) }
  const module = await WebAssembly.compile(assemble({ pages, shared: false, imports: [], functions: [code] }))
  const { nearest } = (await WebAssembly.instantiate(module, { core: { memory } })).exports as {
    nearest(row: number, panels: number, blocks: number): number
  }

  const similarity = new Int32Array(n).fill(-(2 ** 31))
  /** Centres that `similarity` knows of. */
  const seen = new Uint32Array(n)
  const block = NEAREST_COLUMNS * pairsOf(d)
  let picked = 0
  const renew = (row: number) => {
    const from = Math.floor(seen[row] / NEAREST_COLUMNS)
    const blocks = Math.ceil(picked / NEAREST_COLUMNS) - from
    const start = at.centers + from * (NEAREST_COLUMNS / PANEL_COLUMNS) * panelBytes(d)
    const value = nearest(at.rows + 4 * fixedPlace(row, d), start, blocks)
    if (value > similarity[row]) similarity[row] = value
    seen[row] = picked
  }
  const take = (row: number) => {
    // A new block is filled with its first centre: columns without a centre of their own repeat one, and change no maximum.
    const lanes = picked % NEAREST_COLUMNS === 0 ? NEAREST_COLUMNS : 1
    for (let lane = 0; lane < lanes; lane++) {
      let [from, to] = [fixedPlace(row, d), fixedPlace(picked + lane, d)]
      for (let j = 0; j < block; j += NEAREST_COLUMNS) {
        views.centers[to] = views.rows[from]
        from += PANEL_COLUMNS
        to += PANEL_COLUMNS
      }
    }
    picked++
  }

  const before = (a: number, b: number) => similarity[a] < similarity[b] || (similarity[a] === similarity[b] && a < b)
  const heap = rowHeap(n, before)
  const rows: number[] = []
  const distances: number[] = []
  const start = options.start ?? nearestMean(views.rows, n, d)
  let turned = performance.now()
  for (let place = start; rows.length < picks; place = 0) {
    const row = heap.rows[place]
    // Of the first pick there is nothing to be up to date with.
    if (seen[row] !== picked) {
      renew(row)
      heap.sink(0)
    } else {
      distances.push(picked === 0 ? Number.NaN : Math.sqrt(Math.max(0, 2 - (2 * similarity[row]) / FIXED_ONE)))
      rows.push(row)
      take(row)
      heap.remove(place)
      if (enough?.(row)) break
    }
    if (performance.now() - turned < TURN) continue
    await new Promise((resolve) => setTimeout(resolve))
    signal?.throwIfAborted()
    onProgress?.(rows.length)
    turned = performance.now()
  }
  return { rows: Uint32Array.from(rows), distances: Float64Array.from(distances) }
}

/** The row with the greatest product with the sum of all, the lowest id among equals: exact integers below 2^53. */
function nearestMean(rows: Int32Array, n: number, d: number): number {
  const sum = new Float64Array(d)
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) sum[j] += fixedComponent(rows, d, i, j)
  let [best, most] = [0, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < n; i++) {
    let product = 0
    for (let j = 0; j < d; j++) product += sum[j] * fixedComponent(rows, d, i, j)
    if (product > most) [best, most] = [i, product]
  }
  return best
}
