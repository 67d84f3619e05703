/** The stage of k-center: rows in farthest-first order. */

import { readFile } from 'node:fs/promises'
import type { ResolvedBudget } from '../methods/budget.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { centerOrder } from '../submodular/k-center.ts'
import { type Among, rowsKey } from './cells.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import { gatherVectors } from './vector-files.ts'

/** Rows up to which the whole order is computed: it takes seconds, and serves every budget. */
const WHOLE_ORDER = 16_384

interface Spreading extends Among {
  budget: ResolvedBudget
  /** Tokens of each row. */
  tokens: ArrayLike<number>
  /** Default WHOLE_ORDER. */
  wholeRows?: number
}

/**
 * The `spread` signal [N] (place in the order, -1 beyond the budget and for rows that do not count) and `spread_distance` [N]. Of a large pool
 * only as far as the budget reaches, one in tokens until no row that is left would fit. Memory: 6 d bytes a row.
 */
export async function spreadPicks(
  context: Context<ResolvedOptions>,
  { budget, tokens, wholeRows = WHOLE_ORDER, ...among }: Spreading,
): Promise<{ signals: Record<'spread' | 'spread_distance', Signal>; hash: string }> {
  const { run, signal: stop } = context
  const { files, rows, hash } = among
  const whole = rows.length <= wholeRows
  const until: Json = whole
    ? null
    : budget.unit === 'rows'
      ? { rows: budget.rows }
      : { tokens: budget.tokens, perRow: hashJson(Array.from(tokens)), filled: true }
  const result = await perform<Json>(context, {
    name: 'spread',
    version: 1,
    inputs: { embeddings: hash },
    options: { until, rows: rowsKey(among) },
    async execute(work, progress) {
      const vectors = await gatherVectors(files, rows, { normalise: false, signal: stop })
      const picks = whole || budget.unit === 'tokens' ? rows.length : Math.min(rows.length, budget.rows)
      const filling = !whole && budget.unit === 'tokens' ? fillingOf(rows, tokens, budget.tokens) : undefined
      const share = (picked: number) => (filling ? filling.share() : picked / picks)
      const found = await centerOrder(vectors, {
        picks,
        enough: filling?.add,
        signal: stop,
        onProgress: (picked) => progress({ fraction: share(picked), done: picked, unit: 'rows' }),
      })
      const order = new Int32Array(files.rows).fill(-1)
      const distance = new Float64Array(files.rows).fill(Number.NaN)
      found.rows.forEach((at, place) => {
        order[rows[at]] = place
        distance[rows[at]] = found.distances[place]
      })
      const place = (name: string) => `signals/spread/${work.key.slice(0, 12)}/${name}.npy`
      return {
        outputs: [
          await work.write(place('order'), writeNpy({ shape: [files.rows], data: order })),
          await work.write(place('distance'), writeNpy({ shape: [files.rows], data: distance })),
        ],
        value: { ordered: found.rows.length },
      }
    },
    summary: (value) => `${(value as { ordered: number }).ordered.toLocaleString('en')} rows in order`,
  })
  const [order, distance] = await Promise.all(
    result.outputs.map(async ({ path }) => readNpy(await readFile(run.path(path))).data),
  )
  return {
    signals: { spread: signal('spread', order), spread_distance: signal('spread_distance', distance) },
    hash: result.hash,
  }
}

/** A budget in tokens as `takeInOrder` fills it: rows are picked in order, those that no longer fit are passed over. O(n log n). */
function fillingOf(rows: Uint32Array, tokens: ArrayLike<number>, budget: number) {
  const rising = Uint32Array.from(rows.keys()).sort((a, b) => tokens[rows[a]] - tokens[rows[b]])
  const seen = new Uint8Array(rows.length)
  let left = budget
  let shortest = 0
  return {
    share: () => 1 - left / budget,
    /** Whether none of the rows that have not been picked would fit. */
    add(at: number): boolean {
      const count = tokens[rows[at]]
      if (count <= left) left -= count
      seen[at] = 1
      while (shortest < rising.length && seen[rising[shortest]] !== 0) shortest++
      return shortest === rising.length || tokens[rows[rising[shortest]]] > left
    },
  }
}
