/** `manifest.json`: what a run was asked, of what, with what, and what came of it; enough to replay it. */

import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { WinnowError } from '../errors.ts'
import { ioError } from './fault.ts'
import { writeFileAtomic } from './files.ts'
import type { Json } from './hash.ts'

const json = z.json() as unknown as z.ZodType<Json>

const output = z.object({ path: z.string(), size: z.number(), sha256: z.string() })

export const manifestSchema = z.object({
  format: z.literal('winnow-run'),
  formatVersion: z.literal(1),
  /** ISO 8601, of the first run in this directory. */
  createdAt: z.string(),
  /** ISO 8601, of the last stage that ended. */
  updatedAt: z.string(),
  status: z.enum(['running', 'done', 'failed']),
  /** Everything the command was asked, defaults filled in: `select --config manifest.json` reads it. */
  config: z.record(z.string(), json),
  /** By purpose; one seed serves most runs. */
  seeds: z.record(z.string(), z.number()),
  /** winnow, node, onnxruntime, … */
  versions: z.record(z.string(), z.string()),
  inputs: z.array(z.object({ path: z.string(), size: z.number(), sha256: z.string(), rows: z.number().optional() })),
  /** Device kind, threads, and what the provider cannot promise. */
  device: json.optional(),
  /** Latest execution of each stage, in the order they ended. */
  stages: z.array(
    z.object({
      name: z.string(),
      key: z.string(),
      /** Whether this run took it from the journal. */
      cached: z.boolean(),
      /** Parts that an interrupted execution had finished before. */
      resumedParts: z.number(),
      /** Wall clock of the execution that computed it. */
      seconds: z.number(),
      outputs: z.array(output),
    }),
  ),
  /** rows, tokens, selected, quarantined, … */
  counts: z.record(z.string(), z.number()),
  /** Anything else a stage reports: losses, the bigram baseline, padding waste, costs. */
  facts: z.record(z.string(), json),
})

export type Manifest = z.infer<typeof manifestSchema>

/** Write a manifest atomically, indented for people. */
export async function writeManifest(path: string, manifest: Manifest): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(manifest, null, 2)}\n`)
}

/**
 * Read and check a manifest.
 *
 * @throws {WinnowError} `missing-file`, or `bad-manifest` naming the first field at fault.
 */
export async function readManifest(path: string): Promise<Manifest> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw ioError(error, path, 'read')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new WinnowError(
      'input',
      {
        code: 'bad-manifest',
        message: 'the manifest is not JSON',
        file: path,
        found: (error as Error).message,
        hint: 'It was damaged from outside. Remove it and run the command again: finished stages are in the journal.',
      },
      { cause: error },
    )
  }
  const parsed = manifestSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new WinnowError('input', {
    code: 'bad-manifest',
    message: `the manifest is not one of a winnow run: ${issue.message}`,
    file: path,
    path: issue.path.join('.'),
    hint: 'Point to the manifest.json of a run directory written by winnow.',
  })
}
