/** A signal: one named matrix over the rows of a pool, and where it came from. Methods read nothing else. */

import { WinnowError } from '../errors.ts'

export type SignalData = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array

export const SIGNAL_TYPES = { Float32Array, Float64Array, Int32Array, Uint32Array, Uint8Array } as const
export type SignalType = keyof typeof SIGNAL_TYPES

/** All of a signal but its numbers. */
export interface SignalDescriptor {
  /** `trajectories`, `clusters`, `source`, `tokens`, … */
  name: string
  /** N, the rows of the pool. */
  rows: number
  /** Numbers a row. */
  columns: number
  type: SignalType
  /** What each column is, where that helps: `step 120`. Length `columns`. */
  columnNames?: string[]
  /** For categories: `labels[code]` is the name of a code in the data. */
  labels?: string[]
  /** What made it: model, revision, steps, options, or the file it was imported from. */
  provenance: { readonly [key: string]: string | number | boolean | null }
  /** Of the file that holds it, hex, once there is one. */
  sha256?: string
}

export interface Signal extends SignalDescriptor {
  /** Row-major [rows, columns]. */
  data: SignalData
}

/** Signals by name, as a method gets them. */
export type Signals = { readonly [name: string]: Signal | undefined }

/**
 * Make a signal of its data; `columns` is 1 unless said. O(1): the data is not copied.
 *
 * @throws {WinnowError} `signal-shape` where data and shape disagree.
 */
export function signal(
  name: string,
  data: SignalData,
  more: Partial<Omit<SignalDescriptor, 'name' | 'type'>> = {},
): Signal {
  const columns = more.columns ?? 1
  const rows = more.rows ?? data.length / columns
  if (rows * columns !== data.length || !Number.isInteger(rows))
    throw new WinnowError('failure', {
      code: 'signal-shape',
      message: `signal ${name} has numbers for another shape`,
      found: `${data.length} numbers`,
      expected: `${rows} rows x ${columns} columns`,
    })
  const type = data.constructor.name as SignalType
  return { provenance: {}, ...more, name, rows, columns, type, data }
}

/** A signal without its numbers, for manifests. */
export function describeSignal({ data: _, ...descriptor }: Signal): SignalDescriptor {
  return descriptor
}

/**
 * A categorical signal of strings: codes in order of first appearance, labels beside them. A row without a value gets
 * the label ''. O(N).
 */
export function categories(name: string, values: Iterable<string | undefined>, rows: number): Signal {
  const data = new Uint32Array(rows)
  const codes = new Map<string, number>()
  let row = 0
  for (const value of values) {
    const label = value ?? ''
    let code = codes.get(label)
    if (code === undefined) {
      code = codes.size
      codes.set(label, code)
    }
    data[row++] = code
  }
  if (row !== rows)
    throw new WinnowError('failure', {
      code: 'signal-shape',
      message: `signal ${name} has values for another number of rows`,
      found: `${row} values`,
      expected: `${rows} rows`,
    })
  return signal(name, data, { labels: [...codes.keys()] })
}

/**
 * One matrix of columns that were computed one by one (a checkpoint each): row-major [N, columns.length]. O(N T).
 *
 * @throws {WinnowError} `signal-shape` where columns differ in length.
 */
export function stackColumns(
  name: string,
  columns: readonly Float32Array[],
  more: Partial<Omit<SignalDescriptor, 'name' | 'type' | 'rows' | 'columns'>> = {},
): Signal {
  const rows = columns[0]?.length ?? 0
  const uneven = columns.findIndex((column) => column.length !== rows)
  if (uneven !== -1)
    throw new WinnowError('failure', {
      code: 'signal-shape',
      message: `column ${uneven} of signal ${name} has another length`,
      found: `${columns[uneven].length} rows`,
      expected: `${rows} rows, like column 0`,
    })
  const data = new Float32Array(rows * columns.length)
  for (let c = 0; c < columns.length; c++)
    for (let row = 0, at = c; row < rows; row++, at += columns.length) data[at] = columns[c][row]
  return signal(name, data, { ...more, rows, columns: columns.length })
}

/**
 * A signal that must be there, over `rows` rows.
 *
 * @throws {WinnowError} `missing-signal`, `signal-shape`.
 */
export function requireSignal(signals: Signals, name: string, rows: number): Signal {
  const found = signals[name]
  if (found === undefined)
    throw new WinnowError('input', {
      code: 'missing-signal',
      message: `signal ${name} is needed and not there`,
      found: Object.keys(signals).join(', ') || 'no signals',
      hint: 'Compute it first: a method is given every signal that it declares.',
    })
  if (found.rows !== rows)
    throw new WinnowError('input', {
      code: 'signal-shape',
      message: `signal ${name} is of another pool`,
      found: `${found.rows} rows`,
      expected: `${rows} rows`,
      hint: 'A signal has one row for each record of the pool, in the same order.',
    })
  return found
}
