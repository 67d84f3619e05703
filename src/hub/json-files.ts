/** The small text files of a model directory: absent, or whole and of the form they should have. */

import { readFile, stat } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import { errorCode, ioError } from '../runs/fault.ts'
import { refusePointer } from './pointer.ts'

/** The largest of these files: the tokenizers with the most entries have a tenth of it, and a string has an end. */
const MOST_BYTES = 256 << 20

/** Refuses a small file that is none, before it is fetched or read, with `file-too-large`. */
export function refuseLarge(bytes: number, file: string): void {
  if (bytes <= MOST_BYTES) return
  throw new WinnowError('input', {
    code: 'file-too-large',
    message: 'the file is far too large for what its name says it is',
    file,
    found: `${bytes} bytes`,
    expected: `at most ${MOST_BYTES} bytes`,
    hint: 'It is damaged or no file of a model: fetch or save the model again, or name another.',
  })
}

/** A file's text, undefined where there is no such file. Throws `file-too-large`, `lfs-pointer`. */
export async function maybeText(path: string): Promise<string | undefined> {
  let bytes: Buffer
  try {
    refuseLarge((await stat(path)).size, path)
    bytes = await readFile(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw ioError(error, path, 'read')
  }
  refusePointer(bytes, path)
  return bytes.toString('utf8')
}

/** A JSON object from a file, undefined where there is no such file. Throws `bad-json`. */
export async function maybeObject(path: string): Promise<Record<string, unknown> | undefined> {
  const text = await maybeText(path)
  return text === undefined ? undefined : parseObject(text, path)
}

/** A JSON object from a file's text. Throws `bad-json`, named by file. */
export function parseObject(text: string, file: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new WinnowError('input', {
      code: 'bad-json',
      message: 'the file is not valid JSON',
      file,
      found: error instanceof Error ? error.message : undefined,
      hint: 'Fetch or save the model again.',
    })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new WinnowError('input', { code: 'bad-json', message: 'the file does not hold a JSON object', file })
}
