/** A finished `select` as it lies in its run directory: what came of each stage, checked before it is read. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WinnowError } from '../errors.ts'
import { isRun, type Run } from '../runs/directory.ts'
import { hashFile, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { type Manifest, readManifest } from '../runs/manifest.ts'
import { readNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'

/**
 * The manifest of a run directory that a `select` has finished.
 *
 * @throws {WinnowError} `not-a-run`, `not-a-selection`, `unfinished-run`, and as `readManifest`.
 */
export async function readFinished(directory: string): Promise<Manifest> {
  if (!(await isRun(directory)))
    throw new WinnowError('usage', {
      code: 'not-a-run',
      message: 'the directory is no run of winnow',
      file: directory,
      expected: 'the run directory of a finished `winnow select`',
      hint: 'For example: winnow select pool.jsonl --budget 30%, then winnow analyse pool.winnow.',
    })
  const manifest = await readManifest(join(directory, 'manifest.json'))
  if (typeof manifest.config.method !== 'string' || typeof manifest.config.budget !== 'string')
    throw new WinnowError('usage', {
      code: 'not-a-selection',
      message: 'the run directory is of another command',
      file: directory,
      found: typeof manifest.config.command === 'string' ? manifest.config.command : 'no method in its configuration',
      expected: 'the run directory of a finished `winnow select`',
    })
  if (manifest.status !== 'done' || stageOf(manifest, 'select') === undefined)
    throw new WinnowError('input', {
      code: 'unfinished-run',
      message: 'the selection of the run is not finished',
      file: directory,
      found: `status ${manifest.status}`,
      hint: 'Give its command again: it goes on where it stopped. The manifest has it, under config.command.',
    })
  return manifest
}

export const stageOf = ({ stages }: Pick<Manifest, 'stages'>, name: string) =>
  stages.find((stage) => stage.name === name)

/** What the stage's code returned, from the journal. */
export function stageValue(run: Run, { name, key }: Manifest['stages'][number]): Json {
  const done = run.journal.records.findLast(
    (record) => record.event === 'done' && record.stage === name && record.key === key,
  )
  return done?.value ?? null
}

/**
 * A file of a stage, with the bytes that were recorded.
 *
 * @throws {WinnowError} `damaged-run`.
 */
export async function intactFile(run: Run, stage: Manifest['stages'][number], path: string): Promise<OutputRecord> {
  const output = stage.outputs.find((record) => record.path === path)
  const found = output && (await hashFile(run.path(path)).catch(() => undefined))
  if (output !== undefined && found?.sha256 === output.sha256) return output
  throw new WinnowError('input', {
    code: 'damaged-run',
    message: `a file of the stage ${stage.name} is not as it was written`,
    file: run.path(path),
    found: found === undefined ? 'no such file' : `${found.size} bytes, sha256 ${found.sha256}`,
    expected: output === undefined ? 'a file of this stage' : `${output.size} bytes, sha256 ${output.sha256}`,
    hint: 'Give the command of the selection again: what is missing is computed anew.',
  })
}

export interface FinishedSelection {
  rows: number
  /** Ascending. */
  selected: Uint32Array
  source?: Signal
  clusters?: Signal
  /** sha256 of the files that were read. */
  hashes: Record<string, string>
}

/** Reads the selection, the sources and the clusters of a finished run, as far as it has them. */
export async function readSelection(run: Run, manifest: Manifest): Promise<FinishedSelection> {
  const hashes: Record<string, string> = {}
  const array = async (stage: Manifest['stages'][number], path: string) => {
    hashes[path] = (await intactFile(run, stage, path)).sha256
    return readNpy(await readFile(run.path(path))).data
  }
  const [read, clusters, select] = ['read', 'clusters', 'select'].map((name) => stageOf(manifest, name))
  const has = (stage: Manifest['stages'][number] | undefined, path: string) =>
    stage?.outputs.some((output) => output.path === path) ? stage : undefined
  const sourced = has(read, 'signals/source.npy')
  const clustered = has(clusters, 'signals/clusters.npy')
  const selected = (await array(select as Manifest['stages'][number], 'selection.npy')) as Uint32Array
  let source: Signal | undefined
  if (sourced !== undefined) {
    const data = await array(sourced, 'signals/source.npy')
    hashes['signals/source.json'] = (await intactFile(run, sourced, 'signals/source.json')).sha256
    source = signal('source', data, { labels: JSON.parse(await readFile(run.path('signals/source.json'), 'utf8')) })
  }
  return {
    rows: manifest.counts.rows,
    selected,
    source,
    clusters: clustered && signal('clusters', await array(clustered, 'signals/clusters.npy')),
    hashes,
  }
}
