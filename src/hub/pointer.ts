/** Git LFS pointers: the few lines that a clone without git-lfs leaves in place of a large file. */

import { WinnowError } from '../errors.ts'

const PREFIX = 'version https://git-lfs.github.com/spec/v1'

/** Refuses a file that begins as a Git LFS pointer, with `lfs-pointer`; other bytes pass. */
export function refusePointer(bytes: Uint8Array, file: string): void {
  if (bytes.length < PREFIX.length) return
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('latin1')
  if (!text.startsWith(PREFIX)) return
  const size = /^size (\d+)$/m.exec(text)?.[1]
  throw new WinnowError('input', {
    code: 'lfs-pointer',
    message: 'the file is a Git LFS pointer, not the data it points to',
    file,
    found: `${bytes.length} bytes`,
    expected: size === undefined ? undefined : `${size} bytes`,
    hint: 'Run `git lfs pull` in the clone, or let winnow fetch the model by its hub id.',
  })
}
