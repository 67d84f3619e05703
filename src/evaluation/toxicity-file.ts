/** Scores of texts made elsewhere (by a service that may not be asked from here, say), read from a file. */

import { inspectInput } from '../dataset/inputs.ts'
import { resolvePaths } from '../dataset/paths.ts'
import { readTextRows } from '../dataset/rows.ts'
import { WinnowError } from '../errors.ts'
import type { ToxicityScorer } from './toxicity.ts'

/**
 * Reads JSONL (or JSON, CSV; gzip, zstd) with a text and a score in [0, 1] a row, and gives a scorer that looks texts up, exactly as they are there. The
 * same text may stand twice with the same score.
 *
 * @throws {WinnowError} `missing-file`, `bad-scores` with file and line; the scorer throws `missing-score` for a text that the file has not.
 */
export async function toxicityFile(
  path: string,
  options: { text?: string; score?: string } = {},
): Promise<ToxicityScorer> {
  const { text: textField = 'text', score: scoreField = 'score' } = options
  const [found] = await resolvePaths([path])
  const input = await inspectInput(found)
  if (input.kind === 'parquet')
    throw new WinnowError('input', {
      code: 'unsupported-format',
      message: 'scores are not read from Parquet',
      file: path,
      expected: 'JSONL, JSON or CSV',
    })
  const scores = new Map<string, number>()
  for await (const { entries } of readTextRows(input, { bytes: 0 })) {
    for (const { row, line, fault } of entries) {
      if (row === undefined) throw new WinnowError('input', { ...badRow(path, line, 'no record'), ...fault })
      const [text, value] = [row[textField], row[scoreField]]
      const score = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
      if (typeof text !== 'string' || typeof score !== 'number' || !(score >= 0 && score <= 1))
        throw new WinnowError('input', badRow(path, line, JSON.stringify({ [textField]: text, [scoreField]: value })))
      const earlier = scores.get(text)
      if (earlier !== undefined && earlier !== score)
        throw new WinnowError('input', badRow(path, line, `${score}, but ${earlier} for the same text before`))
      scores.set(text, score)
    }
  }
  return async (texts) =>
    texts.map((text) => {
      const score = scores.get(text)
      if (score !== undefined) return score
      throw new WinnowError('input', {
        code: 'missing-score',
        message: 'a text has no score in the file',
        file: path,
        found: JSON.stringify(text.slice(0, 80)),
        hint: 'Score the generations of this run, and give that file.',
      })
    })

  function badRow(file: string, line: number, found: string) {
    return {
      code: 'bad-scores',
      message: 'the row has not a text and its score',
      file,
      line,
      found: found.slice(0, 200),
      expected: `'${textField}', a text, and '${scoreField}', a number from 0 to 1`,
    }
  }
}
