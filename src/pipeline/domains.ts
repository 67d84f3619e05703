/** The domain test: how far each source of the pool is from the target, as a transport cost. */

import type { EpsilonPolicy } from '../methods/method.ts'
import { workerThreads } from '../parallel/threads.ts'
import { randomStream, sample } from '../random/philox.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { type Signal, signal } from '../signals/signal.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { sampleCost } from '../transport/cost.ts'
import { sinkhorn } from '../transport/sinkhorn.ts'
import { type Context, perform } from './context.ts'
import type { Embedded } from './embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import type { Pool } from './pool.ts'
import type { Sides } from './toward-target.ts'
import { gatherVectors } from './vector-files.ts'

/** Target rows that the test looks at, at most. */
const TARGET_SAMPLE = 2000
/** Of a cost's standard deviation: the regularisation of METHODS 2. */
const EPSILON_SHARE = 0.05
/** Marginal error that is good enough for a distance. */
const THRESHOLD = 1e-2

export type DomainFacts = {
  epsilon: number
  /** By code of the `source` signal; null where none of its rows has a vector. */
  distances: { name: string; rows: number; sampled: number; distance: number | null }[]
  /** One half of the target to the other; absent where it has fewer than 4 rows. */
  self?: number
  /** Mean cost of a target row and a pool row at random. */
  unrelated: number
}

/** Absolute epsilon of a policy. A cost that is the same everywhere has no scale: then a share of the cost itself. */
export const absoluteEpsilon = (
  policy: EpsilonPolicy,
  { mean, deviation }: { mean: number; deviation: number },
): number => (policy === 'auto' ? EPSILON_SHARE * (deviation > 1e-6 * mean ? deviation : mean) || 1e-3 : policy)

/** Nearest first; those without a distance last. */
export const byDistance = <D extends { distance: number | null }>(domains: readonly D[]): D[] =>
  domains.toSorted((a, b) => (a.distance ?? Number.MAX_VALUE) - (b.distance ?? Number.MAX_VALUE))

/** Rows [0, n) of which at most `most` are drawn, ascending. */
export function drawRows(rows: Uint32Array, most: number, seed: number, purpose: string, id = 0): Uint32Array {
  return rows.length <= most ? rows : sample(rows, most, randomStream(seed, purpose, id)).sort()
}

/** Rows that have a vector, ascending. */
export function rowsWithVector({ files, empty }: Embedded): Uint32Array {
  const without = new Set(empty)
  return Uint32Array.from({ length: files.rows }, (_, row) => row).filter((row) => !without.has(row))
}

/** Some rows of a matrix in memory. */
function rowsOf({ data, d }: Vectors, from: number, to: number): Vectors {
  return { data: data.subarray(from * d, to * d), n: to - from, d }
}

interface Test {
  pool: Pool
  vectors: Sides<Embedded>
  hashes: Record<string, string>
  normalise: boolean
  sample: number
  epsilon: EpsilonPolicy
}

/** The `distance` signal [N]: the transport cost <P, C> between each row's source and the target. Linear in the rows that are sampled. */
export async function testDomains(
  context: Context<ResolvedOptions>,
  { pool, vectors, hashes, normalise, sample: most, epsilon: policy }: Test,
): Promise<{ signal: Signal; facts: DomainFacts; hash: string }> {
  const { options } = context
  const { source } = pool
  const { rows } = pool.facts
  const labels = source?.labels ?? ['']
  const result = await perform<Json>(context, {
    name: 'domains',
    version: 1,
    inputs: hashes,
    options: { sample: most, epsilon: policy, normalise, seed: options.seed },
    async execute(_, progress) {
      const parallel = workerThreads(options.threads)
      const reading = { normalise, signal: context.signal }
      const members: number[][] = labels.map(() => [])
      for (const row of rowsWithVector(vectors.pool)) members[source?.data[row] ?? 0].push(row)
      const drawn = members.map((list, code) =>
        drawRows(Uint32Array.from(list), most, options.seed, 'domain sample', code),
      )
      const target = await gatherVectors(
        vectors.target.files,
        drawRows(rowsWithVector(vectors.target), TARGET_SAMPLE, options.seed, 'domain target'),
        reading,
      )
      const everything = await gatherVectors(
        vectors.pool.files,
        drawRows(Uint32Array.from(drawn.flatMap((list) => [...list])).sort(), most, options.seed, 'domain cost'),
        reading,
      )
      const cost = sampleCost(target, everything, { seed: options.seed })
      const solving = {
        epsilon: absoluteEpsilon(policy, cost),
        threshold: THRESHOLD,
        rankTolerance: Number.POSITIVE_INFINITY,
        parallel,
        signal: context.signal,
      }
      const distances: DomainFacts['distances'] = []
      for (const [code, list] of drawn.entries()) {
        progress({ fraction: code / labels.length, detail: labels[code] })
        const candidates = await gatherVectors(vectors.pool.files, list, reading)
        const distance =
          list.length === 0 ? null : (await sinkhorn({ targets: target, candidates }, solving)).transportCost
        distances.push({
          name: labels[code],
          rows: members[code].length,
          sampled: list.length,
          distance,
        })
      }
      const half = target.n >> 1
      const self =
        half < 2
          ? undefined
          : await sinkhorn({ targets: rowsOf(target, 0, half), candidates: rowsOf(target, half, 2 * half) }, solving)
      const facts: DomainFacts = {
        epsilon: solving.epsilon,
        distances,
        ...(self && { self: self.transportCost }),
        unrelated: cost.mean,
      }
      return { outputs: [], value: facts }
    },
    summary: (value) => {
      const { distances } = value as DomainFacts
      const shown = (distance: number | null) => distance?.toFixed(3) ?? 'not known'
      if (source === undefined) return `the pool is at ${shown(distances[0].distance)} from the target`
      const nearest = byDistance(distances).slice(0, 2)
      return `nearest: ${nearest.map(({ name, distance }) => `${name || '(none)'} ${shown(distance)}`).join(', ')}`
    },
  })
  const facts = result.value as DomainFacts
  const distance = Float64Array.from(
    { length: rows },
    (_, row) => facts.distances[source?.data[row] ?? 0].distance ?? Number.NaN,
  )
  return {
    signal: signal('distance', distance, { provenance: { self: facts.self ?? null, unrelated: facts.unrelated } }),
    facts,
    hash: hashJson({ test: result.hash, source: source === undefined ? '' : pool.hash }),
  }
}
