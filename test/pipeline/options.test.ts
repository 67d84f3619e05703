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

const methods = ['facility-location', 'k-center', 'semdedup']
it.each([
  ['start', 'nano', 'no-such-checkpoint'],
  [13, 'nano', 'no-such-checkpoint'],
  ['start', './model', 'no-checkpoints'],
  ['early', './model', 'no-checkpoints'],
  [1, './model', 'no-checkpoints'],
] as const)('hidden states at checkpoint %s of %s are refused before anything is read', (checkpoint, proxy, code) => {
  for (const method of methods) {
    const asked = { pool: ['pool.jsonl'], budget: '10', method, proxy, methodOptions: { checkpoint } }
    expect(() => resolveOptions({ ...asked, embedding: 'proxy' })).toThrow(
      expect.objectContaining({ fault: expect.objectContaining({ code, path: '--checkpoint' }) }),
    )
    // Where the proxy is not the embedding nobody reads it.
    expect(() => resolveOptions(asked)).not.toThrow()
  }
})

it('hidden states at the last checkpoint, an early one or one of twelve of nano are not refused', () => {
  for (const checkpoint of ['auto', 'late', 'early', 12])
    for (const method of methods)
      resolveOptions({ pool: ['p.jsonl'], budget: '1', method, embedding: 'proxy', methodOptions: { checkpoint } })
})
