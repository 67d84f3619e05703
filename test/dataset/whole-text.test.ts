import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDataset } from '../../src/dataset/dataset.ts'
import type { Role, Turn } from '../../src/dataset/record.ts'
import { asTexts, wholeText } from '../../src/dataset/whole-text.ts'
import { directory } from '../pipeline/pools.ts'

const turns = (...given: [role: Role, content: string, trained?: boolean][]): Turn[] =>
  given.map(([role, content, trained = false]) => ({ role, content, trained }))

describe('the whole text of a record', () => {
  it('is its turns one behind the other, a blank line between them, whoever speaks', () => {
    expect(wholeText(turns(['system', 'Be kind.'], ['user', 'Hi'], ['assistant', 'Hello', true]))).toBe(
      'Be kind.\n\nHi\n\nHello',
    )
  })

  it('has nothing between the pieces of one text', () => {
    expect(wholeText(turns(['text', 'Q: 1 + 1\nA: '], ['text', '2', true]))).toBe('Q: 1 + 1\nA: 2')
  })

  it('has no blank line for a turn without content', () => {
    expect(wholeText(turns(['system', ''], ['user', 'Hi'], ['assistant', ''], ['assistant', 'Yes', true]))).toBe(
      'Hi\n\nYes',
    )
  })

  it('is what a dataset of texts holds, one turn a record, in the same places', async () => {
    const path = join(directory(), 'pool.jsonl')
    const rows = [
      { question: 'What is 1 + 1?', answer: '2', source: 'sums' },
      { question: 'And 2 + 2?', answer: '4', source: 'sums' },
    ]
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    const dataset = asTexts(await openDataset([path]))
    const records = []
    for await (const batch of dataset.batches()) records.push(...batch.records)
    expect(records).toEqual(
      rows.map(({ question, answer, source }, row) => ({
        ...{ row, source, file: path, line: row + 1 },
        turns: [{ role: 'text', content: `${question}\n\n${answer}`, trained: true }],
      })),
    )
    expect(dataset.scan?.rows).toBe(2)
    expect(dataset.report().rows).toBe(2)
  })
})
