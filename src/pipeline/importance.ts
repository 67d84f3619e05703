/** The stage of DSIR's weights: n-gram counts of target and pool, then each row's log importance weight. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import { bucketCounter, importanceWeigher, logRatio } from '../importance/importance.ts'
import type { Json } from '../runs/hash.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pool } from './pool.ts'
import { comparedText, type Target } from './target.ts'

/** The `importance` signal [N]. Two passes over the pool: its n-grams are counted again rather than kept. */
export async function weighRows(
  context: Context<ResolvedOptions>,
  { dataset, pool, target }: { dataset: Dataset; pool: Pool; target: Target },
): Promise<{ signal: Signal; hash: string }> {
  const { rows } = pool.facts
  const reading = { signal: context.signal }
  const result = await perform<Json>(context, {
    name: 'importance',
    version: 1,
    inputs: { pool: pool.hash, target: target.hash },
    options: {},
    async execute(work, progress) {
      let done = 0
      const tell = (count: number) => {
        done += count
        progress({ fraction: done / (2 * rows), done, unit: 'rows' })
      }
      const wanted = bucketCounter()
      for await (const { records } of target.dataset.batches(reading))
        for (const { turns } of records) wanted.add(comparedText(turns))
      const there = bucketCounter()
      for await (const { records } of dataset.batches(reading)) {
        for (const { turns } of records) there.add(comparedText(turns))
        tell(records.length)
      }
      const weigh = importanceWeigher(logRatio(wanted.counts, there.counts))
      const importance = new Float64Array(rows)
      for await (const { records } of dataset.batches(reading)) {
        for (const { row, turns } of records) importance[row] = weigh(comparedText(turns))
        tell(records.length)
      }
      const file = `signals/importance/${work.key.slice(0, 12)}.npy`
      const output = await work.write(file, writeNpy({ shape: [rows], data: importance }))
      return { outputs: [output], value: { rows } }
    },
    summary: (value) => `${(value as { rows: number }).rows.toLocaleString('en')} rows weighed`,
  })
  const { data } = readNpy(await readFile(context.run.path(result.outputs[0].path)))
  return { signal: signal('importance', data), hash: result.hash }
}
