/** The last stages: the method's choice, the selected records, and the page about it. */

import { copyFile, readFile, stat, unlink } from 'node:fs/promises'
import { dirname, extname } from 'node:path'
import { type TableColumn, writeColumns } from '../dataset/columns.ts'
import type { Dataset } from '../dataset/dataset.ts'
import { outputKind } from '../dataset/output.ts'
import { writeSelection } from '../dataset/selection.ts'
import { WinnowError } from '../errors.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import type { Notice, SelectionGroup } from '../methods/method.ts'
import { ioError } from '../runs/fault.ts'
import { commitTemporary, makeDirectories, temporaryPath } from '../runs/files.ts'
import { hashFile, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Context, notify, perform } from './context.ts'
import { optionsAsConfig, type ResolvedOptions } from './options.ts'
import type { Pool, Tokens } from './pool.ts'
import type { ComputedSignals } from './signals.ts'

export interface Chosen {
  /** Ascending pool rows. */
  selected: Uint32Array
  groups: SelectionGroup[]
  /** Tokens of the selected rows. */
  tokens: number
  hash: string
}

/** Runs the method on its signals and writes `selection.parquet`: a line for every row of the pool. */
export async function choose(
  context: Context<ResolvedOptions>,
  pool: Pool,
  tokens: Tokens,
  computed: ComputedSignals,
  budget: ResolvedBudget,
): Promise<Chosen> {
  const { options, run } = context
  const { rows } = pool.facts
  const perRow = computed.signals.tokens.data
  const { seed, drawSeed = seed } = options
  const result = await perform<Json>(context, {
    name: 'select',
    version: 1,
    inputs: { ...computed.hashes, pool: pool.hash },
    options: {
      method: options.method.name,
      options: options.methodOptions as Json,
      budget: budget as unknown as Json,
      seed: drawSeed,
      maxLength: options.maxLength,
    },
    async execute(work) {
      const selection = options.method.select({
        rows,
        budget,
        signals: computed.signals,
        options: options.methodOptions,
        seed: drawSeed,
      })
      if (selection.selected.length === 0)
        throw new WinnowError('input', {
          code: 'nothing-selected',
          message: 'no row that may be selected fits the budget',
          path: '--budget',
          found: options.budget.text,
          hint: selection.notices.map(({ message }) => `${message}.`).join(' ') || 'Ask for a larger budget.',
        })
      const flags = new Array<boolean>(rows).fill(false)
      for (const row of selection.selected) flags[row] = true
      const columns: Record<string, TableColumn> = {
        row: Uint32Array.from({ length: rows }, (_, row) => row),
        selected: flags,
      }
      if (pool.source) columns.source = Array.from(pool.source.data, (code) => pool.source?.labels?.[code] ?? '')
      columns.tokens = Uint32Array.from(tokens.store.lengths)
      columns.trained_tokens = Uint32Array.from(tokens.store.labels)
      for (const [name, column] of Object.entries(selection.columns)) columns[name] = column
      const { trajectories } = computed.signals
      if (trajectories) {
        const { data, columns: width } = trajectories
        columns.nll_first = Float32Array.from({ length: rows }, (_, row) => data[row * width])
        columns.nll_last = Float32Array.from({ length: rows }, (_, row) => data[row * width + width - 1])
      }
      await writeColumns(work.path('selection.parquet'), columns, options.memoryLimit)
      const outputs = [
        await work.record('selection.parquet'),
        await work.write('selection.npy', writeNpy({ shape: [selection.selected.length], data: selection.selected })),
      ]
      const { schedule } = selection
      if (schedule) outputs.push(await work.write(SCHEDULE, scheduleLines(selection.selected, schedule)))
      // One of another method, which was here before, is not of this selection.
      else await unlink(work.path(SCHEDULE)).catch(() => undefined)
      const chosenTokens = selection.selected.reduce((total, row) => total + perRow[row], 0)
      return {
        outputs,
        value: {
          selected: selection.selected.length,
          tokens: chosenTokens,
          groups: selection.groups,
          notices: schedule ? [...selection.notices, TOLD_OF_SCHEDULE] : selection.notices,
        } as unknown as Json,
      }
    },
    summary: (value) =>
      `${(value as { selected: number }).selected.toLocaleString('en')} of ${rows.toLocaleString('en')} rows`,
  })
  if (!result.cached || !(await isAnalysed(context)))
    for (const file of ANALYSIS) await unlink(run.path(file)).catch(() => undefined)
  const value = result.value as unknown as {
    selected: number
    tokens: number
    groups: SelectionGroup[]
    notices: Notice[]
  }
  for (const notice of value.notices) notify(context, notice)
  await run.update({ counts: { selected: value.selected, selectedTokens: value.tokens } })
  const selected = readNpy(await readFile(run.path('selection.npy'))).data as Uint32Array
  return { selected, groups: value.groups, tokens: value.tokens, hash: result.hash }
}

const SCHEDULE = 'schedule.jsonl'
/** What `analyse` writes of the selection that the run has. */
const ANALYSIS = ['analysis.json', 'analysis.html']

/** Whether the analysis is of a pick by this method and budget, as they were said. */
async function isAnalysed({ run, options }: Context<ResolvedOptions>): Promise<boolean> {
  const { method, budget }: { method?: string; budget?: string } = await readFile(run.path(ANALYSIS[0]), 'utf8')
    .then((text) => JSON.parse(text) ?? {})
    .catch(() => ({}))
  return method === options.method.name && budget === options.budget.text
}
const TOLD_OF_SCHEDULE: Notice = {
  code: 'schedule',
  message: `the pick is a schedule too: ${SCHEDULE} in the run directory lists its records in the order of training`,
}

/**
 * A line for each selected row in the order of training: its row in the pool and its record in the output, both from 0. The output itself is in
 * the pool's order.
 */
function scheduleLines(selected: Uint32Array, schedule: Uint32Array): string {
  const records = new Map(Array.from(selected, (row, record) => [row, record]))
  return Array.from(schedule, (row, order) => `${JSON.stringify({ order, row, record: records.get(row) })}\n`).join('')
}

/** What tells one command's output from another's: its options, but for those that do not change the bytes. */
export function configKey(context: Pick<Context<ResolvedOptions>, 'options'>): Json {
  const {
    threads: _threads,
    command: _command,
    overwrite: _overwrite,
    memoryLimit: _memory,
    run: _run,
    ...config
  } = optionsAsConfig(context.options)
  return config
}

/**
 * Copies the selected records into the run, then to where they were asked for. `ownOutput`: what stands there is this very command's own,
 * from before.
 */
export async function writeChosen(
  context: Context<ResolvedOptions>,
  dataset: Dataset,
  pool: Pool,
  { chosen, ownOutput }: { chosen: Chosen; ownOutput: boolean },
): Promise<OutputRecord> {
  const { options, run } = context
  const { kind } = outputKind(options.out, dataset.inputs)
  const extension = /\.(gz|zst)$/i.test(options.out)
    ? extname(options.out.slice(0, -extname(options.out).length)) + extname(options.out)
    : extname(options.out)
  const file = `selected${extension.toLowerCase()}`
  const result = await perform<Json>(context, {
    name: 'write',
    version: 1,
    inputs: { selection: chosen.hash, pool: pool.hash },
    options: { file, kind, config: configKey(context) },
    async execute(work, progress) {
      const written = await writeSelection(dataset, chosen.selected, work.path(file), {
        overwrite: true,
        signal: context.signal,
        onProgress: ({ bytes, bytesTotal, rows }) =>
          progress({ fraction: bytes / bytesTotal, done: rows, unit: 'rows' }),
      })
      return {
        outputs: [{ path: file, size: written.size, sha256: written.sha256 }],
        value: { rows: written.rows, config: configKey(context) },
      }
    },
    summary: (value) => `${(value as { rows: number }).rows.toLocaleString('en')} records`,
  })
  const [record] = result.outputs
  await publish(run.path(record.path), options.out, record.sha256, options.overwrite || ownOutput)
  return record
}

async function publish(from: string, to: string, sha256: string, overwrite: boolean): Promise<void> {
  if (await isFile(to)) {
    if ((await hashFile(to)).sha256 === sha256) return
    if (!overwrite)
      throw new WinnowError('input', {
        code: 'output-exists',
        message: 'the file already exists, with other bytes, and is left as it is',
        file: to,
        hint: `The selection is in ${from}. Choose another name with --out, or say --overwrite.`,
      })
  }
  const temporary = temporaryPath(to)
  try {
    await makeDirectories(dirname(to))
    await copyFile(from, temporary)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw ioError(error, to, 'write')
  }
  // Another process may put a file there at this very moment.
  await commitTemporary(temporary, to, { overwrite })
}

export const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  )
