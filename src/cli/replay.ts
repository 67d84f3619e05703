/** `--config`: what an earlier run was asked, read from its manifest; what is said on the command line wins. */

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { WinnowError } from '../errors.ts'
import { COLUMNS } from '../pipeline/recording.ts'
import { POOLINGS } from '../pipeline/target-options.ts'
import { readManifest } from '../runs/manifest.ts'
import { DEVICES } from './common-options.ts'
import type { AskedOptions } from './select-options.ts'

/** The members of a manifest's `config` that `select` takes; others (what the pipeline notes for itself) are left out. */
const configSchema: z.ZodType<Partial<AskedOptions>> = z.object({
  pool: z.array(z.string()).optional(),
  budget: z.string().optional(),
  method: z.string().optional(),
  methodOptions: z.record(z.string(), z.unknown()).optional(),
  out: z.string().optional(),
  run: z.string().optional(),
  seed: z.number().optional(),
  drawSeed: z.number().optional(),
  recording: z.object({ checkpoints: z.number(), columns: z.enum(COLUMNS) }).optional(),
  proxy: z.string().optional(),
  signals: z.record(z.string(), z.string()).optional(),
  target: z.array(z.string()).optional(),
  targetFields: z.string().optional(),
  targetTemplate: z.string().optional(),
  embedding: z.string().optional(),
  pooling: z.enum(POOLINGS).optional(),
  embeddingDimensions: z.number().optional(),
  embeddingTokens: z.number().optional(),
  embeddingPrefix: z.string().optional(),
  normaliseLength: z.number().optional(),
  revision: z.string().optional(),
  offline: z.boolean().optional(),
  epochs: z.number().optional(),
  learningRate: z.number().optional(),
  batch: z.number().optional(),
  microBatch: z.number().optional(),
  recompute: z.boolean().optional(),
  lora: z.number().optional(),
  precision: z.enum(['float32', 'float16', 'bfloat16']).optional(),
  device: z.enum(DEVICES).optional(),
  threads: z.number().optional(),
  maxLength: z.number().optional(),
  fields: z.string().optional(),
  template: z.string().optional(),
  onBadRow: z.enum(['stop', 'skip']).optional(),
  memoryLimit: z.string().optional(),
})

/**
 * The options of an earlier run. `path`: a manifest, or the run directory that holds one. Whether to overwrite is not replayed.
 *
 * @throws {WinnowError} `missing-file`, `bad-manifest`.
 */
export async function readConfig(path: string): Promise<Partial<AskedOptions>> {
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
  const file = isDirectory ? join(path, 'manifest.json') : path
  const { config } = await readManifest(file)
  // JSON has null where an option was not given.
  const given = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null))
  const parsed = configSchema.safeParse(given)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new WinnowError('input', {
    code: 'bad-manifest',
    message: `the configuration in the manifest is not one of \`select\`: ${issue.message}`,
    file,
    path: ['config', ...issue.path].join('.'),
    hint: 'Point to the manifest.json of a run directory written by winnow.',
  })
}

/** `earlier` with what was `given` in its place. Options of a method count only for that method; another pool gets names of its own. */
export function mergeOptions(earlier: Partial<AskedOptions>, given: Partial<AskedOptions>): Partial<AskedOptions> {
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const sameMethod = given.method === undefined || given.method === earlier.method
  const kept = { ...earlier }
  if (given.pool !== undefined) {
    delete kept.out
    delete kept.run
    // Losses are of the rows of their pool.
    delete kept.signals
  }
  if (!sameMethod) delete kept.signals
  return {
    ...kept,
    ...said,
    methodOptions: { ...(sameMethod ? earlier.methodOptions : {}), ...given.methodOptions },
  }
}
