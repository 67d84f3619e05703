/** The exact k nearest candidates of each query by dot product, over candidates that come in blocks. */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { compileRelaxed } from '../webassembly/relaxed.ts'
import { openTeam } from '../webassembly/team.ts'
import { kernelModule } from './kernel.ts'
import { layoutOf, type NeighbourViews, viewsOf } from './layout.ts'
import { attach, type Command, type SharedSearch } from './shard.ts'
import { packColumn } from './tiles.ts'
import { checkFinite, checkShape } from './validation.ts'
import type { Vectors } from './vectors.ts'

/** In place of a row where there is none. */
export const NO_ROW = 0xffffffff

export interface Neighbours {
  /** Row-major [m, k], best first, ties by row id; NO_ROW where there were fewer. */
  rows: Uint32Array
  /** Dot products, row-major [m, k]; -Infinity beside NO_ROW. */
  similarity: Float32Array
}

export interface NeighbourSearch extends AsyncDisposable {
  /**
   * Looks at candidates `block`, row-major [rows, d], finite, at most `blockRows` of them: rows firstRow, firstRow + 1, … of their own
   * set. `keep[i]` = 0: row i is passed over. The block must not change before the answer; blocks may come in any order.
   */
  add(block: Float32Array, firstRow: number, keep?: Uint8Array): Promise<void>
  /** The nearest of all rows added so far. Call it when every `add` has resolved. */
  finish(): Neighbours
}

export interface NeighbourOptions {
  /** Neighbours of each query. */
  k: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  /** Most rows of a block. Default 8192. */
  blockRows?: number
}

/**
 * Opens a search for the k nearest of each of m queries. On L2-normalised vectors the dot product is the cosine.
 *
 * Dot products are float32, summed over the dimensions in order. Deterministic: the same rows and bits whatever the blocks, their order
 * and the threads of one machine, for the k best under (similarity descending, row ascending) are one set. 2 m N d operations; memory:
 * 4 (m + blockRows) d bytes and 8 m k for every thread.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `neighbours-option` or `memory`.
 */
export async function openNeighbours(queries: Vectors, options: NeighbourOptions): Promise<NeighbourSearch> {
  const { k, parallel, blockRows = 8192 } = options
  checkShape(queries, 'queries')
  checkFinite(queries.data, queries.d, 'queries')
  const fault = (message: string, found: unknown, expected: string) =>
    new WinnowError('input', { code: 'neighbours-option', message, found: String(found), expected })
  if (!(Number.isSafeInteger(k) && k >= 1)) throw fault('k', k, 'an integer >= 1')
  if (!(Number.isSafeInteger(blockRows) && blockRows >= 1)) throw fault('blockRows', blockRows, 'an integer >= 1')
  const { n: m, d } = queries
  const threads = parallel?.threads ?? 1
  const layout = layoutOf({ m, n: blockRows, d, k, threads })
  const shared = threads > 1
  const what = `${k} neighbours of ${m} queries of ${d} dimensions`
  const memory = allocateMemory(layout.pages, shared, what, 'Use fewer queries or neighbours.')
  const module = await compileRelaxed((relaxed) => kernelModule(layout, shared, relaxed))
  const search: SharedSearch = { layout, memory, module }
  const views = viewsOf(layout, memory.buffer)
  for (let i = 0; i < m; i++) packColumn(queries.data, i, d, views.panels, i)
  views.rows.fill(NO_ROW)
  views.similarities.fill(-Infinity)
  // Beyond the last query nothing is near enough; the others take anything.
  for (let t = 0; t < threads; t++) {
    const from = t * layout.columns
    views.least.fill(Infinity, from, from + layout.columns).fill(-Infinity, from, from + m)
  }
  const handle = await attach(search, 0)
  const url = new URL(`./shard${import.meta.url.slice(-3)}`, import.meta.url).href
  await using starting = new AsyncDisposableStack()
  const team = starting.use(openTeam<Command>(shared ? parallel : undefined, url, search, views.ticket, handle))

  const add = async (block: Float32Array, firstRow: number, keep: Uint8Array | undefined) => {
    const rows = block.length / d
    if (!Number.isInteger(rows) || rows > blockRows)
      throw fault('block of candidates', `${block.length} values`, `rows of ${d}, at most ${blockRows} of them`)
    if (keep !== undefined && keep.length !== rows) throw fault('keep', `${keep.length} values`, `${rows}, one a row`)
    if (!(Number.isSafeInteger(firstRow) && firstRow >= 0 && firstRow + rows <= NO_ROW))
      throw fault('rows of candidates', `first row ${firstRow}`, 'row numbers in [0, 2^32 - 1)')
    checkFinite(block, d, 'candidates', firstRow)
    views.candidates.set(block)
    if (keep === undefined) views.keep.fill(1, 0, rows)
    else views.keep.set(keep)
    const blocks = Math.ceil(rows / layout.tileRows)
    await team.run({ rows, firstRow }, blocks, rows * m * d < WORTH_MESSAGE)
  }
  let turn: Promise<unknown> = Promise.resolve()
  const owned = starting.move()
  return {
    add: (block, firstRow, keep) => {
      const done = turn.then(() => add(block, firstRow, keep))
      turn = done.catch(() => undefined)
      return done
    },
    finish: () => merged(views, m, k, threads),
    [Symbol.asyncDispose]: async () => {
      await turn
      await owned.disposeAsync()
    },
  }
}

/** Multiply-adds that this thread has done before another has heard of them. */
const WORTH_MESSAGE = 2 ** 20

/** The k best of every thread's k best, in order. */
function merged({ rows, similarities }: NeighbourViews, m: number, k: number, threads: number): Neighbours {
  const result = { rows: new Uint32Array(m * k), similarity: new Float32Array(m * k) }
  for (let i = 0; i < m; i++) {
    const places: number[] = []
    for (let t = 0; t < threads; t++) for (let r = 0; r < k; r++) places.push((t * m + i) * k + r)
    places.sort((a, b) => similarities[b] - similarities[a] || rows[a] - rows[b] || 0)
    for (let r = 0; r < k; r++) {
      result.rows[i * k + r] = rows[places[r]]
      result.similarity[i * k + r] = similarities[places[r]]
    }
  }
  return result
}
