/**
 * The stage cache: a stage runs once for each key, the hash of everything its outputs depend on. A later call with the
 * same key takes the outputs from the run directory, after checking their bytes; a stage that was killed goes on after
 * the last part it had recorded.
 */

import { stat, unlink } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import { type Run, relativePath } from './directory.ts'
import { type AtomicFile, createAtomicFile, writeFileAtomic } from './files.ts'
import { hashFile, hashJson, type Json } from './hash.ts'
import type { OutputRecord } from './journal.ts'

/** A part that an earlier execution of the same key had recorded. */
export interface StagePart {
  part: string
  value: Json
  /** Whether each file still has the recorded bytes. */
  outputs: (OutputRecord & { intact: boolean })[]
}

/** What a stage's `execute` is given. */
export interface StageWork {
  readonly key: string
  /** Parts recorded by interrupted executions, oldest first; one recorded twice appears once, the later way. */
  readonly parts: readonly StagePart[]
  /** Absolute path of a file of the run. */
  path(relative: string): string
  /** Write a file of the run atomically. */
  write(relative: string, content: Uint8Array | string): Promise<OutputRecord>
  /** Begin a file of the run; `record` turns the result of its `commit` into an output record. */
  create(relative: string): Promise<AtomicFile>
  /** Record a file that other code has put in place (by `commitTemporary`). */
  record(relative: string): Promise<OutputRecord>
  /** Say that a part is done and its files are in place; a restart finds it in `parts`. On the disk when it resolves. */
  finishPart(part: string, outputs: OutputRecord[], value?: Json): Promise<void>
}

export interface Stage<V extends Json> {
  /** `tokens`, `trajectories`, `clusters`, … */
  name: string
  /** Of the stage's code: raise it whenever the same inputs would give other outputs. */
  version: number
  /** Hashes of what it reads: other stages' `hash`, files' sha256. */
  inputs: { readonly [name: string]: string }
  /** Everything else the outputs depend on: options, seeds, device kind. */
  options: Json
  /**
   * Compute the outputs. Files go through `work`. The value is small, finite and JSON (counts, losses); it counts into
   * the result's hash, so timings belong in the manifest's facts. Files of parts that are not among the outputs are
   * removed once the stage is done.
   */
  execute(work: StageWork): Promise<{ outputs: OutputRecord[]; value: V }>
}

export interface StageResult<V extends Json> {
  key: string
  /** Of the key, the outputs' bytes and the value: the input hash for stages that read them. */
  hash: string
  outputs: OutputRecord[]
  value: V
  /** Nothing was executed. */
  cached: boolean
  /** Parts found intact at the start of the execution. */
  resumedParts: number
  /** Wall clock of the execution that computed it. */
  seconds: number
}

/** The cache key of a stage: sha256 over its name, code version, inputs and options. */
export function stageKey(stage: Pick<Stage<Json>, 'name' | 'version' | 'inputs' | 'options'>): string {
  return hashJson({ stage: stage.name, version: stage.version, inputs: stage.inputs, options: stage.options })
}

async function isIntact(run: Run, output: OutputRecord): Promise<boolean> {
  const path = run.path(output.path)
  const size = await stat(path).then(
    (stats) => (stats.isFile() ? stats.size : -1),
    () => -1,
  )
  return size === output.size && (await hashFile(path)).sha256 === output.sha256
}

/**
 * Run a stage, or take its result from the journal. Its outputs are trusted only when every file has the recorded size
 * and sha256; otherwise the stage runs again. The manifest is written at the end of each stage.
 *
 * Errors of `execute` pass through; what was recorded before them stays for the next run.
 */
export async function runStage<V extends Json>(run: Run, stage: Stage<V>): Promise<StageResult<V>> {
  const key = stageKey(stage)
  const records = run.journal.records.filter((record) => record.key === key && record.stage === stage.name)

  const done = records.findLast((record) => record.event === 'done')
  if (done !== undefined && (await allIntact(run, done.outputs))) {
    const value = done.value as V
    const { outputs, seconds = 0 } = done
    await note(run, { name: stage.name, key, cached: true, resumedParts: 0, seconds, outputs })
    return { key, hash: resultHash(key, outputs, value), outputs, value, cached: true, resumedParts: 0, seconds }
  }

  const latest = new Map<string, StagePart>()
  for (const record of records) {
    if (record.event !== 'part' || record.part === undefined) continue
    const outputs = []
    for (const output of record.outputs) outputs.push({ ...output, intact: await isIntact(run, output) })
    latest.delete(record.part)
    latest.set(record.part, { part: record.part, value: record.value, outputs })
  }
  const parts = [...latest.values()]
  // A file that changed since may be another key's by now: not ours to remove.
  const partFiles = new Set(
    parts.flatMap((part) => part.outputs.filter((output) => output.intact).map((output) => output.path)),
  )
  const checked = (relative: string): string => {
    const path = relativePath(relative)
    if (path === undefined) throw new Error(`${stage.name}: ${relative} is not a path inside the run directory`)
    return path
  }

  const started = performance.now()
  const { outputs, value } = await stage.execute({
    key,
    parts,
    path: (relative) => run.path(checked(relative)),
    write: async (relative, content) => {
      const path = checked(relative)
      return { path, ...(await writeFileAtomic(run.path(path), content)) }
    },
    create: (relative) => createAtomicFile(run.path(checked(relative))),
    record: async (relative) => {
      const path = checked(relative)
      return { path, ...(await hashFile(run.path(path))) }
    },
    finishPart: async (part, partOutputs, partValue = null) => {
      for (const output of partOutputs) partFiles.add(output.path)
      const at = new Date().toISOString()
      const plain = partOutputs.map(plainOutput)
      await run.journal.append({ event: 'part', stage: stage.name, key, part, outputs: plain, value: partValue, at })
    },
  })
  const seconds = (performance.now() - started) / 1000
  const plain = outputs.map(plainOutput)
  for (const output of plain)
    if ((await stat(run.path(output.path)).catch(() => undefined))?.size !== output.size)
      throw new WinnowError('failure', {
        code: 'missing-output',
        message: `stage ${stage.name} ended without this file in its place`,
        file: run.path(output.path),
        hint: 'Something else removed or changed it while the stage ran; run the same command again.',
      })

  const at = new Date().toISOString()
  await run.journal.append({ event: 'done', stage: stage.name, key, outputs: plain, value, at, seconds })
  for (const output of plain) partFiles.delete(output.path)
  for (const path of partFiles) await unlink(run.path(path)).catch(() => undefined)
  const resumedParts = parts.filter((part) => part.outputs.every((output) => output.intact)).length
  await note(run, { name: stage.name, key, cached: false, resumedParts, seconds, outputs: plain })
  return { key, hash: resultHash(key, plain, value), outputs: plain, value, cached: false, resumedParts, seconds }
}

/** Copies exactly the recorded fields: parts carry `intact` beside them. */
function plainOutput({ path, size, sha256 }: OutputRecord): OutputRecord {
  return { path, size, sha256 }
}

async function allIntact(run: Run, outputs: OutputRecord[]): Promise<boolean> {
  for (const output of outputs) if (!(await isIntact(run, output))) return false
  return true
}

/** Paths count for nothing here: a file that moved is the same input. */
function resultHash(key: string, outputs: OutputRecord[], value: Json): string {
  return hashJson({ key, outputs: outputs.map((output) => output.sha256), value })
}

async function note(run: Run, entry: Run['manifest']['stages'][number]): Promise<void> {
  const others = run.manifest.stages.filter((stage) => stage.name !== entry.name)
  await run.update({ stages: [...others, entry] })
}
