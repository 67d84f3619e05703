/** The table of scores: a row for each record, assembled from the parts of the stage. */

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { type TableRows, writeTable } from '../dataset/columns.ts'
import type { FileRecord } from '../runs/hash.ts'
import { readNpy } from '../signals/npy.ts'
import { TOKEN_MASK, TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import type { BaseOptions, Context } from './context.ts'
import type { ScoredPart } from './score-stage.ts'

export interface ScoredRows {
  rows: TokenRows
  labels: Uint32Array
  parts: ScoredPart[]
  /** Where each row stands, in order. */
  places: () => AsyncIterable<{ file: string; line: number }>
}

export interface ScoreTableOptions {
  out: string
  perToken: boolean
}

const COLUMNS = {
  row: 'UINTEGER',
  file: 'VARCHAR',
  line: 'UINTEGER',
  tokens: 'UINTEGER',
  scored: 'UINTEGER',
  nll: 'DOUBLE',
  perplexity: 'DOUBLE',
  cut: 'BOOLEAN',
} as const
const TOKEN_COLUMNS = { token_ids: 'UINTEGER[]', token_nll: 'FLOAT[]' } as const

/** Writes the scores of all rows to `out`. Memory: one part. */
export async function writeScores(
  { run, options, ...context }: Context<BaseOptions & ScoreTableOptions>,
  { rows, labels, parts, places }: ScoredRows,
): Promise<FileRecord> {
  const { maxLength, perToken, memoryLimit, out } = options
  const started = performance.now()
  context.emit({ kind: 'stage-start', stage: 'write', resumedParts: 0 })
  const pieces = async function* (): AsyncGenerator<TableRows> {
    const place = places()[Symbol.asyncIterator]()
    for (const { from, to, file } of parts) {
      const nll = readNpy(await readFile(run.path(file))).data as Float32Array
      const columns: unknown[][] = Object.keys(perToken ? { ...COLUMNS, ...TOKEN_COLUMNS } : COLUMNS).map(() => [])
      let at = 0
      for (let row = from; row < to; row++) {
        const { value } = (await place.next()) as { value: { file: string; line: number } }
        const own = nll.subarray(at, at + labels[row])
        at += labels[row]
        const mean = own.reduce((total, x) => total + x, 0) / own.length
        const kept = Math.min(rows.lengths[row], maxLength)
        const cells = [row, value.file, value.line, kept, own.length, mean, Math.exp(mean), rows.lengths[row] > kept]
        const lists = perToken ? tokenLists(rows.read(row).subarray(0, kept), own) : []
        ;[...cells, ...lists].forEach((cell, i) => {
          columns[i].push(cell)
        })
      }
      context.emit({
        kind: 'stage-progress',
        stage: 'write',
        progress: { fraction: to / rows.count, done: to, unit: 'rows' },
      })
      yield columns
    }
  }
  const types = perToken ? { ...COLUMNS, ...TOKEN_COLUMNS } : COLUMNS
  const record = await writeTable(out, types, pieces(), memoryLimit)
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'write', seconds, cached: false })
  context.emit({
    kind: 'stage-end',
    stage: 'write',
    cached: false,
    seconds,
    summary: `${rows.count.toLocaleString('en')} rows in ${basename(out)}`,
  })
  return record
}

/** Ids, and the NLL of each, NaN where it carries no loss. The first token is never predicted. */
function tokenLists(tokens: Uint32Array, nll: Float32Array): [Uint32Array, Float32Array] {
  let at = 0
  const losses = Float32Array.from(tokens, (token, i) =>
    i > 0 && (token & TRAINED_BIT) !== 0 ? nll[at++] : Number.NaN,
  )
  return [tokens.map((token) => token & TOKEN_MASK), losses]
}
