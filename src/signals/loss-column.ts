/** One checkpoint's losses as they are read from elsewhere, row by row, each number checked where it stands. */

import { type Fault, WinnowError } from '../errors.ts'

export interface LossColumn {
  /** Training step of the checkpoint, or the number of its column from 1 where no step is known. */
  step: number
  /** Where it comes from: its file, and its column in a file of many. */
  file: string
  name?: string
  /** [N] mean NLL of each row, nats a token; NaN where none was recorded. */
  losses: Float32Array
  /** A bit for each row that had its turn, whether a loss was recorded or not. */
  given: Uint8Array
  /** Rows that had their turn. */
  count: number
}

/** Checkpoints that an import may have: more are rows taken for steps. */
export const MOST_CHECKPOINTS = 1000

/** A column of N rows without any loss yet. */
export function emptyColumn(rows: number, at: Pick<LossColumn, 'step' | 'file' | 'name'>): LossColumn {
  return { ...at, losses: new Float32Array(rows).fill(Number.NaN), given: new Uint8Array((rows + 7) >> 3), count: 0 }
}

/**
 * The number in a cell: a number, null or '' or 'nan' as NaN (no loss), text by its decimal spelling (`0.5`, `1e-3`, `inf`). Undefined
 * where it is none.
 */
export function numberOf(cell: unknown): number | undefined {
  if (typeof cell === 'number') return cell
  if (cell === null) return Number.NaN
  if (typeof cell !== 'string') return undefined
  const text = cell.trim().toLowerCase()
  if (/^([+-]?nan|null|none|na|)$/.test(text)) return Number.NaN
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text)) return Number(text)
  const infinite = /^([+-]?)inf(inity)?$/.exec(text)
  if (infinite !== null) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return undefined
}

/** A cell as an error shows it. */
export function shownCell(cell: unknown): string {
  if (Array.isArray(cell)) return `a list of ${cell.length}`
  if (typeof cell === 'object' && cell !== null) return 'an object'
  return cell === undefined ? 'nothing' : typeof cell === 'string' ? JSON.stringify(cell.slice(0, 60)) : String(cell)
}

/**
 * Puts the loss of one row.
 *
 * @throws {WinnowError} `not-a-loss`, `infinite-loss`, `repeated-row`.
 */
export function putLoss(column: LossColumn, row: number, cell: unknown, line?: number): void {
  const { losses, given } = column
  const value = numberOf(cell)
  if (value === undefined)
    throw badLoss(column, row, line, {
      code: 'not-a-loss',
      message: cell === undefined ? 'the row lacks this column' : 'the loss is no number',
      found: shownCell(cell),
      expected: 'a number, or null where the row has no loss',
    })
  const rounded = Math.fround(value)
  if (!Number.isNaN(value) && !Number.isFinite(rounded))
    throw badLoss(column, row, line, {
      code: 'infinite-loss',
      message: 'the loss is not finite',
      found: String(value),
      expected: 'a finite number, or null where the row has no loss',
      hint: 'A loss overflowed, as in half precision: score this checkpoint again in float32 or bfloat16.',
    })
  if (given[row >> 3] & (1 << (row & 7)))
    throw badLoss(column, row, line, {
      code: 'repeated-row',
      message: 'a second loss for the same row and checkpoint',
      expected: 'each row of the pool once',
    })
  given[row >> 3] |= 1 << (row & 7)
  column.count++
  losses[row] = rounded
}

function badLoss({ file, name }: LossColumn, row: number, line: number | undefined, fault: Fault): WinnowError {
  const path = name === undefined ? `row ${row}` : `row ${row}, column ${name}`
  return new WinnowError('input', { ...fault, file, line, path })
}

/**
 * The columns by ascending step, checked as a whole: every row had its turn, no two checkpoints share a step, there are losses and
 * they can be mean negative log-likelihoods. O(N T).
 *
 * @throws {WinnowError} `no-checkpoints`, `repeated-step`, `missing-rows`, `no-losses`, `negative-losses`.
 */
export function checkColumns(columns: readonly LossColumn[], from: string): LossColumn[] {
  const fail = (code: string, message: string, more: object = {}) =>
    new WinnowError('input', { code, message, file: from, ...more })
  if (columns.length === 0)
    throw fail('no-checkpoints', 'the file holds no losses', {
      expected: 'a loss for each row at one checkpoint or more',
    })
  const ordered = [...columns].sort((a, b) => a.step - b.step)
  let [finite, negative] = [0, 0]
  for (const [index, column] of ordered.entries()) {
    const { step, file, name, losses, given, count } = column
    const earlier = ordered[index - 1]
    if (earlier?.step === step) throw repeatedStep(step, earlier.name ?? earlier.file, name ?? file, from)
    if (count < losses.length) throw missingRows(column, (row) => (given[row >> 3] & (1 << (row & 7))) === 0)
    let own = 0
    for (let row = 0; row < losses.length; row++) {
      if (Number.isNaN(losses[row])) continue
      own++
      if (losses[row] < 0) negative++
    }
    if (own === 0)
      throw fail('no-losses', 'a checkpoint has no loss for any row', {
        file,
        path: name === undefined ? undefined : `column ${name}`,
        found: `${losses.length} empty rows`,
        hint: 'Rows without a loss at every checkpoint cannot be clustered: score this checkpoint again, or leave it out.',
      })
    finite += own
  }
  if (2 * negative > finite)
    throw fail('negative-losses', 'the numbers are mostly negative: they look like log-probabilities, not losses', {
      found: `${negative} of ${finite} below 0`,
      expected: 'mean negative log-likelihoods, in nats a token',
      hint: 'Change the sign, and divide sums by the number of response tokens.',
    })
  return ordered
}

export function repeatedStep(step: number, first: string, second: string, file: string): WinnowError {
  return new WinnowError('input', {
    code: 'repeated-step',
    message: `two checkpoints have step ${step}`,
    file,
    found: `${first} and ${second}`,
    expected: 'one for each step, its number the last in the name',
    hint: 'Name them by their steps: checkpoint-500, checkpoint-1000, …',
  })
}

function missingRows({ file, name, losses, count }: LossColumn, missing: (row: number) => boolean): WinnowError {
  const shown: number[] = []
  for (let row = 0; row < losses.length && shown.length < 5; row++) if (missing(row)) shown.push(row)
  const lacking = losses.length - count
  return new WinnowError('input', {
    code: 'missing-rows',
    message: `${lacking === 1 ? 'a row of the pool is' : `${lacking} rows of the pool are`} missing`,
    file,
    path: name === undefined ? undefined : `column ${name}`,
    found: `no row ${shown.join(', ')}${lacking > shown.length ? ', …' : ''}`,
    expected: `rows 0 to ${losses.length - 1}, each once`,
    hint: 'Rows count from 0 in the order of the pool. For a row that has no loss, say null.',
  })
}

/** What is odd about losses that can be used all the same. */
export interface LossFacts {
  /** Rows without a loss at some checkpoint. */
  incomplete: number
  negative: number
  /** Of the first checkpoint, nats a token. */
  meanFirst: number
  /** Of the last. */
  meanLast: number
}

/** O(N T). */
export function lossFacts(columns: readonly LossColumn[]): LossFacts {
  const rows = columns[0].losses.length
  let [incomplete, negative] = [0, 0]
  for (let row = 0; row < rows; row++) {
    let whole = true
    for (const { losses } of columns) {
      whole &&= !Number.isNaN(losses[row])
      if (losses[row] < 0) negative++
    }
    if (!whole) incomplete++
  }
  const mean = ({ losses }: LossColumn) => {
    let [sum, count] = [0, 0]
    for (const loss of losses) {
      if (Number.isNaN(loss)) continue
      sum += loss
      count++
    }
    return sum / count
  }
  return { incomplete, negative, meanFirst: mean(columns[0]), meanLast: mean(columns[columns.length - 1]) }
}
