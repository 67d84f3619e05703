/** Temporary files of a test, and what the tests of this folder read from a dataset. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { Dataset } from '../../src/dataset/dataset.ts'
import type { PoolRecord } from '../../src/dataset/record.ts'
import type { WinnowError } from '../../src/errors.ts'

const directories: string[] = []

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})

/** A fresh directory, removed after the test. */
export async function workspace(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'winnow-dataset-'))
  directories.push(directory)
  return directory
}

/** A file of that name in a fresh directory; its path. */
export async function fileOf(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(await workspace(), name)
  await writeFile(path, content)
  return path
}

export const fixture = (name: string) => join(import.meta.dirname, '../fixtures/dataset', name)

export async function recordsOf(dataset: Dataset): Promise<PoolRecord[]> {
  const records: PoolRecord[] = []
  for await (const batch of dataset.batches()) records.push(...batch.records)
  return records
}

/** The WinnowError that a promise rejects with; anything else fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<WinnowError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: WinnowError) => ({ error }),
  )
  if (!('error' in outcome)) throw new Error(`expected a failure, got ${JSON.stringify(outcome.value)}`)
  if (outcome.error.name !== 'WinnowError') throw outcome.error
  return outcome.error
}

/** `user: …`, with `!` after the role of a trained turn. */
export const turnsOf = (record: PoolRecord) =>
  record.turns.map((turn) => `${turn.role}${turn.trained ? '!' : ''}: ${turn.content}`)
