/** The stage in the place of the proxy's: losses recorded elsewhere, checked and copied into the run. */

import { readFile } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { evenColumns } from '../signals/clusters.ts'
import { lossFacts } from '../signals/loss-column.ts'
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

/**
 * Reads losses that were recorded elsewhere into the `trajectories` signal [N, T]. The run gets a copy, a .npy file for each checkpoint
 * as a recorded run leaves them, so that it can be read without the file. Of more checkpoints than the method asked for, the signal has
 * evenly spaced ones.
 */
export async function importLosses(
  context: Context,
  files: LossFiles,
  { rows, badCount }: Pick<PoolFacts, 'rows' | 'badCount'>,
  checkpoints: number,
): Promise<Imported> {
  const { options, run } = context
  context.emit({ kind: 'stage-start', stage: 'import', resumedParts: 0 })
  const { inputs, sha256 } = await hashLosses(files)
  const result = await perform<Json>(context, {
    name: 'import',
    started: true,
    version: 1,
    inputs,
    options: { signal: 'trajectories', rows },
    async execute(work, progress) {
      const columns = await readLosses(files, {
        rows,
        memoryLimit: options.memoryLimit,
        signal: context.signal,
        onProgress: (done, total) => progress({ fraction: done / Math.max(1, total), done, unit: 'bytes' }),
      }).catch((error) => {
        throw badCount > 0 ? withoutBadRows(error, badCount) : error
      })
      const outputs: OutputRecord[] = []
      for (const { step, losses } of columns)
        outputs.push(await work.write(copyOf(work.key, step), writeNpy({ shape: [rows], data: losses })))
      const value: Value = { steps: columns.map(({ step }) => step), ...lossFacts(columns) }
      return { outputs, value }
    },
    summary: (value) => {
      const columns = (value as Value).steps.length
      return `${rows.toLocaleString('en')} rows x ${columns} checkpoint${columns === 1 ? '' : 's'}, no proxy trained`
    },
  })
  const { steps, ...found } = result.value as Value
  const used = Array.from(evenColumns(steps.length, checkpoints), (column) => steps[column])
  tell(context, found, steps.length, checkpoints)
  const facts: ImportedFacts = {
    file: files.path,
    sha256,
    rows,
    columns: steps.length,
    steps,
    used,
    incomplete: found.incomplete,
  }
  await run.update({ facts: { imported: { trajectories: facts } } })

  const data = new Float32Array(rows * used.length)
  for (const [c, step] of used.entries()) {
    const { data: losses } = readNpy(await readFile(run.path(copyOf(result.key, step))))
    for (let row = 0, at = c; row < rows; row++, at += used.length) data[at] = losses[row]
  }
  const columnNames = used.map((step) => `step ${step}`)
  const provenance = { imported: files.path, sha256 }
  const trajectories = signal('trajectories', data, { rows, columns: used.length, columnNames, provenance })
  return { signal: trajectories, hash: result.hash, facts }
}

/** Losses of all rows of a file some of whose rows were left out are the likeliest of mistakes. */
function withoutBadRows(error: unknown, badCount: number): unknown {
  if (!(error instanceof WinnowError) || error.fault.code !== 'other-pool') return error
  const hint = `${badCount === 1 ? 'A bad row was' : `${badCount} bad rows were`} left out of the pool: the losses must leave ${badCount === 1 ? 'it' : 'them'} out too, or the file be mended.`
  return new WinnowError(error.kind, { ...error.fault, hint })
}

const copyOf = (key: string, step: number) =>
  `signals/trajectories/${key.slice(0, 12)}/step-${String(step).padStart(6, '0')}.npy`

function tell(context: Context, found: Omit<Value, 'steps'>, columns: number, checkpoints: number): void {
  const { negative, meanFirst, meanLast } = found
  if (columns < checkpoints)
    notify(context, {
      code: 'fewer-checkpoints',
      message: `the imported losses are of ${columns === 1 ? 'one checkpoint' : `${columns} checkpoints`}, not ${checkpoints}`,
    })
  if (columns > checkpoints)
    notify(context, {
      code: 'more-checkpoints',
      message: `of the ${columns} imported checkpoints ${checkpoints} are used, evenly spaced; --checkpoints ${columns} takes all`,
    })
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
