import { expect, it } from 'vitest'
import { resolveOptions } from '../../src/pipeline/options.ts'

it.each([
  ['data/math.jsonl', 'math.selected.jsonl', 'math.winnow'],
  ['math.JSONL.gz', 'math.selected.jsonl.gz', 'math.winnow'],
  ['data/chats-*.parquet', 'chats.selected.parquet', 'chats.winnow'],
  ['data/*.csv', 'data.selected.csv', 'data.winnow'],
  ['*.json', 'pool.selected.json', 'pool.winnow'],
  ['notes.txt', 'notes.txt.selected.jsonl', 'notes.txt.winnow'],
])('%s is selected into %s and worked on in %s', (pool, out, run) => {
  expect(resolveOptions({ pool: [pool], budget: '30%' })).toMatchObject({ out, run })
})
