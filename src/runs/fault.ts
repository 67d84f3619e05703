/** Failures of the file system as faults that say what to do. */

import { WinnowError } from '../errors.ts'

/** The system's error code (`ENOSPC`, …), if the error has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/**
 * A failed file operation as a WinnowError: `disk-full` (ENOSPC, EDQUOT), `file-too-large` (EFBIG), `unwritable-output`
 * or `unreadable-file` (EACCES, EPERM, EROFS), `missing-file`, else `io-error`. A WinnowError passes through.
 */
export function ioError(error: unknown, file: string, doing: 'read' | 'write'): WinnowError {
  if (error instanceof WinnowError) return error
  const code = errorCode(error)
  const options = { cause: error }
  const nothingLost = 'Nothing was half-written: files that were already there are as before'
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new WinnowError(
        'failure',
        {
          code: 'disk-full',
          message: code === 'ENOSPC' ? 'no space is left on the disk' : 'the disk quota is used up',
          file,
          hint: `${nothingLost}. Free some space and run the same command again; finished stages are kept.`,
        },
        options,
      )
    case 'EFBIG':
      return new WinnowError(
        'failure',
        {
          code: 'file-too-large',
          message: 'the file would be larger than the file system or the process limit (ulimit -f) allows',
          file,
          hint: `${nothingLost}. Raise the limit or write elsewhere, then run the same command again.`,
        },
        options,
      )
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new WinnowError(
        'input',
        {
          code: doing === 'write' ? 'unwritable-output' : 'unreadable-file',
          message: doing === 'write' ? 'the file cannot be written' : 'the file cannot be read',
          file,
          found: code === 'EROFS' ? 'a read-only file system' : 'no permission',
          hint: doing === 'write' ? 'Choose another place or change its permissions.' : 'Change its permissions.',
        },
        options,
      )
    case 'ENOENT':
      if (doing === 'write')
        return new WinnowError(
          'input',
          {
            code: 'unwritable-output',
            message: 'nothing can be made at this place',
            file,
            hint: 'Choose another place: a directory above it was removed, or takes no files.',
          },
          options,
        )
      return new WinnowError('input', { code: 'missing-file', message: 'the file does not exist', file }, options)
    case 'ENOTDIR':
    case 'EEXIST':
      return new WinnowError(
        'input',
        {
          code: 'unwritable-output',
          message: 'a file stands where a directory is needed',
          file,
          hint: 'Choose another place, or remove that file.',
        },
        options,
      )
    case 'EISDIR':
      return new WinnowError(
        'input',
        {
          code: doing === 'write' ? 'unwritable-output' : 'unreadable-file',
          message: 'a directory stands where a file is needed',
          file,
        },
        options,
      )
    default:
      return new WinnowError(
        'failure',
        {
          code: 'io-error',
          message: `the file could not be ${doing === 'write' ? 'written' : 'read'}`,
          file,
          found: error instanceof Error ? error.message : String(error),
        },
        options,
      )
  }
}
