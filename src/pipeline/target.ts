/** The stage that reads the target: how many rows it has, and a hash of what they hold. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { PoolRecord, Turn } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import { hashFile, type Json } from '../runs/hash.ts'
import { type Context, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'

export interface Target {
  dataset: Dataset
  rows: number
  /** Of the input bytes and how they are read. */
  hash: string
  inputs: { path: string; size: number; sha256: string }[]
}

/** Opens the files of the target; looks at their first rows only. */
export const openTarget = ({ target, targetFields, targetTemplate, memoryLimit }: ResolvedOptions): Promise<Dataset> =>
  openDataset(target, { fields: targetFields, template: targetTemplate, memoryLimit }).catch((error) => {
    throw ofTarget(error)
  })

/** A fault of the target's files in the target's own words: its options, and that no row of it is left out. */
function ofTarget(error: unknown): unknown {
  if (!(error instanceof WinnowError)) return error
  const words = (text: string | undefined) =>
    text?.replaceAll(/--(fields|template)\b/g, '--target-$1').replaceAll(/[^.]*--on-bad-row skip[^.]*(\.|$)/g, '')
  const { hint, path, ...fault } = error.fault
  const told = words(hint)?.trim() || 'Mend it: a target is small, and every row of it counts.'
  return new WinnowError(error.kind, { ...fault, path: words(path), hint: told }, { cause: error })
}

/** Reads the whole target once. A bad row ends the run: a target is small, and every row of it counts. */
export async function readTarget(context: Context<ResolvedOptions>, dataset: Dataset): Promise<Target> {
  const { targetFields, targetTemplate } = context.options
  const hashes: Record<string, string> = {}
  for (const [i, { path, kind }] of dataset.inputs.entries())
    hashes[`target ${i} (${kind})`] = (await hashFile(path)).sha256
  const result = await perform<Json>(context, {
    name: 'target',
    version: 1,
    inputs: hashes,
    options: { fields: targetFields, template: targetTemplate },
    async execute() {
      try {
        for await (const _ of dataset.batches({ signal: context.signal })) context.signal?.throwIfAborted()
      } catch (error) {
        throw ofTarget(error)
      }
      return { outputs: [], value: { rows: dataset.report().rows, format: dataset.format.name } }
    },
    summary: (value) => {
      const { rows, format } = value as { rows: number; format: string }
      return `${rows.toLocaleString('en')} row${rows === 1 ? '' : 's'}, format ${format}`
    },
  })
  const { rows } = result.value as { rows: number }
  const inputs = dataset.inputs.map(({ path, bytes }, i) => ({ path, size: bytes, sha256: Object.values(hashes)[i] }))
  await context.run.update({ counts: { targetRows: rows }, facts: { target: { inputs, rows } } })
  return { dataset, rows, hash: result.hash, inputs }
}

/** What is compared of a record: its turns' texts, a line each, without roles, cut to `length` characters where asked for. */
export function comparedText(turns: readonly Turn[], length?: number): string {
  const text = turns.map(({ content }) => content).join('\n')
  if (length === undefined || text.length <= length) return text
  // Not between the halves of a character.
  const whole = text.charCodeAt(length - 1) >= 0xd800 && text.charCodeAt(length - 1) < 0xdc00 ? length - 1 : length
  return text.slice(0, whole)
}

/** Consecutive records in groups of `size`, whatever the batches they come in. */
export async function* recordGroups(
  dataset: Dataset,
  size: number,
  signal?: AbortSignal,
): AsyncGenerator<{ first: number; records: PoolRecord[] }> {
  let records: PoolRecord[] = []
  for await (const batch of dataset.batches({ signal })) {
    for (const record of batch.records) {
      records.push(record)
      if (records.length < size) continue
      yield { first: records[0].row, records }
      records = []
    }
  }
  if (records.length > 0) yield { first: records[0].row, records }
}
