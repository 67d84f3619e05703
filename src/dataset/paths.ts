/** Input paths: globs spread, in order, each file once. */

import { glob, realpath, stat } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'

/**
 * Files behind paths and globs (`*`, `**`, `?`, `[…]`, `{a,b}`), in the order given; the files of one glob sorted by name, so that
 * rows have the same numbers everywhere. A path that exists is taken literally, whatever characters it has.
 * Throws `missing-file`, `is-directory`, `not-a-file`, `remote-path`, `repeated-input` (all of kind `input` or `usage`).
 */
export async function resolvePaths(paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) {
    throw new WinnowError('usage', {
      code: 'no-inputs',
      message: 'no input file was given',
      expected: 'one or more files',
    })
  }
  const files: string[] = []
  for (const path of paths) files.push(...(await spread(path)))
  const seen = new Map<string, string>()
  for (const file of files) {
    const real = await realpath(file)
    if (seen.has(real)) {
      throw new WinnowError('usage', {
        code: 'repeated-input',
        message: 'the file is given twice',
        file,
        found: seen.get(real) === file ? undefined : `the same file as ${seen.get(real)}`,
        hint: 'Give each input once: its rows would be counted and drawn twice.',
      })
    }
    seen.set(real, file)
  }
  return files
}

async function spread(path: string): Promise<string[]> {
  if (/^[a-z][a-z0-9]+:\/\//.test(path)) {
    throw new WinnowError('usage', {
      code: 'remote-path',
      message: `${path} is not a local file`,
      hint: 'Download it first; remote inputs are not read yet.',
    })
  }
  const info = await stat(path).catch((cause: NodeJS.ErrnoException) => cause)
  if (!(info instanceof Error)) {
    if (info.isFile()) return [path]
    throw new WinnowError('input', {
      code: info.isDirectory() ? 'is-directory' : 'not-a-file',
      message: info.isDirectory()
        ? 'the input is a directory'
        : 'the input is not a regular file and cannot be read twice',
      file: path,
      expected: 'a file',
      hint: info.isDirectory() ? `Name its files: ${path.replace(/\/$/, '')}/*.jsonl.` : 'Write it to a file first.',
    })
  }
  if (info.code === 'ENOENT' && /[*?[{]/.test(path)) {
    const found: string[] = []
    for await (const file of glob(path)) if ((await stat(file)).isFile()) found.push(file)
    if (found.length > 0) return found.sort((a, b) => (a < b ? -1 : 1))
    throw new WinnowError('input', {
      code: 'missing-file',
      message: 'no file is matched by this pattern',
      file: path,
      hint: 'Check the path. In quotes, patterns such as data/*.jsonl are spread by winnow itself.',
    })
  }
  throw new WinnowError(
    'input',
    {
      code: info.code === 'ENOENT' || info.code === 'ENOTDIR' ? 'missing-file' : 'unreadable-file',
      message: info.code === 'ENOENT' ? 'no such file' : `the file cannot be opened (${info.code})`,
      file: path,
      hint: 'Check the path; patterns such as data/*.jsonl are fine.',
    },
    { cause: info },
  )
}
