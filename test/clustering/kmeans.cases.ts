/** Conformance cases of k-means: any implementation must pass them all. */

import { expect, it } from 'vitest'
import type { KMeansOptions, KMeansResult, Points } from '../../src/clustering/kmeans.ts'

type Implementation = (points: Points, options: KMeansOptions) => KMeansResult | Promise<KMeansResult>

/** Points from rows. */
export function pointsOf(rows: number[][]): Points {
  return { data: Float32Array.from(rows.flat()), n: rows.length, d: rows[0].length }
}

export function kmeansCases(run: Implementation): void {
  it('finds the means of two separate pairs', async () => {
    const result = await run(pointsOf([[0], [1], [10], [11]]), { k: 2, seed: 0, initial: Float32Array.of(0, 1) })
    expect([...result.centroids]).toEqual([0.5, 10.5])
    expect([...result.assignment]).toEqual([0, 0, 1, 1])
    expect([...result.sizes]).toEqual([2, 2])
    expect(result.inertia).toBe(1)
    // Round 1 gives 0 | 1 10 11, round 2 gives 0 1 | 10 11, round 3 changes nothing.
    expect(result.iterations).toBe(3)
  })

  it('gives a point between two centroids to the lower id', async () => {
    const initial = Float32Array.of(0, 2)
    const result = await run(pointsOf([[0], [2], [1]]), { k: 2, seed: 0, initial, iterations: 0 })
    expect([...result.assignment]).toEqual([0, 1, 0])
  })

  it('gives points between equal centroids to the lower id', async () => {
    const initial = Float32Array.of(5, 3, 3, 3)
    const result = await run(pointsOf([[3], [4], [5], [9]]), { k: 4, seed: 0, initial, iterations: 0 })
    expect([...result.assignment]).toEqual([1, 0, 0, 0])
    expect([...result.sizes]).toEqual([3, 1, 0, 0])
  })

  it('tells centroids apart that are one in float32', async () => {
    const initial = Float64Array.of(1 + 2 ** -40, 1)
    const result = await run(pointsOf([[1], [2]]), { k: 2, seed: 0, initial, iterations: 0 })
    expect([...result.assignment]).toEqual([1, 0])
  })

  it('does not move anything in 0 iterations', async () => {
    const initial = Float64Array.of(0.25, 7)
    const result = await run(pointsOf([[0], [8]]), { k: 2, seed: 0, initial, iterations: 0 })
    expect([...result.centroids]).toEqual([0.25, 7])
    expect(result.inertia).toBe(0.0625 + 1)
    expect(result.iterations).toBe(0)
  })

  it('gives an empty cluster the point farthest from its centroid', async () => {
    const initial = Float32Array.of(1, 1000)
    const result = await run(pointsOf([[0], [1], [2], [10]]), { k: 2, seed: 0, initial, iterations: 1 })
    expect([...result.centroids]).toEqual([1, 10])
    expect([...result.sizes]).toEqual([3, 1])
  })

  it('repairs several empty clusters in id order, ties by row', async () => {
    const initial = Float32Array.of(0, 100, 200)
    const result = await run(pointsOf([[-4], [4], [0], [0]]), { k: 3, seed: 0, initial, iterations: 1 })
    expect([...result.centroids]).toEqual([0, -4, 4])
    expect([...result.assignment]).toEqual([1, 2, 0, 0])
  })

  it('leaves surplus clusters empty when points repeat', async () => {
    const result = await run(
      pointsOf([
        [1, 1],
        [1, 1],
        [2, 2],
        [2, 2],
        [1, 1],
      ]),
      { k: 4, seed: 3 },
    )
    expect(result.inertia).toBe(0)
    expect([...result.sizes].toSorted()).toEqual([0, 0, 2, 3])
    expect([...result.centroids].every(Number.isFinite)).toBe(true)
  })

  it('with k = 1 finds the mean', async () => {
    const result = await run(
      pointsOf([
        [1, 2],
        [3, 4],
        [8, 0],
      ]),
      { k: 1, seed: 5 },
    )
    expect([...result.centroids]).toEqual([4, 2])
    expect([...result.assignment]).toEqual([0, 0, 0])
    expect(result.inertia).toBe(34)
  })

  it('with k = n gives every distinct point its own cluster', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => [i * i, -i, i % 3])
    const result = await run(pointsOf(rows), { k: 40, seed: 11 })
    expect(result.inertia).toBe(0)
    expect(new Set(result.assignment).size).toBe(40)
  })

  it('stops once the centroids move no more than the tolerance', async () => {
    const points = pointsOf([[0], [1], [10], [11]])
    const result = await run(points, { k: 2, seed: 0, initial: Float32Array.of(0.4, 10.6), tolerance: 0.1 })
    expect(result.iterations).toBe(1)
    expect([...result.centroids]).toEqual([0.5, 10.5])
  })

  it('separates coordinates near the ends of float32', async () => {
    const rows = [
      [3e38, 0],
      [-3e38, 0],
      [2.9e38, 1e-45],
      [0, 1e-40],
      [0, 3e-40],
    ]
    const initial = Float32Array.from([3e38, 0, -3e38, 0, 0, 0, 0, 4e-40])
    const result = await run(pointsOf(rows), { k: 4, seed: 0, initial, iterations: 3 })
    expect([...result.assignment]).toEqual([0, 1, 0, 2, 3])
  })

  it('keeps the best of several restarts', async () => {
    const rows = Array.from({ length: 60 }, (_, i) => [10 * (i % 6) + 0.01 * i])
    const one = await run(pointsOf(rows), { k: 6, seed: 4, restarts: 1 })
    const many = await run(pointsOf(rows), { k: 6, seed: 4, restarts: 8 })
    expect(many.inertia).toBeLessThanOrEqual(one.inertia)
    // Six groups of ten points 0.06 apart.
    expect(many.inertia).toBeLessThan(2)
  })

  it.each([
    ['a value missing', { data: new Float32Array(5), n: 2, d: 3 }, { k: 1, seed: 0 }, 'points-shape'],
    ['no points', { data: new Float32Array(0), n: 0, d: 3 }, { k: 1, seed: 0 }, 'points-shape'],
    ['NaN', { data: Float32Array.of(0, 1, 2, NaN), n: 2, d: 2 }, { k: 1, seed: 0 }, 'non-finite-point'],
    ['Infinity', { data: Float32Array.of(Infinity), n: 1, d: 1 }, { k: 1, seed: 0 }, 'non-finite-point'],
    ['more clusters than points', { data: new Float32Array(2), n: 2, d: 1 }, { k: 3, seed: 0 }, 'clusters'],
    ['no clusters', { data: new Float32Array(2), n: 2, d: 1 }, { k: 0, seed: 0 }, 'clusters'],
    [
      'an initial of another shape',
      { data: new Float32Array(2), n: 2, d: 1 },
      { k: 2, seed: 0, initial: new Float32Array(3) },
      'initial-centroids',
    ],
    [
      'restarts from one initial',
      { data: new Float32Array(2), n: 2, d: 1 },
      { k: 1, seed: 0, initial: new Float32Array(1), restarts: 2 },
      'kmeans-option',
    ],
  ])('refuses %s', async (_, points, options, code) => {
    await expect((async () => run(points, options))()).rejects.toMatchObject({ fault: { code } })
  })
}
