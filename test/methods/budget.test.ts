import { describe, expect, test } from 'vitest'
import { parseBudget, resolveBudget } from '../../src/methods/budget.ts'

const resolve = (text: string, rows = 1000, tokens = 100_000_000) => resolveBudget(parseBudget(text), { rows, tokens })

describe('a budget', () => {
  test.each([
    ['5000', 8000, { unit: 'rows', rows: 5000 }],
    ['30%', 1500, { unit: 'rows', rows: 450 }],
    ['30%', 8981, { unit: 'rows', rows: 2694 }],
    ['12.5 %', 80, { unit: 'rows', rows: 10 }],
    // 29 * 100 / 100 is 28.999999999999996 in floating point.
    ['29%', 100, { unit: 'rows', rows: 29 }],
    ['0.1%', 1000, { unit: 'rows', rows: 1 }],
    ['100%', 7, { unit: 'rows', rows: 7 }],
    ['2Mtok', 1, { unit: 'tokens', tokens: 2_000_000 }],
    ['500ktok', 1, { unit: 'tokens', tokens: 500_000 }],
    ['1.5Mtok', 1, { unit: 'tokens', tokens: 1_500_000 }],
    ['300 tokens', 1, { unit: 'tokens', tokens: 300 }],
    ['0.05Gtok', 1, { unit: 'tokens', tokens: 50_000_000 }],
  ] as const)('of %s in a pool of %i rows is %o', (text, rows, expected) => {
    expect(resolve(text, rows)).toEqual(expected)
  })

  test.each([
    ['0', 'selects nothing', undefined],
    ['0%', 'selects nothing', undefined],
    ['0Mtok', 'selects nothing', undefined],
    ['101%', 'more than the whole pool', undefined],
    ['-5', 'not understood', 'A budget is positive'],
    ['5,000', 'not understood', 'without separators: 5000'],
    ['5k', 'not understood', 'Write 5000 for rows, or 5ktok for tokens'],
    ['0.3', 'not a whole number of rows', 'write 30%'],
    ['1e3', 'not understood', '30% (of the rows)'],
    ['half', 'not understood', '30% (of the rows)'],
    ['', 'not understood', '30% (of the rows)'],
    ['1.0000001Mtok', 'not understood', undefined],
    ['0.5tok', 'not a whole number of tokens', undefined],
    ['5001', 'larger than the pool, which has 1000 rows', 'at most 1000'],
    ['200Mtok', 'larger than the pool, which has 100000000 tokens', 'at most 100000000tok'],
    ['0.01%', 'less than one of 1000 rows', 'larger share'],
  ])('of %j is refused: %s', (text, message, hint) => {
    let fault: unknown
    try {
      resolve(text)
    } catch (error) {
      expect(error).toMatchObject({ kind: 'usage', exitCode: 2 })
      fault = (error as { fault: unknown }).fault
    }
    expect(fault).toMatchObject({
      code: 'bad-budget',
      path: '--budget',
      found: text,
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint ?? ''),
    })
  })

  test('refuses tokens that hold not one row', () => {
    const pool = { rows: 10, tokens: 900, shortest: 30 }
    expect(resolveBudget(parseBudget('30tok'), pool)).toEqual({ unit: 'tokens', tokens: 30 })
    expect(() => resolveBudget(parseBudget('29tok'), pool)).toThrow('the shortest has 30 tokens')
  })
})
