/** The stages that embed: vectors of a dataset's rows, shard by shard, each kept as it is done. */

import { readFile } from 'node:fs/promises'
import type { Dataset } from '../dataset/dataset.ts'
import type { PoolRecord } from '../dataset/record.ts'
import { WinnowError } from '../errors.ts'
import type { Run } from '../runs/directory.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageResult, StageWork } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Context, perform } from './context.ts'
import type { StageName } from './events.ts'
import { recordGroups } from './target.ts'
import { openVectors, type VectorFiles } from './vector-files.ts'

/** What embeds records, whatever it reads of them. */
export interface RowEmbedder {
  /** As the user named it. */
  name: string
  /** d */
  dimensions: number
  /** Everything that vectors depend on besides the records. */
  identity: Json
  /** Rows of a shard: what a killed run computes again, at most. The batches of a model never reach over its ends, so it decides bits. */
  shardRows: number
  /** Row-major [records.length, d]. */
  embed(
    records: readonly PoolRecord[],
    options: { signal?: AbortSignal; onProgress?: (rows: number) => void },
  ): Promise<Float32Array>
}

export interface Embedded {
  files: VectorFiles
  hash: string
  /** Rows without any feature, whose vector is zero and tells nothing, ascending. */
  empty: Uint32Array
}

/** Of the pool and of the target. */
export interface Sides<T> {
  pool: T
  target: T
}

interface Embedding {
  stage: Extract<StageName, 'embeddings' | 'target-embeddings'>
  dataset: Dataset
  rows: number
  /** Of what the dataset holds. */
  hash: string
  embedder: RowEmbedder
}

/** Embeds every row of the dataset. Goes on after the last shard that was finished. Memory: the texts and vectors of a shard. */
export async function embedRows(
  context: Context,
  { stage, dataset, rows, hash, embedder }: Embedding,
): Promise<Embedded> {
  const { run } = context
  const { dimensions, shardRows } = embedder
  const shardFile = (key: string, first: number) =>
    `signals/${stage}/${key.slice(0, 12)}/rows-${String(first).padStart(9, '0')}.npy`
  const result = await perform<Json>(context, {
    name: stage,
    version: 1,
    inputs: { records: hash },
    options: { embedder: embedder.identity, shardRows },
    async execute(work, progress) {
      const outputs: OutputRecord[] = []
      const empty: number[] = []
      let computed = 0
      for await (const { first, records } of recordGroups(dataset, shardRows, context.signal)) {
        const file = shardFile(work.key, first)
        const kept = work.parts.find(({ part }) => part === file)
        const [before] = kept?.outputs ?? []
        if (kept !== undefined && before?.intact) {
          outputs.push({ path: before.path, size: before.size, sha256: before.sha256 })
          empty.push(...(kept.value as { empty: number[] }).empty)
          continue
        }
        const tell = (done: number) =>
          progress({ fraction: (first + done) / rows, done: computed + done, unit: 'rows', detail: embedder.name })
        const data = await embedder.embed(records, { signal: context.signal, onProgress: tell })
        const zeros = zeroVectors(data, dimensions, records)
        const output = await work.write(file, writeNpy({ shape: [records.length, dimensions], data }))
        await work.finishPart(file, [output], { empty: zeros })
        outputs.push(output)
        computed += records.length
        empty.push(...zeros)
        tell(0)
      }
      outputs.push(await writeEmpty(work, stage, empty))
      return { outputs, value: { rows, dimensions, empty: empty.length } }
    },
    summary: (value) => {
      const { rows: count, empty } = value as { rows: number; empty: number }
      const without = empty === 0 ? '' : `, ${empty.toLocaleString('en')} of them zero`
      return `${embedder.name}, ${count.toLocaleString('en')} vector${count === 1 ? '' : 's'} of ${dimensions} dimensions${without}`
    },
  })
  return openEmbedded(run, result)
}

/** The last output of a stage of vectors: which rows have none. */
export const writeEmpty = (work: StageWork, stage: string, empty: readonly number[]): Promise<OutputRecord> =>
  work.write(
    `signals/${stage}/${work.key.slice(0, 12)}/empty.npy`,
    writeNpy({ shape: [empty.length], data: Uint32Array.from(empty) }),
  )

/** What such a stage leaves. `paths`: where the vectors are, if not among the outputs. */
export async function openEmbedded(
  run: Run,
  { outputs, hash }: Pick<StageResult<Json>, 'outputs' | 'hash'>,
  paths?: readonly string[],
): Promise<Embedded> {
  const files = await openVectors(paths ?? outputs.slice(0, -1).map(({ path }) => run.path(path)))
  const empty = readNpy(await readFile(run.path((outputs.at(-1) as OutputRecord).path))).data as Uint32Array
  return { files, hash, empty }
}

/** Rows of the pool whose vectors are zero. @throws {WinnowError} `not-finite`, naming the record. */
function zeroVectors(data: Float32Array, dimensions: number, records: readonly PoolRecord[]): number[] {
  const empty: number[] = []
  for (let i = 0; i < records.length; i++) {
    let [square, finite] = [0, true]
    for (let at = i * dimensions; at < (i + 1) * dimensions; at++) {
      finite &&= Number.isFinite(data[at])
      square += data[at] * data[at]
    }
    if (!finite)
      throw new WinnowError('failure', {
        code: 'not-finite',
        message: 'the embedding gives the record a vector that is not finite',
        file: records[i].file,
        line: records[i].line,
        hint: 'The weights are damaged or made for another precision.',
      })
    if (square === 0) empty.push(records[i].row)
  }
  return empty
}
