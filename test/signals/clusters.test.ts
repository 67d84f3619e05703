import { describe, expect, test } from 'vitest'
import {
  type ClusterOptions,
  clusterRows,
  defaultClusterCount,
  evenColumns,
  type Kmeans,
  NO_CLUSTER,
  takeColumns,
} from '../../src/signals/clusters.ts'
import { categories, describeSignal, requireSignal, signal, stackColumns } from '../../src/signals/signal.ts'

const options: ClusterOptions = { clusters: 2, normalise: 'none', restarts: 1, iterations: 1, seed: 0 }

/** Points in turn to clusters 0 … k-1; centroids are the first k points. Remembers what it was given. */
function roundRobin() {
  const calls: { data: number[]; k: number }[] = []
  const kmeans: Kmeans = ({ data, n, d }, { k }) => {
    calls.push({ data: [...data], k })
    return { assignment: Uint32Array.from({ length: n }, (_, i) => i % k), centroids: data.slice(0, k * d), inertia: 1 }
  }
  return { calls, kmeans }
}

describe('clusters of rows', () => {
  test('leave out rows with a value that is not finite', async () => {
    const matrix = signal('m', Float32Array.from([1, 2, Number.NaN, 3, 4, 5, 6, Number.POSITIVE_INFINITY, 7, 8]), {
      columns: 2,
    })
    const { calls, kmeans } = roundRobin()
    const clusters = await clusterRows(matrix, options, kmeans)
    expect(calls).toEqual([{ data: [1, 2, 4, 5, 7, 8], k: 2 }])
    expect([...clusters.signal.data]).toEqual([0, NO_CLUSTER, 1, NO_CLUSTER, 0])
    expect([...clusters.sizes]).toEqual([2, 1])
    expect(clusters.quarantined).toBe(2)
    expect(clusters.signal.provenance).toMatchObject({ clusters: 2, of: 'm', within: null })
  })

  test('are made inside each group, with consecutive ids and no more than it has rows', async () => {
    const matrix = signal('m', Float32Array.from([1, 2, 3, 4, 5, 6]))
    const groups = categories('source', ['x', 'y', 'x', 'z', 'x', 'y'], 6)
    const { calls, kmeans } = roundRobin()
    const clusters = await clusterRows(matrix, options, kmeans, groups)
    expect(calls).toEqual([
      { data: [1, 3, 5], k: 2 },
      { data: [2, 6], k: 2 },
      { data: [4], k: 1 },
    ])
    expect([...clusters.signal.data]).toEqual([0, 2, 1, 4, 0, 3])
    expect([...clusters.groups!]).toEqual([0, 0, 1, 1, 2])
    expect([...clusters.sizes]).toEqual([2, 1, 1, 1, 1])
    expect(clusters.inertia).toBe(3)
  })

  test('normalise columns to mean 0 and deviation 1, and give centroids in the units they came in', async () => {
    const matrix = signal('m', Float32Array.from([1, 7, 3, 7, 5, 7, 7, 7]), { columns: 2 })
    const { calls, kmeans } = roundRobin()
    const clusters = await clusterRows(matrix, { ...options, normalise: 'standard' }, kmeans)
    const first = calls[0].data.filter((_, index) => index % 2 === 0)
    const constant = calls[0].data.filter((_, index) => index % 2 === 1)
    expect(first.reduce((total, value) => total + value, 0)).toBeCloseTo(0, 6)
    expect(first.reduce((total, value) => total + value ** 2, 0) / 4).toBeCloseTo(1, 6)
    expect(constant).toEqual([0, 0, 0, 0])
    Array.from(clusters.centroids.data).forEach((value, index) => {
      expect(value).toBeCloseTo([1, 7, 3, 7][index], 5)
    })
  })

  test('refuse more clusters than rows, and a matrix without any finite row', async () => {
    const { kmeans } = roundRobin()
    const few = clusterRows(signal('m', new Float32Array(1)), options, kmeans)
    await expect(few).rejects.toMatchObject({ fault: { code: 'too-many-clusters', found: '2', expected: 'at most 1' } })
    const none = clusterRows(signal('m', Float32Array.of(Number.NaN)), options, kmeans)
    await expect(none).rejects.toMatchObject({ fault: { code: 'nothing-to-cluster' } })
  })

  test('are floor(sqrt(N)) below 10,000 rows and 100 from there on', () => {
    expect([1, 2, 1500, 9999, 10_000, 5_000_000].map(defaultClusterCount)).toEqual([1, 1, 38, 99, 100, 100])
  })
})

test('even columns end with the last and are evenly spaced', () => {
  expect([...evenColumns(12, 4)]).toEqual([2, 5, 8, 11])
  expect([...evenColumns(12, 12)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  expect([...evenColumns(3, 12)]).toEqual([0, 1, 2])
  expect([...evenColumns(10, 4)]).toEqual([2, 4, 7, 9])
  const matrix = signal('m', Float32Array.from([0, 1, 2, 3, 10, 11, 12, 13]), { columns: 4, columnNames: [...'abcd'] })
  const taken = takeColumns(matrix, evenColumns(4, 2))
  expect([...taken.data]).toEqual([1, 3, 11, 13])
  expect(taken.columnNames).toEqual(['b', 'd'])
})

describe('a signal', () => {
  test('is stacked of columns, row by row', () => {
    const stacked = stackColumns('m', [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)])
    expect([...stacked.data]).toEqual([1, 4, 2, 5, 3, 6])
    expect(describeSignal(stacked)).toEqual({ name: 'm', rows: 3, columns: 2, type: 'Float32Array', provenance: {} })
    expect(() => stackColumns('m', [new Float32Array(3), new Float32Array(2)])).toThrow(/column 1 of signal m/)
  })

  test('of strings has codes in order of appearance', () => {
    const source = categories('source', ['b', 'a', undefined, 'b'], 4)
    expect([...source.data]).toEqual([0, 1, 2, 0])
    expect(source.labels).toEqual(['b', 'a', ''])
  })

  test('has the shape it says, and the rows of the pool', () => {
    expect(() => signal('m', new Float32Array(5), { columns: 2 })).toThrow(/another shape/)
    expect(() => requireSignal({ m: signal('m', new Float32Array(5)) }, 'm', 6)).toThrow(/another pool/)
    expect(() => requireSignal({}, 'm', 6)).toThrow(/found no signals/)
  })
})
