/** The stage in the place of the proxy's: losses and confidences recorded elsewhere, checked and copied into the run. */

import { readFile } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { evenColumns } from '../signals/clusters.ts'
import { type LossColumn, lossFacts } from '../signals/loss-column.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { type Context, notify, perform } from './context.ts'
import { hashLosses, type LossFiles, readLosses } from './loss-files.ts'
import type { PoolFacts } from './pool.ts'

/** Mean nats a token above which a loss is hardly a mean: a uniform guess over 250,000 tokens has 12.4. */
const MOST_NATS = 15

/** Where imported losses came from, for the manifest, the report and the summary. */
export type ImportedFacts = {
  /** As given: a file or a directory. */
  file: string
  /** Of the file; of a directory, over the hashes of its files. */
  sha256: string
  rows: number
  /** T. */
  columns: number
  /** Of each checkpoint; 1 to T where the file names none. */
  steps: number[]
  /** Of those whose losses were clustered: all, or as many evenly spaced ones as the method asked for. */
  used: number[]
  /** Rows without a loss at some checkpoint. */
  incomplete: number
}

export interface Imported {
  signal: Signal
  hash: string
  facts: ImportedFacts
}

type Value = { steps: number[]; incomplete: number; negative: number; meanFirst: number; meanLast: number }

/** Signals of the proxy's scores that can be read from files. */
export type ImportedName = 'trajectories' | 'confidence' | 'initial' | 'unconditional'

interface Asked {
  name: ImportedName
  facts: Pick<PoolFacts, 'rows' | 'badCount'>
  /** Checkpoints that the method asked for; of a signal without checkpoints, none. */
  checkpoints?: number
}

/**
 * Reads scores that were recorded elsewhere into their signal, [N, T] or [N]. The run gets a copy, a .npy file for each checkpoint
 * as a recorded run leaves them, so that it can be read without the file. Of more checkpoints than the method asked for, the signal has
 * evenly spaced ones.
 *
 * @throws {WinnowError} as `readLosses`; `one-column` where a signal without checkpoints has several; `not-a-probability` for a
 * confidence outside [0, 1].
 */
export async function importScores(
  context: Context,
  files: LossFiles,
  { name, facts: { rows, badCount }, checkpoints }: Asked,
): Promise<Imported> {
  const { options, run } = context
  context.emit({ kind: 'stage-start', stage: 'import', resumedParts: 0 })
  const { inputs, sha256 } = await hashLosses(files)
  const result = await perform<Json>(context, {
    name: 'import',
    started: true,
    version: 1,
    inputs,
    options: { signal: name, rows },
    async execute(work, progress) {
      const columns = await readLosses(files, {
        rows,
        memoryLimit: options.memoryLimit,
        signal: context.signal,
        onProgress: (done, total) => progress({ fraction: done / Math.max(1, total), done, unit: 'bytes' }),
      }).catch((error) => {
        throw badCount > 0 ? withoutBadRows(error, badCount) : error
      })
      check(name, columns, files.path)
      const outputs: OutputRecord[] = []
      for (const { step, losses } of columns)
        outputs.push(await work.write(copyOf(name, work.key, step), writeNpy({ shape: [rows], data: losses })))
      const value: Value = { steps: columns.map(({ step }) => step), ...lossFacts(columns) }
      return { outputs, value }
    },
    summary: (value) => {
      const columns = (value as Value).steps.length
      return `${rows.toLocaleString('en')} rows x ${columns} checkpoint${columns === 1 ? '' : 's'}, no proxy trained`
    },
  })
  const { steps, ...found } = result.value as Value
  const used = Array.from(evenColumns(steps.length, checkpoints ?? 1), (column) => steps[column])
  tell(context, found, { name, columns: steps.length, checkpoints })
  const facts: ImportedFacts = {
    file: files.path,
    sha256,
    rows,
    columns: steps.length,
    steps,
    used,
    incomplete: found.incomplete,
  }
  const earlier = run.manifest.facts.imported as Record<string, Json> | undefined
  await run.update({ facts: { imported: { ...earlier, [name]: facts } } })

  const data = new Float32Array(rows * used.length)
  for (const [c, step] of used.entries()) {
    const { data: losses } = readNpy(await readFile(run.path(copyOf(name, result.key, step))))
    for (let row = 0, at = c; row < rows; row++, at += used.length) data[at] = losses[row]
  }
  const columnNames = used.map((step) => `step ${step}`)
  const provenance = { imported: files.path, sha256 }
  const imported = signal(name, data, { rows, columns: used.length, columnNames, provenance })
  return { signal: imported, hash: result.hash, facts }
}

function check(name: ImportedName, columns: readonly LossColumn[], file: string): void {
  if (name !== 'trajectories' && name !== 'confidence' && columns.length > 1)
    throw new WinnowError('input', {
      code: 'one-column',
      message: `the signal ${name} has one number a row`,
      file,
      found: `${columns.length} columns`,
      expected: 'one',
      hint: 'Losses at several checkpoints are trajectories.',
    })
  if (name !== 'confidence') return
  for (const { step, losses } of columns) {
    const row = losses.findIndex((value) => value < 0 || value > 1)
    if (row !== -1)
      throw new WinnowError('input', {
        code: 'not-a-probability',
        message: 'a confidence is a mean of largest probabilities',
        file,
        found: `${losses[row]} for row ${row}, checkpoint ${step}`,
        expected: 'a number from 0 to 1',
      })
  }
}

/** Losses of all rows of a file some of whose rows were left out are the likeliest of mistakes. */
function withoutBadRows(error: unknown, badCount: number): unknown {
  if (!(error instanceof WinnowError) || error.fault.code !== 'other-pool') return error
  const hint = `${badCount === 1 ? 'A bad row was' : `${badCount} bad rows were`} left out of the pool: the losses must leave ${badCount === 1 ? 'it' : 'them'} out too, or the file be mended.`
  return new WinnowError(error.kind, { ...error.fault, hint })
}

const copyOf = (name: string, key: string, step: number) =>
  `signals/${name}/${key.slice(0, 12)}/step-${String(step).padStart(6, '0')}.npy`

function tell(
  context: Context,
  found: Omit<Value, 'steps'>,
  { name, columns, checkpoints = columns }: { name: ImportedName; columns: number; checkpoints?: number },
): void {
  const { negative, meanFirst, meanLast } = found
  if (columns < checkpoints)
    notify(context, {
      code: 'fewer-checkpoints',
      message: `the imported ${name === 'confidence' ? 'confidences' : 'losses'} are of ${columns === 1 ? 'one checkpoint' : `${columns} checkpoints`}, not ${checkpoints}`,
    })
  if (columns > checkpoints)
    notify(context, {
      code: 'more-checkpoints',
      message: `of the ${columns} imported checkpoints ${checkpoints} are used, evenly spaced; --checkpoints ${columns} takes all`,
    })
  if (name === 'confidence') return
  if (negative > 0)
    notify(context, {
      code: 'negative-losses',
      message: `${negative === 1 ? 'an imported loss is' : `${negative} imported losses are`} negative, which no mean negative log-likelihood is`,
    })
  if (Math.max(meanFirst, meanLast) > MOST_NATS)
    notify(context, {
      code: 'large-losses',
      message: `the imported losses have a mean of ${Math.max(meanFirst, meanLast).toFixed(1)}, too much for nats a token: sums over a response must be divided by its tokens, or rows are clustered by their length`,
    })
}
