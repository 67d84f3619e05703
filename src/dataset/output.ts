/** Where output goes: the kind of file by its name, and whether it can be written, found out before the work. */

import { access, constants, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { WinnowError } from '../errors.ts'
import type { Compression, Input, InputKind } from './inputs.ts'

export interface Output {
  path: string
  kind: InputKind
  compression: Compression
}

export interface OutputOptions {
  /** Replace a file that is there. Default false. */
  overwrite?: boolean
  /** The inputs, to refuse writing over one of them and conversions that are not made. */
  inputs?: readonly Input[]
}

const EXTENSIONS: Record<string, InputKind> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.csv': 'csv',
  '.tsv': 'csv',
  '.parquet': 'parquet',
}

/**
 * What `path` asks for, by its extension: .jsonl (.ndjson), .json, .csv, .tsv, each also .gz and .zst, or .parquet.
 * Throws `unknown-output`; `unsupported-conversion`, as Parquet is only written from Parquet, and CSV from CSV of one
 * delimiter and header.
 */
export function outputKind(path: string, inputs: readonly Input[] = []): Output {
  const lower = path.toLowerCase()
  const compression: Compression = lower.endsWith('.gz') ? 'gzip' : lower.endsWith('.zst') ? 'zstd' : 'none'
  const name = compression === 'none' ? lower : lower.slice(0, lower.lastIndexOf('.'))
  const extension = Object.keys(EXTENSIONS).find((ending) => name.endsWith(ending))
  const kind = extension === undefined ? undefined : EXTENSIONS[extension]
  if (kind === undefined || (compression !== 'none' && kind === 'parquet')) {
    throw new WinnowError('usage', {
      code: 'unknown-output',
      message: 'the name of the output says no kind that winnow writes',
      file: path,
      expected: '.jsonl, .json, .csv or .tsv (each also .gz or .zst), or .parquet',
    })
  }
  const unsupported = (found: string) =>
    new WinnowError('usage', {
      code: 'unsupported-conversion',
      message: `the output asks for ${extension}, which is only written from inputs of the same form`,
      file: path,
      found,
      hint: 'Name the output .jsonl.',
    })
  if (kind === 'csv' || kind === 'parquet') {
    const other = inputs.find((input) => input.kind !== kind)
    if (other !== undefined) throw unsupported(`${other.path}, which is ${other.kind}`)
  }
  if (kind === 'csv') {
    const first = inputs[0]?.dialect
    for (const { path: file, dialect } of inputs) {
      if ((dialect?.delimiter === '\t') !== (extension === '.tsv')) {
        throw unsupported(`${file}, with fields separated by ${JSON.stringify(dialect?.delimiter)}`)
      }
      if (JSON.stringify(dialect) !== JSON.stringify(first)) throw unsupported(`${file}, with another header`)
    }
  }
  return { path, kind, compression }
}

/**
 * Checks that `path` can be written, without touching it: to be called before hours of work. Its directory need not
 * exist, but the nearest one above that does must be writable. Throws what `outputKind` throws, `output-exists`, `output-is-input`,
 * `unwritable-output`.
 */
export async function checkOutput(path: string, options: OutputOptions = {}): Promise<Output> {
  const output = outputKind(path, options.inputs)
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => error)
  if (!(info instanceof Error)) {
    if (info.isDirectory()) throw unwritable(path, 'it is a directory')
    for (const input of options.inputs ?? []) {
      const same = await stat(input.path).catch(() => undefined)
      if (same === undefined || same.ino !== info.ino || same.dev !== info.dev) continue
      throw new WinnowError('usage', {
        code: 'output-is-input',
        message: 'the output is one of the inputs',
        file: path,
        hint: 'Choose another name with --out: an input is never written over.',
      })
    }
    if (options.overwrite !== true) {
      throw new WinnowError('input', {
        code: 'output-exists',
        message: 'the file already exists and is left as it is',
        file: path,
        hint: 'Choose another name, remove it, or say --overwrite.',
      })
    }
  } else if (info.code === 'ENOTDIR') throw unwritable(path, 'a part of its path is not a directory', info)
  await checkAbove(path)
  return output
}

/**
 * The same for a directory of files. What stands in it is not looked at.
 *
 * @throws {WinnowError} `unwritable-output`.
 */
export async function checkDirectory(path: string): Promise<void> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => error)
  if (!(info instanceof Error) && !info.isDirectory()) throw unwritable(path, 'it is a file, not a directory')
  if (info instanceof Error && info.code === 'ENOTDIR')
    throw unwritable(path, 'a part of its path is not a directory', info)
  await checkAbove(info instanceof Error ? path : join(path, 'in'))
}

function unwritable(file: string, why: string, cause?: unknown): WinnowError {
  return new WinnowError(
    'input',
    {
      code: 'unwritable-output',
      message: `the output cannot be written: ${why}`,
      file,
      hint: 'Choose another place with --out.',
    },
    { cause },
  )
}

/** The nearest directory above `path` that is there has to be writable. */
async function checkAbove(path: string): Promise<void> {
  for (let directory = dirname(resolve(path)); ; directory = dirname(directory)) {
    const above = await stat(directory).catch(() => undefined)
    if (above === undefined && directory !== dirname(directory)) continue
    if (above?.isDirectory() !== true) throw unwritable(path, `${directory} is not a directory`)
    await access(directory, constants.W_OK | constants.X_OK).catch((cause: NodeJS.ErrnoException) => {
      throw unwritable(path, `${directory} is not writable (${cause.code})`, cause)
    })
    return
  }
}
