/** Reads, tokenises and plans one pool; prints a line at the first progress and a JSON line of what it took at the end. */

import * as ort from 'onnxruntime-node'
import { openDataset } from '../src/dataset/dataset.ts'
import { nanoRecipe } from '../src/models/nano.ts'
import type { Context } from '../src/pipeline/context.ts'
import { resolveOptions } from '../src/pipeline/options.ts'
import { readPool, tokenisePool } from '../src/pipeline/pool.ts'
import { openRun } from '../src/runs/directory.ts'
import { planTrajectories, trainableRows } from '../src/training/trajectories.ts'

const [pool, directory] = process.argv.slice(2)
const options = resolveOptions({ pool: [pool], budget: '10%', run: directory })
const dataset = await openDataset(options.pool)
await using run = await openRun(directory, { config: {}, seeds: {}, versions: {} })
const seconds: Record<string, number> = {}
let told = false
const context: Context = {
  run,
  options,
  device: { ort, name: 'cpu', threads: options.threads },
  notices: [],
  stages: [],
  emit: (event) => {
    if (!told) process.stdout.write('progress\n')
    told = true
    if (event.kind === 'stage-end') seconds[event.stage] = event.seconds
  },
}
const read = await readPool(context, dataset)
using tokens = await tokenisePool(context, dataset, read)
const { store, tokenizer } = tokens
const planning = performance.now()
const { recipe } = nanoRecipe({
  tokens: store.tokens,
  labels: store.trained,
  rows: store.count,
  vocabularySize: tokenizer.vocabularySize,
})
const plan = planTrajectories(store, recipe, 12, 0, trainableRows(store, recipe.maxLength))
seconds.plan = (performance.now() - planning) / 1000
const peakMegabytes = process.resourceUsage().maxRSS / 1024
process.stdout.write(
  `${JSON.stringify({ tokens: store.tokens, steps: plan.steps, padding: plan.padding, stages: seconds, peakMegabytes })}\n`,
)
