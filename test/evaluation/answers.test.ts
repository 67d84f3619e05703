import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { extractAnswer, needsProgram, plainAnswer, programSource, sameAnswer } from '../../src/evaluation/answers.ts'
import { answers, pairs } from './answers.cases.ts'

describe('an answer', () => {
  it.each(answers)('of %j is %j', (text, answer) => {
    expect(extractAnswer(text)).toBe(answer)
  })

  it.each(pairs)('%j for %j: %j', (found, truth, same, tolerance) => {
    expect(sameAnswer(found, truth, tolerance === undefined ? {} : { tolerance })).toBe(same)
  })

  it('that is a number is found again, however it is written', () => {
    const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }))
    fc.assert(
      fc.property(number, (value) => {
        const answer = extractAnswer(`After 3 steps: 4. The answer is ${value}.`)
        expect(Number(answer)).toBe(value === 0 ? 0 : value)
      }),
      { examples: [[1e-7], [-1.5], [1234567]] },
    )
  })

  it('is the same with commas of thousands and with zeros at the end', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 52), max: 2 ** 52 }), (value) => {
        expect(extractAnswer(value.toLocaleString('en'))).toBe(String(value))
        expect(sameAnswer(`${value.toLocaleString('en')}.00 dollars`, String(value))).toBe(true)
        expect(sameAnswer(String(value), String(value + 1))).toBe(false)
      }),
      { examples: [[999], [-1000], [0]] },
    )
  })

  it('is right for itself, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'12.,/-$%\\{}() aBx=e') }), (text) => {
        expect(sameAnswer(text, text)).toBe(true)
      }),
    )
  })

  it('is not changed by being made plain twice', () => {
    const around = [
      ['', ''],
      ['$', ''],
      ['\\(', '\\)'],
      ['\\\\(', '\\\\)'],
      ['$\\text{', ' cm}$'],
      ['x = ', '.'],
      ['(', ')'],
      ['', '%'],
      ['', ' square metres'],
      ['Rs. ', '!'],
    ] as const
    const content = fc.oneof(
      fc.integer().map(String),
      fc.integer().map((value) => value.toLocaleString('en')),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((value) => value.toFixed(3)),
      fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 99 })).map(([a, b]) => `\\frac{${a}}{${b}}`),
      fc.constantFrom('B', 'x', 'yes', 'a + b', '\\sqrt{2}', 'x^2'),
    )
    fc.assert(
      fc.property(fc.constantFrom(...around), content, ([before, after], inner) => {
        const plain = plainAnswer(`${before}${inner}${after}`)
        expect(plainAnswer(plain)).toBe(plain)
      }),
      { numRuns: 500 },
    )
  })

  it('costs time in proportion to the text', () => {
    for (const text of [
      '1'.repeat(200_000),
      '\\boxed{'.repeat(50_000),
      'The answer is '.repeat(20_000),
      '1,'.repeat(100_000),
    ])
      expect(typeof extractAnswer(text)).toMatch(/string|undefined/)
  })
})

describe('a program', () => {
  it('is a text that prints', () => {
    expect(needsProgram('x = 3\nprint(x)')).toBe(true)
    expect(needsProgram('The answer is 3, in print (see there)')).toBe(false)
  })

  it('is taken out of its fence', () => {
    expect(programSource('Here:\n```python\nprint(1)\n```\nDone.')).toBe('print(1)\n')
    expect(programSource('```\nprint(1)\n```\nor\n```py\nprint(2)')).toBe('print(2)')
    expect(programSource('```\nx\n```\nprint(3)')).toBe('```\nx\n```\nprint(3)')
    expect(programSource('print(1)')).toBe('print(1)')
  })
})
