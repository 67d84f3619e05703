/** Test sets as they are named on the command line. */

import { basename } from 'node:path'
import { WinnowError } from '../errors.ts'
import { poolName } from '../pipeline/pool-options.ts'

export interface TestSet {
  name: string
  file: string
  /** Sets of one group are averaged: `in` of `in:gsm8k=file`. */
  group?: string
}

/**
 * `name=file`, `group:name=file`, or a file, which is named by itself.
 *
 * @throws {WinnowError} `no-test`, `repeated-test`.
 */
export function parseTestSets(given: readonly string[], expected: string): TestSet[] {
  if (given.length === 0)
    throw new WinnowError('usage', {
      code: 'no-test',
      message: 'no test set was given',
      path: '--test',
      expected,
      hint: 'For example: --test test.jsonl, or --test math=gsm8k/test.jsonl --test notes=notes.csv.',
    })
  const sets = given.map((text): TestSet => {
    const match = /^(?:([\w-]+):)?([\w.-]+)=(.+)$/s.exec(text)
    if (match === null) return { name: poolName(text).stem, file: text }
    const [, group, name, file] = match
    return { name, file, ...(group !== undefined && { group }) }
  })
  const names = sets.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined)
    throw new WinnowError('usage', {
      code: 'repeated-test',
      message: 'two test sets have the same name',
      path: '--test',
      found: twice,
      hint: `Name them: --test ${twice}-1=${basename(sets[0].file)}.`,
    })
  return sets
}
