/**
 * `full.child.ts <file> <megabytes>`: write that much over <file> atomically, in pieces; print the fault if it fails.
 * Run where a write really fails: on a full disk, or under a file size limit.
 */

import { WinnowError } from '../../src/errors.ts'
import { createAtomicFile } from '../../src/runs/files.ts'

try {
  await using file = await createAtomicFile(process.argv[2])
  for (let piece = 0; piece < Number(process.argv[3]); piece++) await file.write(new Uint8Array(1 << 20).fill(piece))
  await file.commit()
  console.log(JSON.stringify({ code: 'written' }))
} catch (error) {
  if (!(error instanceof WinnowError)) throw error
  console.log(JSON.stringify(error.fault))
}
