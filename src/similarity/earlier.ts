/** For rows in order of preference, the nearest of those before each: what a semantic duplicate is told by. */

import type { Parallel } from '../parallel/parallel.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { openTeam } from '../webassembly/team.ts'
import { WebAssembly } from '../webassembly/webassembly.ts'
import { earlierLayoutOf, earlierModule, viewsOfEarlier } from './earlier-kernel.ts'
import { attach, type Command, type SharedEarlier } from './earlier-shard.ts'
import { FIXED_ONE, fixedPlace, packFixed, pairsOf } from './fixed-point.ts'
import { TILE } from './graph-kernel.ts'
import { PANEL_COLUMNS } from './tiles.ts'
import { checkFinite, checkShape } from './validation.ts'
import type { Vectors } from './vectors.ts'

export interface EarlierSearch extends AsyncDisposable {
  /** One group of rows, best first; at most as many as the search was opened for. */
  of(rows: Vectors): Promise<Earlier>
}

export interface Earlier {
  /** [n]: the earlier row with the greatest cosine, the first among equals; NO_ROW for row 0. */
  nearest: Uint32Array
  /** [n]: that cosine, exactly 1 of equal vectors and never more; NaN for row 0. */
  similarity: Float64Array
}

export interface EarlierOptions {
  /** The most rows of a group. */
  rows: number
  dimensions: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
}

/** Multiply-adds that this thread has done before another has heard of them. */
const WORTH_MESSAGE = 2 ** 22

/**
 * Opens a search for groups of rows, one after another. Cosines are those of fixed-point.ts, exact: the same rows and bits on any number of
 * threads of any machine. n^2 d / 2 multiply-adds a group; memory: 2 n d bytes for the largest one.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite` or `memory`.
 */
export async function openEarlier({ rows, dimensions, parallel }: EarlierOptions): Promise<EarlierSearch> {
  const threads = parallel?.threads ?? 1
  const shared = threads > 1
  const layout = earlierLayoutOf({ n: rows, d: dimensions, threads })
  const memory = allocateMemory(layout.pages, shared, `groups of ${rows} rows`, 'Use smaller groups.')
  const search: SharedEarlier = { layout, memory, module: await WebAssembly.compile(earlierModule(layout, shared)) }
  const views = viewsOfEarlier(layout, memory.buffer)
  const handle = await attach(search, 0)
  const url = new URL(`./earlier-shard${import.meta.url.slice(-3)}`, import.meta.url).href
  const team = openTeam<Command>(shared ? parallel : undefined, url, search, views.ticket, handle)
  return {
    async of(group) {
      checkShape(group, 'rows')
      checkFinite(group.data, group.d, 'rows')
      const { n, d } = group
      if (n > rows || d !== dimensions)
        throw new RangeError(`[${n}, ${d}] in a search for groups of at most ${rows} rows of ${dimensions}`)
      packFixed(group, views.panels)
      await team.run({ rows: n }, Math.ceil(n / TILE), n * n * d < WORTH_MESSAGE)
      const nearest = views.nearest.slice(0, n)
      const similarity = Float64Array.from(views.similarity.subarray(0, n), (product) =>
        Math.min(1, product / FIXED_ONE),
      )
      similarity[0] = Number.NaN
      // Rounding leaves a vector a little longer or shorter than 1, and with it its product with itself.
      equalEarlier(views.panels, n, d).forEach((first, row) => {
        nearest[row] = first
        similarity[row] = 1
      })
      return { nearest, similarity }
    },
    [Symbol.asyncDispose]: () => team[Symbol.asyncDispose](),
  }
}

/** The first earlier row with the same packed vector, of rows that have one; zero vectors have no direction and are left out. O(n d). */
function equalEarlier(panels: Int32Array, n: number, d: number): Map<number, number> {
  const lanes = pairsOf(d)
  const equal = (a: number, b: number) => {
    let [x, y] = [fixedPlace(a, d), fixedPlace(b, d)]
    for (let j = 0; j < lanes; j++, x += PANEL_COLUMNS, y += PANEL_COLUMNS) if (panels[x] !== panels[y]) return false
    return true
  }
  const firsts = new Map<number, number[]>()
  const found = new Map<number, number>()
  for (let row = 0; row < n; row++) {
    let [hash, any] = [0, 0]
    for (let j = 0, at = fixedPlace(row, d); j < lanes; j++, at += PANEL_COLUMNS) {
      hash = Math.imul(hash ^ panels[at], 0x01000193)
      any |= panels[at]
    }
    if (any === 0) continue
    const alike = firsts.get(hash)
    const first = alike?.find((other) => equal(other, row))
    if (first !== undefined) found.set(row, first)
    else if (alike) alike.push(row)
    else firsts.set(hash, [row])
  }
  return found
}
