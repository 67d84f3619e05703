import { expect, it } from 'vitest'
import { exitCodeOf, faultOf, Interrupted, renderError } from '../../src/cli/fault.ts'
import { WinnowError } from '../../src/errors.ts'
import { screen } from './screen.ts'

it('a fault is laid out: where and what, details in a column, what to do', () => {
  const fault = {
    code: 'bad-row',
    message: 'the response is empty',
    file: 'pool.jsonl',
    line: 12,
    path: 'messages[2].content',
    found: 'nothing',
    expected: 'text',
    hint: 'Remove the row, or leave such rows out with --on-bad-row skip.',
  }
  const error = new WinnowError('input', fault)
  expect(renderError(error, screen({ columns: 40 }), { stack: true })).toBe(`error: pool.jsonl:12: the response is empty
  at        messages[2].content
  found     nothing
  expected  text
Remove the row, or leave such rows out
with --on-bad-row skip.
`)
  expect(faultOf(error)).toEqual(fault)
})

it('an unforeseen error shows its stack only when asked, and says where to report it', () => {
  const error = new TypeError('x is not a function')
  const short = renderError(error, screen({}), { stack: false })
  expect(short).toContain('unexpected error: x is not a function')
  expect(short).toContain('Please report it')
  expect(short).not.toContain('fault.test.ts')
  expect(renderError(error, screen({}), { stack: true })).toContain('fault.test.ts')
})

it('exit codes: 2 for usage and input, 1 for failures and defects, 128 + number for signals', () => {
  const of = (kind: 'usage' | 'input' | 'failure') => exitCodeOf(new WinnowError(kind, { code: 'x', message: 'x' }))
  expect([of('usage'), of('input'), of('failure'), exitCodeOf(new Error('x'))]).toEqual([2, 2, 1, 1])
  expect([exitCodeOf(new Interrupted('SIGINT')), exitCodeOf(new Interrupted('SIGTERM'))]).toEqual([130, 143])
})
