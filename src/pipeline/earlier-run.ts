/** Whether what stands at an output is a command's own, from before. */

import { isRun } from '../runs/directory.ts'
import { canonicalJson, hashFile, type Json } from '../runs/hash.ts'
import { readManifest } from '../runs/manifest.ts'
import { isFile } from './selection.ts'

/** Options that change no byte of what is written. */
const IDLE = ['threads', 'command', 'overwrite', 'memoryLimit', 'run', 'offline', 'maxLengthAsked']

const identity = (config: object): string =>
  canonicalJson(
    Object.fromEntries(
      Object.entries(JSON.parse(JSON.stringify(config))).filter(([name]) => !IDLE.includes(name)),
    ) as Json,
  )

/**
 * Whether the run directory was last used by this very command: the same options, but for those that change no byte. What such a run
 * wrote may be written again; an unfinished one was allowed to write when it began. `file`: an output that must also be as a finished run left it
 * (`facts.output.sha256`).
 */
export async function isOwnRun(
  directory: string,
  config: object,
  { output, file }: { output: string; file?: string },
): Promise<boolean> {
  if (!(await isRun(directory))) return false
  const { config: earlier, status, facts } = await readManifest(`${directory}/manifest.json`)
  if (earlier.out !== output || identity(earlier) !== identity(config)) return false
  if (file === undefined || status !== 'done' || !(await isFile(file))) return true
  const written = facts.output as { sha256?: string } | undefined
  return (await hashFile(file)).sha256 === written?.sha256
}
