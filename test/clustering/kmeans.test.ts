import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { kmeans, type Points } from '../../src/clustering/kmeans.ts'
import { referenceKmeans } from '../../src/clustering/reference.ts'
import { randomStream } from '../../src/random/philox.ts'
import { WebAssembly } from '../../src/webassembly/webassembly.ts'
import { kmeansCases } from './kmeans.cases.ts'

describe('the reference', () => kmeansCases(referenceKmeans))
describe('the accelerated', () => kmeansCases(kmeans))

/** Problems with structure, repeats and lattices, where ties and near ties are common. */
const problem = fc
  .record({
    n: fc.integer({ min: 1, max: 400 }),
    d: fc.integer({ min: 1, max: 20 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.nat(),
    lattice: fc.constantFrom(0, 1, 2, 10),
    scale: fc.constantFrom(1, 1e-20, 1e15),
    offset: fc.constantFrom(0, 0, 1000),
  })
  .map(({ n, d, share, seed, lattice, scale, offset }) => {
    const stream = randomStream(seed, 'test')
    const value = () => (lattice === 0 ? stream.normal() : Math.floor(stream.uniform() * lattice))
    const data = Float32Array.from({ length: n * d }, () => (value() + offset) * scale)
    return { points: { data, n, d }, k: 1 + Math.floor(share * (n - 1)), seed }
  })

describe('the accelerated k-means', () => {
  it('equals the reference bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ points, k, seed }) => {
        const options = { k, seed, restarts: 2, iterations: 8 }
        expect(await kmeans(points, options)).toEqual(referenceKmeans(points, options))
      }),
      { numRuns: 60 },
    )
  })

  it.each([
    { n: 5000, d: 12, k: 100, why: 'several blocks' },
    { n: 1500, d: 131, k: 17, why: 'long rows with a remainder' },
    { n: 900, d: 70, k: 300, why: 'several tiles in a group' },
    { n: 2500, d: 1, k: 40, why: 'one dimension' },
  ])('equals the reference on $n x $d, k = $k: $why', async ({ n, d, k }) => {
    const stream = randomStream(n, 'test')
    const points = { data: Float32Array.from({ length: n * d }, () => stream.normal()), n, d }
    const options = { k, seed: 1, restarts: 1, iterations: 12 }
    expect(await kmeans(points, options)).toEqual(referenceKmeans(points, options))
  })

  it('equals it without fused multiply-add too', async () => {
    const { points } = blobs(3000, 7, 30)
    const options = { k: 30, seed: 6, restarts: 1 }
    const refuse = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false)
    try {
      expect(await kmeans(points, options)).toEqual(referenceKmeans(points, options))
      expect(refuse).toHaveBeenCalledOnce()
    } finally {
      refuse.mockRestore()
    }
  })
})

describe('k-means', () => {
  it('never raises the inertia from one assignment to the next', () => {
    fc.assert(
      fc.property(problem, ({ points, k, seed }) => {
        let former = Infinity
        referenceKmeans(points, {
          k,
          seed,
          restarts: 1,
          onInertia: (inertia) => {
            // Rounding of the sums is all that may raise it.
            expect(inertia).toBeLessThanOrEqual(former * (1 + 1e-9) + Number.MIN_VALUE)
            former = inertia
          },
        })
      }),
      { numRuns: 60 },
    )
  })

  it('does not depend on the order of the points, given the same initial centroids', async () => {
    const { points, initial } = blobs(2000, 5, 12)
    const { n, d } = points
    const reversed = { data: new Float32Array(n * d), n, d }
    for (let i = 0; i < n; i++) reversed.data.set(points.data.subarray(i * d, i * d + d), (n - 1 - i) * d)
    const forth = await kmeans(points, { k: 12, seed: 0, initial })
    const back = await kmeans(reversed, { k: 12, seed: 0, initial })
    expect(back.inertia).toBeCloseTo(forth.inertia, 6)
    expect(back.assignment.toReversed()).toEqual(forth.assignment)
  })

  it('with every point doubled has double the inertia and sizes', async () => {
    const { points, initial } = blobs(1000, 3, 8)
    const doubled = { data: Float32Array.from([...points.data, ...points.data]), n: 2 * points.n, d: points.d }
    const once = await kmeans(points, { k: 8, seed: 0, initial })
    const twice = await kmeans(doubled, { k: 8, seed: 0, initial })
    expect(twice.inertia / once.inertia).toBeCloseTo(2, 9)
    expect([...twice.sizes]).toEqual([...once.sizes].map((size) => 2 * size))
  })

  it('gives other restarts for another seed and the same for the same', async () => {
    const { points } = blobs(500, 4, 9)
    const run = (seed: number) => kmeans(points, { k: 9, seed, restarts: 1 })
    expect(await run(7)).toEqual(await run(7))
    expect((await run(8)).centroids).not.toEqual((await run(7)).centroids)
  })

  it('reports every iteration of every restart', async () => {
    const { points } = blobs(300, 3, 5)
    const seen: string[] = []
    await kmeans(points, {
      k: 5,
      seed: 0,
      restarts: 2,
      iterations: 3,
      onProgress: ({ restart, iteration }) => seen.push(`${restart}.${iteration}`),
    })
    expect(seen.slice(0, 4)).toEqual(['0.0', '0.1', '0.2', '0.3'])
    expect(seen).toContain('1.0')
  })

  it('stops when aborted, with the reason', async () => {
    const { points } = blobs(300, 3, 5)
    const stop = new AbortController()
    const running = kmeans(points, {
      k: 5,
      seed: 0,
      signal: stop.signal,
      onProgress: ({ iteration }) => iteration === 1 && stop.abort(new Error('enough')),
    })
    await expect(running).rejects.toThrow('enough')
  })
})

/** Overlapping normal clouds, and points to start from. */
function blobs(n: number, d: number, k: number): { points: Points; initial: Float32Array } {
  const stream = randomStream(n, 'blobs')
  const centers = Float32Array.from({ length: k * d }, () => 4 * stream.normal())
  const data = Float32Array.from(
    { length: n * d },
    (_, i) => centers[(Math.floor(i / d) % k) * d + (i % d)] + stream.normal(),
  )
  return { points: { data, n, d }, initial: data.slice(0, k * d) }
}
