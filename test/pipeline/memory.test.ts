import { expect, it } from 'vitest'
import { memoryBytes } from '../../src/pipeline/pool-options.ts'

it.each([
  ['512MB', 512e6],
  ['2GB', 2e9],
  ['2GiB', 2 ** 31],
  ['1.5 kb', 1500],
  ['7B', 7],
  [undefined, undefined],
])('a memory limit of %s is %s bytes', (limit, bytes) => {
  expect(memoryBytes(limit)).toBe(bytes)
})
