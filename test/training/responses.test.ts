import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { responsesAlone } from '../../src/training/responses.ts'
import { windowLabels } from '../../src/training/trajectories.ts'
import { memoryRows } from './rows.ts'

/** Negative ids are trained. */
const rowsOf = (rows: number[][]) =>
  memoryRows(rows.map((row) => row.map((id) => (id < 0 ? (-id | TRAINED_BIT) >>> 0 : id))))
const plain = (tokens: Uint32Array) =>
  Array.from(tokens, (token) => (token >= TRAINED_BIT ? -(token & ~TRAINED_BIT) : token))

test('a response alone is its trained tokens behind the token that begins a text', () => {
  const rows = responsesAlone(rowsOf([[1, 2, -3, -4], [5, -6, 7, -8], [9, 9], []]), {
    maxLength: 8,
    lead: { bosId: 1 },
  })
  expect([0, 1, 2, 3].map((row) => plain(rows.read(row)))).toEqual([[1, -3, -4], [1, -6, -8], [], []])
  expect([...rows.lengths]).toEqual([3, 3, 0, 0])
  expect([...windowLabels(rows, 8)]).toEqual([2, 2, 0, 0])
})

test('without such a token the first one of the response carries no loss', () => {
  const rows = responsesAlone(
    rowsOf([
      [1, 2, -3, -4],
      [1, -2],
    ]),
    { maxLength: 8, lead: 'nothing' },
  )
  expect(plain(rows.read(0))).toEqual([-3, -4])
  expect([...windowLabels(rows, 8)]).toEqual([1, 0])
})

test('of nano stands behind its role marker, one for each turn', () => {
  const rows = responsesAlone(
    rowsOf([
      [4, 2, 1, 5, -3, -1, 4, 2, 1, 5, -6, -1],
      [-7, -8],
    ]),
    { maxLength: 11, lead: 'marker' },
  )
  expect(plain(rows.read(0))).toEqual([5, -3, -1, 5, -6])
  expect(plain(rows.read(1))).toEqual([-7, -8])
  expect([...rows.lengths]).toEqual([5, 2])
  expect([...windowLabels(rows, 11)]).toEqual([3, 1])
})

test('has the tokens that are scored with the prompt, of any window', () => {
  const row = fc.array(
    fc.integer({ min: -9, max: 9 }).map((id) => id || 1),
    { maxLength: 12 },
  )
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), fc.integer({ min: 2, max: 12 }), (pool, maxLength) => {
      const rows = responsesAlone(rowsOf(pool), { maxLength, lead: { bosId: 1 } })
      pool.forEach((ids, i) => {
        const seen = ids.slice(0, maxLength).filter((id) => id < 0)
        expect(plain(rows.read(i))).toEqual(seen.length === 0 ? [] : [1, ...seen])
        expect(rows.lengths[i]).toBe(rows.read(i).length)
        expect(rows.labels[i]).toBe(seen.length)
      })
    }),
  )
})
