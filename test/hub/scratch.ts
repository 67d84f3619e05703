/** A directory for one test, removed at its end, and models to put into it. */

import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { WinnowError } from '../../src/errors.ts'
import { makeDirectories } from '../../src/runs/files.ts'

export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'winnow-hub-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** A model saved by transformers: config.json and model.safetensors of a tiny Llama. */
export const SAVED = fileURLToPath(new URL('../fixtures/models/llama-mha', import.meta.url))

/** A copy of it in a directory of its own. */
export async function savedModel(): Promise<string> {
  const directory = await scratch()
  for (const name of ['config.json', 'model.safetensors']) await cp(join(SAVED, name), join(directory, name))
  return directory
}

/** Writes files by their names in a directory. Objects become JSON. */
export async function put(directory: string, files: Record<string, string | Uint8Array | object>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await makeDirectories(dirname(join(directory, name)))
    const plain = typeof content === 'string' || content instanceof Uint8Array
    await writeFile(join(directory, name), plain ? content : JSON.stringify(content))
  }
}

/** The error that an action ends with, which has to be a WinnowError. */
export async function failure(action: Promise<unknown>): Promise<WinnowError> {
  const error = await action.then(
    () => undefined,
    (error) => error,
  )
  if (error instanceof WinnowError) return error
  throw error ?? new Error('nothing failed')
}

export const LFS_POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'ab'.repeat(32)}\nsize 25952\n`
