import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { duplicateSet } from '../../src/dataset/duplicates.ts'
import type { Turn } from '../../src/dataset/record.ts'

const turn = (content: string, role: Turn['role'] = 'text', trained = true): Turn => ({ role, content, trained })

describe('duplicates', () => {
  it('finds exactly the records that were added before', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\0', 'é', '\u{1f600}'), maxLength: 9 })
    const property = fc.property(fc.array(fc.array(text, { minLength: 1, maxLength: 3 })), (records) => {
      const set = duplicateSet()
      const seen = new Set<string>()
      for (const record of records) {
        const key = JSON.stringify(record)
        expect(set.add(record.map((content) => turn(content)))).toBe(seen.has(key))
        seen.add(key)
      }
    })
    fc.assert(property)
  })

  it('tells roles, masks and where turns end apart', () => {
    const set = duplicateSet()
    const records = [
      [turn('ab')],
      [turn('a'), turn('b')],
      [turn('ab', 'user')],
      [turn('ab', 'assistant')],
      [turn('ab', 'text', false)],
      [turn('ab'), turn('')],
      [turn('ba')],
    ]
    expect(records.map((record) => set.add(record))).toEqual(records.map(() => false))
    expect(records.map((record) => set.add(record))).toEqual(records.map(() => true))
  })

  it('takes none of 300,000 records that differ in a number for another', () => {
    const set = duplicateSet()
    let found = 0
    for (let i = 0; i < 300_000; i++) if (set.add([turn(`The answer to question number ${i} is 42.`)])) found++
    expect(found).toBe(0)
  })
})
