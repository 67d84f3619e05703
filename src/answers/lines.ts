/** Answers as JSON Lines: what `evaluate` writes of each row, and reads of another evaluation. */

import { inspectInput } from '../dataset/inputs.ts'
import { resolvePaths } from '../dataset/paths.ts'
import { readTextRows } from '../dataset/rows.ts'
import { WinnowError } from '../errors.ts'
import { createAtomicFile } from '../runs/files.ts'
import type { FileRecord } from '../runs/hash.ts'
import type { ScoreName } from './metrics.ts'
import type { Answered } from './programs.ts'

/** A line of the output: a row of a test set. */
export interface AnswerLine {
  test: string
  /** 0-based over the set, and where the record stands. */
  row: number
  file: string
  line: number
  /** What the model wrote, where a metric reads it. */
  answer?: string
  /** Tokens of it, and what ended it. */
  tokens?: number
  ended?: 'stop' | 'length' | 'window'
  /** What the first pass wrote as a program, and what came of it. */
  program?: Answered['program']
  /** The record's own answer. */
  reference?: string
  /** The answers in both, with `exact-match`; null where there is none. */
  extracted?: string | null
  truth?: string | null
  /** With `exact-match`, or else `accuracy`. */
  right?: boolean
  scores: Partial<Record<ScoreName, number | null>>
}

/** Writes lines to a file that appears whole. */
export async function writeLines(path: string, lines: Iterable<object>): Promise<FileRecord> {
  await using file = await createAtomicFile(path, { overwrite: true })
  for (const line of lines) await file.write(`${JSON.stringify(line)}\n`)
  return await file.commit()
}

/** What of a line a comparison reads. */
export type ScoredLine = Pick<AnswerLine, 'test' | 'row' | 'reference' | 'scores'>

/**
 * Reads what an evaluation has written.
 *
 * @throws {WinnowError} `missing-file`; `bad-answers` with file and line.
 */
export async function readLines(path: string): Promise<ScoredLine[]> {
  const [found] = await resolvePaths([path])
  const input = await inspectInput(found)
  const lines: ScoredLine[] = []
  for await (const { entries } of readTextRows(input, { bytes: 0 }))
    for (const { row, line, fault } of entries) {
      const isScores = (value: unknown): value is ScoredLine['scores'] =>
        typeof value === 'object' &&
        value !== null &&
        Object.values(value).every((score) => score === null || Number.isFinite(score))
      if (
        typeof row?.test !== 'string' ||
        !Number.isSafeInteger(row.row) ||
        !isScores(row.scores) ||
        (row.reference !== undefined && typeof row.reference !== 'string')
      )
        throw new WinnowError('input', {
          code: 'bad-answers',
          message: 'the line is not one that winnow evaluate writes',
          file: path,
          line,
          expected: "'test', 'row' and 'scores'",
          ...fault,
        })
      const { test, row: number, reference, scores } = row as unknown as ScoredLine
      lines.push({ test, row: number, scores, ...(reference !== undefined && { reference }) })
    }
  return lines
}
