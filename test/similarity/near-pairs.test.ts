import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keepDistinct } from '../../src/similarity/near-pairs.ts'
import { NO_ROW } from '../../src/similarity/neighbours.ts'
import { referenceDistinct } from '../../src/similarity/reference.ts'
import { gatheredThreads } from '../parallel/gathered.ts'
import { clustered, lattice, vectorsOf } from './vectors.ts'

describe('the near-duplicate filter', () => {
  it('keeps a row unless a kept better one is near', async () => {
    // Rows 1 and 2 are near; 2 is near 0 no more, but 1, which it is near to, was not kept.
    const rows = vectorsOf([
      [1, 0],
      [0.8, 0.6],
      [0.28, 0.96],
      [1, 0],
      [0, 1],
    ])
    const { kept, absorbed } = await keepDistinct(rows, { threshold: 0.75 })
    expect([...kept]).toEqual([0, 2])
    expect([...absorbed]).toEqual([0, 0, 2, 0, 2])
  })

  it('stops at the limit, and says which rows it never looked at', async () => {
    const rows = vectorsOf([
      [1, 0],
      [1, 0],
      [0, 1],
      [0, -1],
    ])
    const { kept, absorbed } = await keepDistinct(rows, { threshold: 0.9, limit: 2 })
    expect([...kept]).toEqual([0, 2])
    expect([...absorbed]).toEqual([0, 0, 2, NO_ROW])
    expect((await keepDistinct(rows, { threshold: 0.9, limit: 0 })).kept.length).toBe(0)
  })

  it('never takes a vector of zeros for near', async () => {
    const rows = vectorsOf([
      [0, 0],
      [0, 0],
      [1, 0],
    ])
    expect([...(await keepDistinct(rows, { threshold: 0.1 })).kept]).toEqual([0, 1, 2])
  })

  it('equals the reference where float32 is exact', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          ...{ n: fc.integer({ min: 1, max: 120 }), d: fc.integer({ min: 1, max: 9 }), seed: fc.nat(1000) },
          ...{ threshold: fc.integer({ min: 1, max: 12 }), limit: fc.option(fc.nat(40), { nil: undefined }) },
        }),
        async ({ n, d, seed, threshold, limit }) => {
          const rows = lattice(n, d, seed, 2)
          expect(await keepDistinct(rows, { threshold, limit })).toEqual(referenceDistinct(rows, threshold, limit))
        },
      ),
      { numRuns: 80 },
    )
  })

  it('equals it over several blocks and slabs, on 1, 2 and 3 threads', async () => {
    const rows = lattice(3300, 12, 4, 2)
    const truth = referenceDistinct(rows, 20)
    // More kept than a slab has columns, more looked at than a block has rows.
    expect(truth.kept.length).toBeGreaterThan(1100)
    expect(truth.kept.length).toBeLessThan(3200)
    const alone = await keepDistinct(rows, { threshold: 20 })
    expect(alone).toEqual(truth)
    for (const threads of [2, 3]) {
      const wide = clustered(3000, 160, { clusters: 400, spread: 0.3 })
      const filtered = await keepDistinct(wide, { threshold: 0.9, parallel: gatheredThreads(threads) })
      expect(filtered).toEqual(await keepDistinct(wide, { threshold: 0.9 }))
      expect(filtered.kept.length).toBeLessThan(3000)
    }
  })

  it('reports blocks and stops when aborted, with the reason', async () => {
    const stop = new AbortController()
    const seen: number[] = []
    const running = keepDistinct(lattice(3000, 4, 1), {
      threshold: 5,
      signal: stop.signal,
      onProgress: ({ rows }) => {
        seen.push(rows)
        if (rows === 2048) stop.abort(new Error('enough'))
      },
    })
    await expect(running).rejects.toThrow('enough')
    expect(seen).toEqual([1024, 2048])
  })

  it.each([
    ['a threshold of 0', { threshold: 0 }],
    ['no threshold', { threshold: NaN }],
    ['a limit of -1', { threshold: 1, limit: -1 }],
  ])('refuses %s', async (_, options) => {
    await expect(keepDistinct(vectorsOf([[1]]), options)).rejects.toMatchObject({ fault: { code: 'distinct-option' } })
  })
})
