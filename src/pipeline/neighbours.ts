/** The stage of TAPT/c: the order in which target rows take their nearest pool rows, round by round. */

import { readFile } from 'node:fs/promises'
import { workerThreads } from '../parallel/threads.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type Neighbours, openNeighbours } from '../similarity/neighbours.ts'
import { type RoundRobin, roundRobin } from '../similarity/round-robin.ts'
import { type Context, perform } from './context.ts'
import { rowsWithVector } from './domains.ts'
import type { Embedded, Sides } from './embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import { blockRows, gatherVectors, vectorBlocks } from './vector-files.ts'

/** Neighbours of a target row that are looked for at first, over its equal share of the budget. */
const SPARE = 2

interface Ordering {
  vectors: Sides<Embedded>
  hashes: Record<string, string>
  /** Rows that the budget asks for. */
  budgetRows: number
  /**
   * Tokens of each row, for a budget in tokens: the order goes on until the rows taken have as many. Where the last of them does not fit, a later
   * row beyond the order might: it is not looked for, since longer lists take another pass over the pool.
   */
  tokens?: { perRow: ArrayLike<number>; budget: number }
}

/** The `order`, `taken_by` and `similarity` signals [N]. */
export async function orderByNeighbours(
  context: Context<ResolvedOptions>,
  { vectors, hashes, budgetRows, tokens }: Ordering,
): Promise<{ signals: Record<'order' | 'taken_by' | 'similarity', Signal>; hash: string }> {
  const { options, run } = context
  const { rows, dimensions } = vectors.pool.files
  const names = ['order', 'taken_by', 'similarity'] as const
  const enough = ({ rows: taken }: RoundRobin) =>
    tokens === undefined
      ? taken.length >= budgetRows
      : taken.reduce((total, row) => total + tokens.perRow[row], 0) >= tokens.budget
  const result = await perform<Json>(context, {
    name: 'neighbours',
    version: 2,
    inputs: hashes,
    options: {
      rows: budgetRows,
      tokens: tokens === undefined ? null : { budget: tokens.budget, rows: hashJson(Array.from(tokens.perRow)) },
    },
    async execute(work, progress) {
      const reading = { normalise: true, signal: context.signal }
      const wanted = rowsWithVector(vectors.target)
      const targets = await gatherVectors(vectors.target.files, wanted, reading)
      // A zero vector is at a right angle to all, nearer than what points away: it says nothing.
      const keep = new Uint8Array(rows).fill(1)
      for (const row of vectors.pool.empty) keep[row] = 0
      let found: RoundRobin
      for (let k = SPARE * Math.ceil(budgetRows / targets.n) + 8; ; k *= 2) {
        const depth = Math.min(rows, k)
        found = roundRobin(await nearest(depth), depth)
        if (enough(found) || depth === rows) break
      }
      async function nearest(k: number): Promise<Neighbours> {
        await using search = await openNeighbours(targets, {
          k,
          parallel: workerThreads(options.threads),
          blockRows: blockRows(dimensions),
        })
        for await (const { first, data } of vectorBlocks(vectors.pool.files, reading)) {
          await search.add(data, first, keep.subarray(first, first + data.length / dimensions))
          const done = first + data.length / dimensions
          progress({ fraction: done / rows, done, unit: 'rows', detail: `${k} neighbours of each target row` })
        }
        return search.finish()
      }
      const order = new Int32Array(rows).fill(-1)
      const takenBy = new Int32Array(rows).fill(-1)
      const similarity = new Float32Array(rows).fill(Number.NaN)
      found.rows.forEach((row, place) => {
        order[row] = place
        takenBy[row] = wanted[found.takenBy[place]]
        similarity[row] = found.similarity[place]
      })
      const arrays = { order, taken_by: takenBy, similarity }
      const outputs = []
      for (const name of names)
        outputs.push(
          await work.write(
            `signals/neighbours/${work.key.slice(0, 12)}/${name.replace('_', '-')}.npy`,
            writeNpy({ shape: [rows], data: arrays[name] }),
          ),
        )
      return { outputs, value: { taken: found.rows.length } }
    },
    summary: (value) => `${(value as { taken: number }).taken.toLocaleString('en')} rows in order`,
  })
  const arrays = await Promise.all(result.outputs.map(async ({ path }) => readNpy(await readFile(run.path(path))).data))
  const [order, takenBy, similarity] = names.map((name, i) => signal(name, arrays[i], { rows }))
  return { signals: { order, taken_by: takenBy, similarity }, hash: result.hash }
}
