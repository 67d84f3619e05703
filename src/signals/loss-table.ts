/**
 * Losses in a table (Parquet, CSV, JSON Lines), in the forms that people keep them in. With N rows and T checkpoints:
 *
 *     wide   step_500 | step_1000 | …      N lines, a column for each checkpoint, its step the last number of its name
 *     list   losses                        N lines, a list of T numbers in each
 *     long   row | step | loss             N T lines in any order, as a callback logs them
 *     one    loss                          N lines of one checkpoint; the step is in the name of the file
 *
 * Beside them a column `row`, `index` or `id` may say which row of the pool, from 0, a line is of; without one, lines are in the order of
 * the pool.
 */

import { WinnowError } from '../errors.ts'
import {
  emptyColumn,
  type LossColumn,
  MOST_CHECKPOINTS,
  numberOf,
  putLoss,
  repeatedStep,
  shownCell,
} from './loss-column.ts'
import { stepOf } from './loss-format.ts'

/** A table as its reader gives it. */
export interface LossTable {
  file: string
  /** Names of its columns. A column without a name is ''. */
  columns: readonly string[]
  /** The columns asked for, block by block, in the file's order. */
  read(columns: readonly string[]): AsyncIterable<LossBlock>
}

export interface LossBlock {
  /** 1-based line or record number of each line. */
  lines: ArrayLike<number>
  /** By column as asked, then by line. `undefined` is a cell that is not there, null an empty one. */
  cells: readonly (readonly unknown[])[]
}

const INDEX_NAMES = ['row', 'index', 'idx', 'id', '__index_level_0__', 'unnamed: 0', '']
const LOSS_NAMES = ['loss', 'losses', 'nll', 'mean_nll', 'mean_loss', 'trajectory', 'trajectories']
const STEP_NAMES = ['step', 'global_step', 'checkpoint', 'epoch']

const findName = (columns: readonly string[], names: readonly string[]) => {
  for (const name of names) {
    const found = columns.find((column) => column.toLowerCase() === name)
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * Reads all checkpoints of a table over `rows` rows; of one checkpoint where its `step` is known from the file's name. One pass,
 * memory 4 N T bytes and a block.
 *
 * @throws {WinnowError} naming the line, the column, what was found and what was expected: `unknown-column`, `no-step`, `no-row-column`,
 * `bad-row`, `bad-step`, `uneven-losses`, `other-pool`, `too-many-checkpoints`, and the faults of `putLoss`.
 */
export async function readLossTable(
  table: LossTable,
  { rows, step }: { rows: number; step?: number },
): Promise<LossColumn[]> {
  const index = findName(table.columns, INDEX_NAMES)
  const rest = table.columns.filter((column) => column !== index)
  const loss = findName(rest, LOSS_NAMES)
  const stepColumn = findName(rest, STEP_NAMES)
  if (step !== undefined) return readOne(table, rows, step, index, loss ?? onlyColumn(table.file, rest))
  if (loss !== undefined && stepColumn !== undefined) return readLong(table, rows, index, stepColumn, loss)
  if (loss !== undefined && rest.length === 1) return readLists(table, rows, index, loss)
  return readWide(table, rows, index, rest)
}

function onlyColumn(file: string, columns: readonly string[]): string {
  if (columns.length === 1 && isDecimal(columns[0])) throw noHeader(file, columns[0])
  if (columns.length === 1) return columns[0]
  throw new WinnowError('input', {
    code: 'unknown-column',
    message: 'it is not clear which column holds the losses of this checkpoint',
    file,
    found: columns.join(', ') || 'no columns',
    expected: 'a column named loss',
  })
}

/** A name that is a loss: lists of numbers without a header are common. A whole number may be a step. */
const isDecimal = (name: string) => /^[+-]?[0-9]*\.[0-9]+(e[+-]?[0-9]+)?$/i.test(name)

function noHeader(file: string, found: string): WinnowError {
  return new WinnowError('input', {
    code: 'no-header',
    message: 'the first line is no header, but a loss',
    file,
    line: 1,
    found,
    expected: 'names of columns, such as loss',
    hint: 'Write the names above the numbers.',
  })
}

async function readOne(table: LossTable, rows: number, step: number, index: string | undefined, loss: string) {
  const column = emptyColumn(rows, { step, file: table.file })
  const place = placer(table.file, rows, index)
  for await (const { lines, cells } of table.read(index === undefined ? [loss] : [loss, index])) {
    for (let i = 0; i < lines.length; i++) {
      const row = place(cells[1]?.[i], lines[i])
      if (row < rows) putLoss(column, row, cells[0][i], lines[i])
    }
  }
  place.finish()
  return [column]
}

async function readWide(table: LossTable, rows: number, index: string | undefined, names: readonly string[]) {
  const columns: LossColumn[] = []
  for (const name of names) {
    if (isDecimal(name)) throw noHeader(table.file, name)
    const step = stepOf(name)
    if (step === undefined)
      throw new WinnowError('input', {
        code: 'unknown-column',
        message: 'a column is neither the row nor the losses of a checkpoint',
        file: table.file,
        path: `column ${name}`,
        found: 'a name without a step',
        expected:
          'names with a whole step, such as step_500; or columns row, step and loss; or one column losses of lists',
        hint: LOSS_NAMES.includes(name.toLowerCase())
          ? 'Of one checkpoint alone? Put the files of all checkpoints into a directory and name that.'
          : 'Rename the column, or leave it out.',
      })
    const same = columns.find((column) => column.step === step)
    if (same !== undefined) throw repeatedStep(step, `column ${same.name}`, `column ${name}`, table.file)
    columns.push(emptyColumn(limited(table.file, names.length, rows), { step, file: table.file, name }))
  }
  const place = placer(table.file, rows, index)
  for await (const { lines, cells } of table.read(index === undefined ? names : [...names, index])) {
    for (let i = 0; i < lines.length; i++) {
      const row = place(cells[names.length]?.[i], lines[i])
      if (row < rows) for (let c = 0; c < columns.length; c++) putLoss(columns[c], row, cells[c][i], lines[i])
    }
  }
  place.finish()
  return columns
}

async function readLists(table: LossTable, rows: number, index: string | undefined, loss: string) {
  const { file } = table
  const columns: LossColumn[] = []
  const empty: { row: number; line: number }[] = []
  const place = placer(file, rows, index)
  for await (const { lines, cells } of table.read(index === undefined ? [loss] : [loss, index])) {
    for (let i = 0; i < lines.length; i++) {
      const cell = cells[0][i]
      const row = place(cells[1]?.[i], lines[i])
      if (row >= rows) continue
      if (cell === null) {
        empty.push({ row, line: lines[i] })
        continue
      }
      if (!Array.isArray(cell))
        throw new WinnowError('input', {
          code: 'no-step',
          message: 'the losses of a row are no list, and no step is named',
          file,
          line: lines[i],
          path: `column ${loss}`,
          found: shownCell(cell),
          expected: 'a list with a loss for each checkpoint',
          hint: 'Of one checkpoint alone? Put the files of all checkpoints into a directory and name that.',
        })
      if (columns.length === 0)
        for (let c = 1; c <= limited(file, cell.length, cell.length); c++)
          columns.push(emptyColumn(rows, { step: c, file, name: `${loss}[${c - 1}]` }))
      if (cell.length !== columns.length)
        throw new WinnowError('input', {
          code: 'uneven-losses',
          message: 'the row has losses at another number of checkpoints than those before it',
          file,
          line: lines[i],
          path: `column ${loss}`,
          found: shownCell(cell),
          expected: `a list of ${columns.length}`,
          hint: 'Write null where a checkpoint has no loss for the row.',
        })
      for (let c = 0; c < columns.length; c++) putLoss(columns[c], row, cell[c], lines[i])
    }
  }
  place.finish()
  for (const { row, line } of empty) for (const column of columns) putLoss(column, row, null, line)
  return columns
}

async function readLong(table: LossTable, rows: number, index: string | undefined, stepName: string, loss: string) {
  const { file } = table
  if (index === undefined)
    throw new WinnowError('input', {
      code: 'no-row-column',
      message: 'the table has steps and losses, but does not say of which rows they are',
      file,
      found: table.columns.join(', '),
      expected: 'a column row, from 0 in the order of the pool',
      hint: 'Or give the file of each checkpoint its step as a name, and name the directory.',
    })
  const columns = new Map<number, LossColumn>()
  const place = placer(file, rows, index)
  for await (const { lines, cells } of table.read([loss, index, stepName])) {
    for (let i = 0; i < lines.length; i++) {
      const step = numberOf(cells[2][i])
      if (step === undefined || !Number.isSafeInteger(step) || step < 0)
        throw new WinnowError('input', {
          code: 'bad-step',
          message: 'the step of a loss is no whole number',
          file,
          line: lines[i],
          path: `column ${stepName}`,
          found: shownCell(cells[2][i]),
          expected: 'optimiser steps: 0 or more',
        })
      let column = columns.get(step)
      if (column === undefined) {
        column = emptyColumn(limited(file, columns.size + 1, rows), {
          step,
          file,
          name: `${loss} at ${stepName} ${step}`,
        })
        columns.set(step, column)
      }
      putLoss(column, place(cells[1][i], lines[i]), cells[0][i], lines[i])
    }
  }
  return [...columns.values()]
}

/** `value`, unless the checkpoints are too many. */
function limited(file: string, checkpoints: number, value: number): number {
  if (checkpoints <= MOST_CHECKPOINTS) return value
  throw new WinnowError('input', {
    code: 'too-many-checkpoints',
    message: 'the file has more checkpoints than a training run records',
    file,
    expected: `at most ${MOST_CHECKPOINTS}`,
    hint: 'Are rows and steps the wrong way round?',
  })
}

/**
 * Gives each line its row: what the index cell says, else its place in the file. Lines past the pool are counted on, so that `finish` can
 * say how many there are.
 */
function placer(file: string, rows: number, index: string | undefined) {
  let lines = 0
  const place = (cell: unknown, line: number): number => {
    if (index === undefined) return lines++
    const row = numberOf(cell)
    if (row !== undefined && Number.isInteger(row) && row >= 0 && row < rows) return row
    throw new WinnowError('input', {
      code: 'bad-row',
      message: 'the pool has no such row',
      file,
      line,
      path: `column ${index === '' ? '1, which has no name' : index}`,
      found: shownCell(cell),
      expected: `0 to ${rows - 1}`,
      hint: row === rows ? 'Rows count from 0.' : undefined,
    })
  }
  return Object.assign(place, {
    finish: () => {
      if (index === undefined && lines !== rows)
        throw otherPool(file, `${lines} ${lines === 1 ? 'line' : 'lines'} of losses`, rows)
    },
  })
}

/** Losses over another number of rows than the pool has. */
export function otherPool(file: string, found: string, rows: number, hint?: string): WinnowError {
  return new WinnowError('input', {
    code: 'other-pool',
    message: 'the losses are of another pool',
    file,
    found,
    expected: `${rows} rows`,
    hint: hint ?? 'Losses have one row for each record of the pool, in the same order.',
  })
}
