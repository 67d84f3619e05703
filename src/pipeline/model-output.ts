/** Whether tuned models may be written where they are to go, found out before the work. */

import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { checkDirectory } from '../dataset/output.ts'
import { WinnowError } from '../errors.ts'
import type { Json } from '../runs/hash.ts'
import { isOwnRun } from './earlier-run.ts'
import type { Pretrained } from './pretrained.ts'
import { isFile } from './selection.ts'

export interface ModelOutput {
  out: string
  overwrite: boolean
  run: string
  /** The files by which what will be written is known, below `out`. Default: config.json, that of a model. */
  marks?: readonly string[]
}

interface OutputOf {
  config: Record<string, Json>
  pretrained?: Pretrained
}

/**
 * A model that stands at an output is replaced only where asked to, or by the run that saved it; the one that is read, never. Without `known`
 * only what can be said before the model is opened.
 *
 * @throws {WinnowError} `unwritable-output`, `output-is-input`, `output-exists`.
 */
export async function checkModelOutput(
  { out, overwrite, run, marks = ['config.json'] }: ModelOutput,
  known?: OutputOf,
): Promise<void> {
  const directories = [...new Set(marks.map((mark) => dirname(join(out, mark))))]
  for (const directory of directories) await checkDirectory(directory)
  const base = known?.pretrained?.files.directory
  for (const directory of directories)
    if (base !== undefined && (await isSame(base, directory)))
      throw new WinnowError('usage', {
        code: 'output-is-input',
        message: 'the tuned model would replace the model that is read',
        path: '--out',
        file: directory,
        hint: 'Name another --out.',
      })
  if (overwrite) return
  const found = await firstFile(marks.map((mark) => join(out, mark)))
  if (found === undefined) return
  if (known !== undefined && (await isOwnRun(run, known.config, { output: out }))) return
  throw new WinnowError('input', {
    code: 'output-exists',
    message: `a ${basename(found) === 'config.json' ? 'model' : 'plan'} is there already, and is left as it is`,
    path: '--out',
    file: dirname(found),
    hint: 'Name another --out, or say --overwrite.',
  })
}

async function firstFile(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isFile(path)) return path
  return undefined
}

async function isSame(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)))
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev
}
