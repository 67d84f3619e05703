import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TRAINED_BIT } from '../../src/tokenizer/tokenizer.ts'
import { planBatches } from '../../src/training/batches.ts'
import { collate } from '../../src/training/collate.ts'
import { memoryRows } from './rows.ts'

const lengths = fc
  .array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 200 })
  .map((values) => Uint32Array.from(values))
const options = fc.record({
  tokensPerBatch: fc.integer({ min: 16, max: 2048 }),
  maxLength: fc.integer({ min: 8, max: 256 }),
  shuffle: fc.option(fc.record({ seed: fc.nat(), epoch: fc.nat(20) }), { nil: undefined }),
})

describe('planBatches', () => {
  it('puts every row into one batch, within the token bound unless it is alone', () => {
    fc.assert(
      fc.property(lengths, options, (rows, asked) => {
        const { batches, tokens, padded } = planBatches(rows, asked)
        const all = batches.flatMap((batch) => [...batch.rows])
        expect(all.sort((a, b) => a - b)).toEqual([...rows.keys()])
        for (const batch of batches) {
          const longest = Math.max(...Array.from(batch.rows, (row) => Math.min(rows[row], asked.maxLength)))
          expect(batch.length).toBe(Math.max(1, longest))
          if (batch.rows.length > 1) expect(batch.rows.length * batch.length).toBeLessThanOrEqual(asked.tokensPerBatch)
        }
        expect(tokens).toBe(rows.reduce((total, length) => total + Math.min(length, asked.maxLength), 0))
        expect(padded).toBe(batches.reduce((total, batch) => total + batch.rows.length * batch.length, 0))
      }),
    )
  })

  it('is the same for the same seed and epoch, and another for another', () => {
    const rows = Uint32Array.from({ length: 200 }, (_, i) => 20 + ((i * 37) % 90))
    const plan = (seed: number, epoch: number) =>
      planBatches(rows, { tokensPerBatch: 512, maxLength: 128, shuffle: { seed, epoch } }).batches
    expect(plan(1, 0)).toEqual(plan(1, 0))
    expect(plan(1, 0)).not.toEqual(plan(1, 1))
    expect(plan(1, 0)).not.toEqual(plan(2, 0))
  })

  it('wastes little on padding when lengths spread widely', () => {
    const rows = Uint32Array.from({ length: 2000 }, (_, i) => 16 + ((i * 7919) % 480))
    const { tokens, padded } = planBatches(rows, {
      tokensPerBatch: 4096,
      maxLength: 512,
      shuffle: { seed: 1, epoch: 0 },
    })
    expect(1 - tokens / padded).toBeLessThan(0.03)
  })

  it('uses only the rows it is given', () => {
    const plan = planBatches(Uint32Array.of(5, 6, 7, 8), {
      tokensPerBatch: 100,
      maxLength: 10,
      rows: Uint32Array.of(1, 3),
    })
    expect(plan.batches.flatMap((batch) => [...batch.rows])).toEqual([1, 3])
  })
})

describe('collate', () => {
  const trained = (id: number) => (id | TRAINED_BIT) >>> 0

  it('lists, row by row, the positions that predict a trained token, and keeps nothing after the last', () => {
    const rows = memoryRows([
      [3, 4, trained(5), trained(6)],
      [7, trained(8), 9, 10],
      [trained(11), 12],
    ])
    const batch = collate(rows, { rows: Uint32Array.of(0, 1, 2), length: 4 }, 512)
    expect(batch.shape).toEqual([3, 3])
    expect([...batch.tokens]).toEqual([3, 4, 5, 7, 0, 0, 0, 0, 0])
    expect([...batch.positions]).toEqual([1, 2, 3])
    expect([...batch.targets]).toEqual([5, 6, 8])
    // A first token has nothing before it to be predicted from.
    expect([...batch.labelsPerRow]).toEqual([2, 1, 0])
  })

  it('cuts rows at the longest length', () => {
    const batch = collate(memoryRows([[1, 2, trained(3), trained(4)]]), { rows: Uint32Array.of(0), length: 3 }, 3)
    expect([...batch.tokens]).toEqual([1, 2])
    expect([...batch.targets]).toEqual([3])
  })

  it('pads labels to a multiple of the chunks without counting them', () => {
    const batch = collate(
      memoryRows([[1, trained(2), trained(3), trained(4)]]),
      { rows: Uint32Array.of(0), length: 4 },
      512,
      { chunks: 2 },
    )
    expect(batch.positions).toHaveLength(4)
    expect([...batch.labelsPerRow]).toEqual([3])
  })

  it('pads positions and labels to the least that is asked, with empty rows', () => {
    const batch = collate(memoryRows([[1, trained(2), trained(3)]]), { rows: Uint32Array.of(0), length: 3 }, 512, {
      least: 5,
    })
    expect(batch.shape).toEqual([3, 2])
    expect(batch.positions).toHaveLength(5)
    expect([...batch.labelsPerRow]).toEqual([2])
  })
})
