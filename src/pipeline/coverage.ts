/** The stage of facility location: the greedy order of a pool's rows. */

import { readFile } from 'node:fs/promises'
import { workerThreads } from '../parallel/threads.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageWork } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { facilityOrder, mergeOrders } from '../submodular/facility-location.ts'
import type { Order } from '../submodular/lazy-greedy.ts'
import { type Among, cellRows, cutCells, rowsKey } from './cells.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import { gatherVectors } from './vector-files.ts'

/** Rows whose neighbours are looked for among all of them; beyond, in cells of half as many on average. */
export const WHOLE_ROWS = 131_072

interface Covering extends Among {
  neighbours: number
  /** Default WHOLE_ROWS. */
  wholeRows?: number
}

/**
 * The `coverage` signal [N] (place in the order, -1 for rows that do not count) and `gain` [N] (NaN beside -1). The order is of all rows: every
 * budget is a prefix of it, and the stage does not depend on one.
 *
 * A pool of more than `wholeRows` rows is cut into k-means cells. Each is ordered alone, similarities between cells counting as 0, and the orders
 * are merged by gain: exact greedy for the sum of the cells' objectives. Memory: the vectors of one cell, 6 d bytes a row, its graph, 8 k for
 * every thread and two more, and 24 bytes for each row of the pool. Cells that were finished are kept by a killed run.
 */
export async function coverPool(
  context: Context<ResolvedOptions>,
  { neighbours, wholeRows = WHOLE_ROWS, ...among }: Covering,
): Promise<{ signals: Record<'coverage' | 'gain', Signal>; hash: string }> {
  const { run, options } = context
  const { files, rows, hash } = among
  const cells =
    rows.length > wholeRows ? await cutCells(context, among, Math.ceil((2 * rows.length) / wholeRows)) : undefined
  const result = await perform<Json>(context, {
    name: 'coverage',
    version: 1,
    inputs: { embeddings: hash, ...(cells && { cells: cells.hash }) },
    options: { neighbours, rows: rowsKey(among), wholeRows },
    async execute(work, progress) {
      const parts = cells === undefined ? [rows] : cellRows(cells, wholeRows)
      const orders: Order[] = []
      let done = 0
      for (const [index, part] of parts.entries()) {
        const tell = (fraction: number) => {
          const at = done + fraction * part.length
          const detail = parts.length === 1 ? undefined : `cell ${index + 1} of ${parts.length}`
          progress({ fraction: at / rows.length, done: Math.floor(at), unit: 'rows', detail })
        }
        orders.push(await orderPart(work, index, part, tell))
        done += part.length
      }
      const { rows: ordered, gains } = mergeOrders(orders)
      const order = new Int32Array(files.rows).fill(-1)
      const gain = new Float64Array(files.rows).fill(Number.NaN)
      ordered.forEach((row, place) => {
        order[row] = place
        gain[row] = gains[place]
      })
      return {
        outputs: [
          await work.write(place(work, 'order'), writeNpy({ shape: [files.rows], data: order })),
          await work.write(place(work, 'gain'), writeNpy({ shape: [files.rows], data: gain })),
        ],
        value: { ordered: ordered.length, parts: parts.length },
      }

      /** The order of some rows, as row ids of the pool; of several parts each is kept in the run as it is done. */
      async function orderPart(
        work: StageWork,
        index: number,
        part: Uint32Array,
        tell: (fraction: number) => void,
      ): Promise<Order> {
        const name = `part ${index}`
        const kept = parts.length === 1 ? undefined : work.parts.find((one) => one.part === name)
        if (kept?.outputs.every(({ intact }) => intact)) {
          const [ordered, gains] = await Promise.all(
            kept.outputs.map(async ({ path }) => readNpy(await readFile(work.path(path))).data),
          )
          return { rows: ordered as Uint32Array, gains: gains as Float64Array }
        }
        const vectors = await gatherVectors(files, part, { normalise: false, signal: context.signal })
        const found = await facilityOrder(vectors, {
          neighbours,
          // Gains of parts are compared: all of one kind.
          ...(parts.length > 1 && { denseRows: 0 }),
          parallel: workerThreads(options.threads),
          signal: context.signal,
          onProgress: tell,
        })
        const order = { rows: found.rows.map((at) => part[at]), gains: found.gains }
        if (parts.length > 1) await keepPart(work, name, index, order)
        return order
      }
    },
    summary: (value) => `${(value as { ordered: number }).ordered.toLocaleString('en')} rows in order`,
  })
  const [order, gain] = await Promise.all(
    result.outputs.map(async ({ path }) => readNpy(await readFile(run.path(path))).data),
  )
  return { signals: { coverage: signal('coverage', order), gain: signal('gain', gain) }, hash: result.hash }
}

const place = ({ key }: StageWork, name: string) => `signals/coverage/${key.slice(0, 12)}/${name}.npy`

async function keepPart(work: StageWork, name: string, index: number, { rows, gains }: Order): Promise<void> {
  const outputs: OutputRecord[] = [
    await work.write(place(work, `rows-${index}`), writeNpy({ shape: [rows.length], data: rows })),
    await work.write(place(work, `gains-${index}`), writeNpy({ shape: [gains.length], data: gains })),
  ]
  await work.finishPart(name, outputs)
}
