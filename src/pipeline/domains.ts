/** The domain test: how far each source of the pool is from the target, as a transport cost. */

import type { EpsilonPolicy } from '../methods/method.ts'
import { workerThreads } from '../parallel/threads.ts'
import { randomStream, sample } from '../random/philox.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { type Signal, signal } from '../signals/signal.ts'
import type { Vectors } from '../similarity/vectors.ts'
import { sampleCost } from '../transport/cost.ts'
import { openScorer } from '../transport/scorer.ts'
import { sinkhorn } from '../transport/sinkhorn.ts'
import { type Context, notify, perform } from './context.ts'
import type { Embedded, Sides } from './embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import { memoryBytes } from './pool-options.ts'
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
  /** Median over target rows of the cost to the nearest row of the pool that was drawn, and to the nearest row of the target's other half. */
  nearest: { pool: number; target: number | null }
  /** Whether every transport problem reached its marginal error. */
  converged: boolean
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

/** Some rows of a matrix in memory, by their places in it. */
function rowsOf({ data, d }: Vectors, places: Uint32Array): Vectors {
  const some = new Float32Array(places.length * d)
  places.forEach((place, i) => {
    some.set(data.subarray(place * d, (place + 1) * d), i * d)
  })
  return { data: some, n: places.length, d }
}

const median = (values: Float32Array): number => values.toSorted()[values.length >> 1]

interface Test {
  rows: number
  /** Without it, the pool is one domain. */
  source?: Signal
  vectors: Sides<Embedded>
  /** Of the vectors and of the sources. */
  hashes: Record<string, string>
  normalise: boolean
  sample: number
  epsilon: EpsilonPolicy
}

/**
 * The `distance` signal [N]: the transport cost <P, C> between each row's source and the target. One problem for each source, over all rows that
 * were drawn of it, equal texts counted as often as they stand there.
 */
export async function testDomains(
  context: Context<ResolvedOptions>,
  { rows, source, vectors, hashes, normalise, sample: most, epsilon: policy }: Test,
): Promise<{ signal: Signal; facts: DomainFacts; hash: string }> {
  const { options } = context
  const { seed } = options
  const labels = source?.labels ?? ['']
  const result = await perform<Json>(context, {
    name: 'domains',
    version: 2,
    inputs: hashes,
    options: { sample: most, epsilon: policy, normalise, seed, memoryLimit: memoryBytes(options.memoryLimit) ?? null },
    async execute(_, progress) {
      const parallel = workerThreads(options.threads)
      const reading = { normalise, signal: context.signal }
      const members: number[][] = labels.map(() => [])
      for (const row of rowsWithVector(vectors.pool)) members[source?.data[row] ?? 0].push(row)
      const drawn = members.map((list, code) => drawRows(Uint32Array.from(list), most, seed, 'domain sample', code))
      const target = await gatherVectors(
        vectors.target.files,
        drawRows(rowsWithVector(vectors.target), TARGET_SAMPLE, seed, 'domain target'),
        reading,
      )
      const everything = await gatherVectors(
        vectors.pool.files,
        drawRows(Uint32Array.from(drawn.flatMap((list) => [...list])).sort(), most, seed, 'domain cost'),
        reading,
      )
      const cost = sampleCost(target, everything, { seed })
      const epsilon = absoluteEpsilon(policy, cost)
      let converged = true
      const solve = async (candidates: Vectors, targets = target): Promise<number> => {
        const solved = await sinkhorn(
          { targets, candidates },
          {
            ...{ epsilon, threshold: THRESHOLD, rankTolerance: Number.POSITIVE_INFINITY, parallel },
            memoryLimit: memoryBytes(options.memoryLimit),
            signal: context.signal,
          },
        )
        converged &&= solved.converged
        return solved.transportCost
      }
      /** Cost of each of `rows` to the nearest of `others`. */
      const nearestCosts = async (others: Vectors, of: Vectors): Promise<Float32Array> => {
        const none = new Float64Array(others.n)
        await using scorer = await openScorer({ targets: others, targetPotential: none, epsilon }, { parallel })
        return (await scorer.score(of.data)).nearestCost
      }
      const nearest = new Float32Array(target.n).fill(Number.POSITIVE_INFINITY)
      const distances: DomainFacts['distances'] = []
      for (const [code, list] of drawn.entries()) {
        progress({ fraction: code / labels.length, detail: labels[code] })
        const named = { name: labels[code], rows: members[code].length, sampled: list.length }
        if (list.length === 0) {
          distances.push({ ...named, distance: null })
          continue
        }
        const candidates = await gatherVectors(vectors.pool.files, list, reading)
        distances.push({ ...named, distance: await solve(candidates) })
        for (const [i, found] of (await nearestCosts(candidates, target)).entries())
          nearest[i] = Math.min(nearest[i], found)
      }
      // A target may be sorted: its halves are drawn.
      const places = Uint32Array.from({ length: target.n }, (_, place) => place)
      const shuffled = sample(places, target.n, randomStream(seed, 'domain halves'))
      const half = target.n >> 1
      const [one, other] = [rowsOf(target, shuffled.subarray(0, half)), rowsOf(target, shuffled.subarray(half))]
      const facts: DomainFacts = {
        epsilon,
        distances,
        ...(half >= 2 && { self: await solve(other, one) }),
        unrelated: cost.mean,
        nearest: { pool: median(nearest), target: half >= 2 ? median(await nearestCosts(other, one)) : null },
        converged,
      }
      return { outputs: [], value: facts }
    },
    summary: (value) => {
      const { distances } = value as DomainFacts
      const shown = (distance: number | null) => distance?.toFixed(3) ?? 'not known'
      if (source === undefined) return `the pool is at ${shown(distances[0].distance)} from the target`
      const first = byDistance(distances).slice(0, 2)
      return `nearest: ${first.map(({ name, distance }) => `${name || '(none)'} ${shown(distance)}`).join(', ')}`
    },
  })
  const facts = result.value as DomainFacts
  if (!facts.converged)
    notify(context, {
      code: 'domains-not-converged',
      message: `some distances of the domain test did not settle at epsilon ${facts.epsilon.toPrecision(3)}; a larger --epsilon converges faster`,
    })
  const distance = Float64Array.from(
    { length: rows },
    (_, row) => facts.distances[source?.data[row] ?? 0].distance ?? Number.NaN,
  )
  const { pool: near, target: own } = facts.nearest
  return {
    signal: signal('distance', distance, { provenance: { near, own, unrelated: facts.unrelated } }),
    facts,
    hash: hashJson({ test: result.hash, source: hashes.source ?? '' }),
  }
}
