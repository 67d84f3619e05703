/** The stage that finds rows with equal texts. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import { copyIndex } from '../dataset/duplicates.ts'
import type { Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pool } from './pool.ts'
import { comparedText } from './target.ts'

export interface Copies {
  /** [N] the first row with the same text. */
  signal: Signal
  /** Rows with each first row's text, itself counted; 0 for rows that are not the first. */
  counts: Uint32Array
  hash: string
}

/** Finds the first row with each text, as it is compared (roles and loss masks aside). */
export async function findCopies(context: Context<ResolvedOptions>, dataset: Dataset, pool: Pool): Promise<Copies> {
  const { rows } = pool.facts
  const { normaliseLength } = context.options
  const result = await perform<Json>(context, {
    name: 'copies',
    version: 1,
    inputs: { pool: pool.hash },
    options: { normaliseLength: normaliseLength ?? null },
    async execute(work, progress) {
      const first = new Uint32Array(rows)
      const index = copyIndex()
      let copies = 0
      for await (const { records } of dataset.batches({ signal: context.signal })) {
        for (const { row, turns } of records) {
          first[row] = index.add(comparedText(turns, normaliseLength))
          if (first[row] !== row) copies++
        }
        const done = (records.at(-1)?.row ?? 0) + 1
        progress({ fraction: done / rows, done, unit: 'rows' })
      }
      const file = `signals/copies/${work.key.slice(0, 12)}.npy`
      return { outputs: [await work.write(file, writeNpy({ shape: [rows], data: first }))], value: { copies } }
    },
    summary: (value) => {
      const { copies } = value as { copies: number }
      return `${copies.toLocaleString('en')} row${copies === 1 ? '' : 's'} with the text of an earlier one`
    },
  })
  const { data } = readNpy(await readFile(context.run.path(result.outputs[0].path)))
  const counts = new Uint32Array(rows)
  for (const first of data) counts[first]++
  return { signal: signal('copies', data), counts, hash: result.hash }
}
