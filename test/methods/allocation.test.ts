import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { allocate, ascendingBySize, drawTokens } from '../../src/methods/allocation.ts'

const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0)
const sizes = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 40 })
const budget = fc.integer({ min: 0, max: 8000 })

describe('the balanced allocation', () => {
  test.each([
    [[2, 5, 10, 100], 20, [2, 5, 6, 7]],
    [[1, 1, 3, 50, 60], 40, [1, 1, 3, 17, 18]],
    [[10, 10, 10], 7, [2, 2, 3]],
    [[3, 4, 1000], 500, [3, 4, 493]],
    // In any order of the clusters, ties by cluster id.
    [[100, 5, 2, 10], 20, [7, 5, 2, 6]],
  ])('of clusters %j and budget %i takes %j', (clusterSizes, rows, expected) => {
    expect([...allocate(clusterSizes, rows)]).toEqual(expected)
  })

  test('takes min(B, N) rows in all, and of no cluster more than it has', () => {
    fc.assert(
      fc.property(sizes, budget, (clusterSizes, rows) => {
        const taken = allocate(clusterSizes, rows)
        expect(sum(taken)).toBe(Math.min(rows, sum(clusterSizes)))
        taken.forEach((count, index) => {
          expect(count).toBeLessThanOrEqual(clusterSizes[index])
        })
      }),
    )
  })

  test('takes of every larger cluster at least as many as of a smaller one', () => {
    fc.assert(
      fc.property(sizes, budget, (clusterSizes, rows) => {
        const taken = allocate(clusterSizes, rows)
        const ascending = ascendingBySize(clusterSizes).map((index) => taken[index])
        expect(ascending).toEqual([...ascending].sort((a, b) => a - b))
      }),
    )
  })

  test('takes of clusters it does not exhaust counts that differ by at most one', () => {
    fc.assert(
      fc.property(sizes, budget, (clusterSizes, rows) => {
        const taken = allocate(clusterSizes, rows)
        const partial = [...taken].filter((count, index) => count < clusterSizes[index])
        if (partial.length > 0) expect(Math.max(...partial) - Math.min(...partial)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('takes of no cluster less when the budget grows', () => {
    fc.assert(
      fc.property(sizes, budget, fc.integer({ min: 1, max: 50 }), (clusterSizes, rows, more) => {
        const before = allocate(clusterSizes, rows)
        const after = allocate(clusterSizes, rows + more)
        before.forEach((count, index) => {
          expect(after[index]).toBeGreaterThanOrEqual(count)
        })
      }),
    )
  })
})

describe('a draw by tokens', () => {
  /** Rows 0, 1, 2, … dealt to clusters of the given lengths. */
  const grouped = (lengths: number[][]) => {
    let row = 0
    const groups = lengths.map((cluster) => Uint32Array.from(cluster, () => row++))
    return { groups, tokens: Uint32Array.from(lengths.flat()) }
  }

  test('gives clusters of equal rows the counts of the allocation by rows', () => {
    const lengths = [2, 5, 10, 100].map((size) => new Array<number>(size).fill(10))
    const { groups, tokens } = grouped(lengths)
    const drawn = drawTokens(groups, tokens, 200)
    expect(groups.map((group) => group.filter((row) => drawn.includes(row)).length)).toEqual([2, 5, 6, 7])
  })

  test('stops at the first row that exceeds the offer, rather than look for a shorter one', () => {
    // Offered 50 the first cluster takes 30; the 5 behind the second 30 would fit. The other cluster has the 70 left.
    const { groups, tokens } = grouped([[30, 30, 5], new Array(10).fill(10)])
    expect([...drawTokens(groups, tokens, 100)].sort((a, b) => a - b)).toEqual([0, 3, 4, 5, 6, 7, 8, 9])
  })

  test('passes over a row longer than the whole offer', () => {
    // Offered 50 the first cluster takes 40, and leaves 60 for six of the other.
    const { groups, tokens } = grouped([[1000, 40], new Array(200).fill(10)])
    expect([...drawTokens(groups, tokens, 100)].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  test('spends what is left over on rows that still fit', () => {
    // Offered 33, 39 and 40 they take 21, 21 + 18 and 21 + 1; the 18 left over are the first one's next row.
    const { groups, tokens } = grouped([
      [21, 18, 18],
      [21, 18, 20],
      [21, 50, 1],
    ])
    expect([...drawTokens(groups, tokens, 100)].sort((a, b) => a - b)).toEqual([0, 1, 3, 4, 6, 8])
  })

  test('offers what no cluster could take alone to them whole', () => {
    const { groups, tokens } = grouped([[100], [101]])
    expect([...drawTokens(groups, tokens, 100)]).toEqual([0])
  })

  const lengths = fc.array(fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 30 }), {
    minLength: 1,
    maxLength: 12,
  })

  test('never exceeds the budget, takes no row twice, and leaves no row that would still fit', () => {
    fc.assert(
      fc.property(lengths, budget, fc.boolean(), (rowLengths, limit, stratified) => {
        const { groups, tokens } = grouped(rowLengths)
        const half = groups.length >> 1
        const strata = stratified && half > 0 ? [groups.slice(0, half), groups.slice(half)] : groups
        const drawn = drawTokens(strata, tokens, limit)
        const spent = sum(drawn.map((row) => tokens[row]))
        expect(spent).toBeLessThanOrEqual(limit)
        expect(new Set(drawn).size).toBe(drawn.length)
        tokens.forEach((length, row) => {
          if (!drawn.includes(row)) expect(length).toBeGreaterThan(limit - spent)
        })
      }),
    )
  })
})
