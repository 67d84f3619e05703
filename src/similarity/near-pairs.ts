/** The near-duplicate filter of a pick: of rows in order of preference, those that resemble no better one. */

import { WinnowError } from '../errors.ts'
import type { Parallel } from '../parallel/parallel.ts'
import { allocateMemory } from '../webassembly/regions.ts'
import { compileRelaxed } from '../webassembly/relaxed.ts'
import { openTeam } from '../webassembly/team.ts'
import { BLOCK_ROWS, nearLayoutOf, nearModule, TILE_ROWS, viewsOfNear } from './near-kernel.ts'
import { attach, type Command, type SharedFilter } from './near-shard.ts'
import { NO_ROW } from './neighbours.ts'
import { packColumn } from './tiles.ts'
import { checkFinite, checkShape } from './validation.ts'
import type { Vectors } from './vectors.ts'

export interface DistinctOptions {
  /** A row is near another from this dot product on: a number > 0. */
  threshold: number
  /** Stop after this many rows have been kept. Default: look at all. */
  limit?: number
  /** Threads to run on. Without it, everything runs here. */
  parallel?: Parallel
  signal?: AbortSignal
  /** After every block of rows. */
  onProgress?: (progress: { rows: number; kept: number }) => void
}

export interface Distinct {
  /** Rows kept, in their order. */
  kept: Uint32Array
  /** [n]: the first kept row that the row is near to, itself if it was kept, NO_ROW if it was never looked at. */
  absorbed: Uint32Array
}

/**
 * Keeps, in order, each of n rows (unit vectors, best first) whose cosine to every kept earlier row is below `threshold`.
 *
 * Cosines are dot products in float32, within some 1e-6 of the truth: a threshold nearer than that to a row's cosine may go either way.
 * Deterministic: the same rows on any number of threads of one machine. O(n kept d); memory beside the caller's: 4 d (kept + 4096) bytes and
 * some 6 MiB, sized for min(n, limit) kept.
 *
 * Errors: `WinnowError` with code `vectors-shape`, `vectors-not-finite`, `distinct-option` or `memory`; `signal.reason` when aborted.
 */
export async function keepDistinct(rows: Vectors, options: DistinctOptions): Promise<Distinct> {
  const { threshold, limit = rows.n, signal, onProgress } = options
  checkShape(rows, 'rows')
  checkFinite(rows.data, rows.d, 'rows')
  const fault = (message: string, found: unknown, expected: string) =>
    new WinnowError('input', { code: 'distinct-option', message, found: String(found), expected })
  if (!(threshold > 0)) throw fault('threshold', threshold, 'a cosine > 0')
  if (!(Number.isSafeInteger(limit) && limit >= 0)) throw fault('limit', limit, 'an integer >= 0')
  const { n, d } = rows
  const absorbed = new Uint32Array(n).fill(NO_ROW)
  const kept: number[] = []
  if (limit === 0) return { kept: new Uint32Array(), absorbed }

  const parallel = n * Math.min(n, limit) * d > WORTH_THREADS ? options.parallel : undefined
  const threads = parallel?.threads ?? 1
  const layout = nearLayoutOf({ capacity: Math.min(n, limit), d, threads, threshold })
  const shared = threads > 1
  const memory = allocateMemory(layout.pages, shared, `${n} rows of ${d} dimensions`, 'Set a lower limit.')
  const module = await compileRelaxed((relaxed) => nearModule(layout, shared, relaxed))
  const filter: SharedFilter = { layout, memory, module }
  const views = viewsOfNear(layout, memory.buffer)
  const handle = await attach(filter, 0)
  const url = new URL(`./near-shard${import.meta.url.slice(-3)}`, import.meta.url).href
  await using team = openTeam<Command>(parallel, url, filter, views.ticket, handle)

  for (let first = 0; first < n && kept.length < limit; first += BLOCK_ROWS) {
    signal?.throwIfAborted()
    const count = Math.min(BLOCK_ROWS, n - first)
    views.block.set(rows.data.subarray(first * d, (first + count) * d))
    for (let r = 0; r < count; r++) packColumn(rows.data, first + r, d, views.blockPanels, r)
    const work = count * (kept.length + count) * d
    await team.run({ rows: count, kept: kept.length }, Math.ceil(count / TILE_ROWS), work < WORTH_MESSAGE)
    // Within the block, in order: which are kept depends on those before.
    const own: number[] = []
    for (let r = 0; r < count && kept.length < limit; r++) {
      const earlier = views.found[r]
      const near =
        earlier === NO_ROW ? own.find((c) => views.products[r * BLOCK_ROWS + c] >= layout.threshold) : undefined
      if (earlier !== NO_ROW) absorbed[first + r] = kept[earlier]
      else if (near !== undefined) absorbed[first + r] = first + near
      else {
        packColumn(rows.data, first + r, d, views.panels, kept.length)
        absorbed[first + r] = first + r
        kept.push(first + r)
        own.push(r)
      }
    }
    onProgress?.({ rows: first + count, kept: kept.length })
  }
  return { kept: Uint32Array.from(kept), absorbed }
}

/** Multiply-adds below which one thread is done before others have started, and before they have heard of a block. */
const WORTH_THREADS = 1e9
const WORTH_MESSAGE = 2 ** 20
