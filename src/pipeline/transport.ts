/** The stages of GOT-D's scores: one transport problem on a sample of the candidates, then every row's potential in one streaming pass. */

import { readFile } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import type { ResolvedBudget } from '../methods/budget.ts'
import { copiesOf, distinctCandidates } from '../methods/candidates.ts'
import { type DomainDistance, domainDistances, nearestDomains } from '../methods/domains.ts'
import type { SignalNeed } from '../methods/method.ts'
import { workerThreads } from '../parallel/threads.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, signal } from '../signals/signal.ts'
import { sampleCost } from '../transport/cost.ts'
import { openScorer } from '../transport/scorer.ts'
import { sinkhorn } from '../transport/sinkhorn.ts'
import { type Context, notify, perform } from './context.ts'
import type { Copies } from './copies.ts'
import { absoluteEpsilon, drawRows, rowsWithVector } from './domains.ts'
import type { Embedded, Sides } from './embeddings.ts'
import type { ResolvedOptions } from './options.ts'
import { memoryBytes } from './pool-options.ts'
import { blockRows, gatherVectors, vectorBlocks } from './vector-files.ts'

/** Target rows of a problem, at most; of more, as many are drawn. */
const MOST_TARGETS = 10_000
/** Rows of a part of the scores: what a killed run computes again, at most. */
const PART_ROWS = 262_144

export type TransportNeed = Extract<SignalNeed, { signal: 'potential' }>

export type TransportFacts = {
  epsilon: number
  /** Of a random pair of a target and a candidate row. */
  cost: { mean: number; deviation: number }
  /** Rows of the problem that was solved. */
  targets: number
  candidates: number
  iterations: number
  marginalError: number
  converged: boolean
  relaxation: number
  transportCost: number
  regularisedCost: number
}

export interface Scored {
  signals: { potential: Signal; nearest: Signal; nearest_cost: Signal; candidate: Signal }
  facts: TransportFacts
  hash: string
}

interface Scoring {
  need: TransportNeed
  rows: number
  /** Without it, the pool is one domain. */
  source?: Signal
  vectors: Sides<Embedded>
  /** Of the vectors. */
  hashes: Record<string, string>
  distance: { signal: Signal; hash: string }
  copies?: Copies
  normalise: boolean
  budget: ResolvedBudget
  /** Tokens of each row. */
  tokens: ArrayLike<number>
  /** Rows of a part. Default 262,144. */
  partRows?: number
}

/** The `potential` signal [N] and what comes with it. */
export async function scoreCandidates(context: Context<ResolvedOptions>, scoring: Scoring): Promise<Scored> {
  const { rows } = scoring
  const candidate = candidatesOf(context, scoring)
  const solved = await solve(context, scoring, candidate)
  const { outputs, hash } = await scoreRows(context, scoring, solved)
  const [potential, nearest, nearestCost] = await Promise.all(
    outputs.map(async ({ path }) => readNpy(await readFile(context.run.path(path))).data),
  )
  const { epsilon, candidates } = solved.facts
  const provenance = { epsilon, candidates, targets: solved.facts.targets, hash }
  return {
    signals: {
      potential: signal('potential', potential, { rows, provenance }),
      nearest: signal('nearest', nearest, { rows }),
      nearest_cost: signal('nearest_cost', nearestCost, { rows }),
      candidate: signal('candidate', candidate, { rows }),
    },
    facts: solved.facts,
    hash: hashJson({ scores: hash, solved: solved.hash }),
  }
}

/** [N] 1 for the rows of the sources that are kept, but for those without a vector. */
function candidatesOf(
  context: Context,
  { need, rows, source, vectors, distance, copies, budget, tokens }: Scoring,
): Uint8Array {
  const hasVector = new Uint8Array(rows).fill(1)
  for (const row of vectors.pool.empty) hasVector[row] = 0
  const counts = hasVector.map((one, row) => Number(one !== 0 && tokens[row] > 0 && (copies?.counts[row] ?? 1) > 0))
  const domains = domainDistances(distance.signal, source, { counts, tokens })
  const asked =
    budget.unit === 'rows'
      ? { asked: budget.rows, sizeOf: (domain: DomainDistance) => domain.rows }
      : { asked: budget.tokens, sizeOf: (domain: DomainDistance) => domain.tokens }
  const { codes, beyond } = nearestDomains(domains, need.domains, asked)
  if (beyond > 0)
    notify(context, {
      code: 'more-domains',
      message: `the 2 nearest sources hold less than twice the budget: ${beyond === 1 ? 'another one was' : `${beyond.toLocaleString('en')} more were`} kept (--domains 2 keeps to two)`,
    })
  return hasVector.map((one, row) => Number(one !== 0 && codes.has(source?.data[row] ?? 0)))
}

const noCandidates = () =>
  new WinnowError('input', {
    code: 'no-candidates',
    message: 'no row of the pool that is near the target has anything that the embedding knows',
    hint: 'Check the texts of the pool, name another --embedding, or say --domains all.',
  })

interface Solved {
  /** Target rows of the problem, ascending. */
  targets: Uint32Array
  potential: Float64Array
  facts: TransportFacts
  hash: string
}

async function solve(
  context: Context<ResolvedOptions>,
  { need, vectors, hashes, distance, copies, normalise }: Scoring,
  candidate: Uint8Array,
): Promise<Solved> {
  const { options, run } = context
  const collapsed = need.collapse ? copies?.signal.data : undefined
  const eligible = distinctCandidates(candidate, collapsed)
  if (eligible.length === 0) throw noCandidates()
  const chosen = drawRows(eligible, need.sample, options.seed, 'transport sample')
  const wanted = rowsWithVector(vectors.target)
  const targets = drawRows(wanted, MOST_TARGETS, options.seed, 'transport target')
  if (targets.length < wanted.length)
    notify(context, {
      code: 'target-sampled',
      message: `of ${wanted.length.toLocaleString('en')} target rows, ${MOST_TARGETS.toLocaleString('en')} are drawn for the transport problem`,
    })
  const { sample, epsilon: policy, relaxation, threshold, iterations, unbalanced } = need
  const weights = collapsed && copiesOf(chosen, candidate, collapsed)
  const result = await perform<Json>(context, {
    name: 'transport',
    version: 2,
    inputs: { ...hashes, distance: distance.hash },
    options: {
      ...{ sample, epsilon: policy, relaxation, threshold, iterations, unbalanced, normalise },
      collapse: need.collapse,
      candidates: hashJson(Array.from(chosen)),
      weights: weights ? hashJson(Array.from(weights)) : null,
      // Whether the matrix is kept or computed anew decides the last digits.
      memoryLimit: memoryBytes(options.memoryLimit) ?? null,
      seed: options.seed,
    },
    async execute(work, progress) {
      const reading = { normalise, signal: context.signal }
      const problem = {
        targets: await gatherVectors(vectors.target.files, targets, reading),
        candidates: await gatherVectors(vectors.pool.files, chosen, reading),
        ...(weights && { candidateWeights: weights }),
      }
      const cost = sampleCost(problem.targets, problem.candidates, { seed: options.seed })
      const epsilon = absoluteEpsilon(policy, cost)
      const solved = await sinkhorn(problem, {
        ...{ epsilon, threshold, iterations },
        ...(relaxation !== 'auto' && { relaxation }),
        memoryLimit: memoryBytes(options.memoryLimit),
        ...(unbalanced !== 'none' && { unbalanced }),
        parallel: workerThreads(options.threads),
        signal: context.signal,
        onProgress: ({ iteration, marginalError }) =>
          progress({
            // The error falls geometrically, so that its logarithm tells how far the way is.
            fraction: Math.min(0.99, Math.max(0, Math.log(marginalError / 2) / Math.log(threshold / 2)) || 0),
            detail: `iteration ${iteration}${Number.isFinite(marginalError) ? `, marginal error ${marginalError.toExponential(1)}` : ''}`,
          }),
      })
      const file = `signals/transport/${work.key.slice(0, 12)}/target-potential.npy`
      const output = await work.write(file, writeNpy({ shape: [targets.length], data: solved.targetPotential }))
      const facts: TransportFacts = {
        epsilon,
        cost,
        targets: targets.length,
        candidates: chosen.length,
        iterations: solved.iterations,
        marginalError: solved.marginalError,
        converged: solved.converged,
        relaxation: solved.relaxation,
        transportCost: solved.transportCost,
        regularisedCost: solved.regularisedCost,
      }
      return { outputs: [output], value: facts }
    },
    summary: (value) => {
      const { targets: m, candidates: n, epsilon, iterations: steps, marginalError } = value as TransportFacts
      return `${m.toLocaleString('en')} x ${n.toLocaleString('en')}, epsilon ${epsilon.toPrecision(3)}, ${steps} iterations, marginal error ${marginalError.toExponential(1)}`
    },
  })
  const facts = result.value as TransportFacts
  if (!facts.converged)
    notify(context, {
      code: 'not-converged',
      message: `the transport problem stopped after ${facts.iterations} iterations with a marginal error of ${facts.marginalError.toExponential(1)}; a larger --epsilon converges faster`,
    })
  await run.update({ facts: { transport: facts } })
  const { data } = readNpy(await readFile(run.path(result.outputs[0].path)))
  return { targets, potential: data as Float64Array, facts, hash: result.hash }
}

/** Potential, nearest target row and its cost of every row of the pool; the whole arrays are the outputs, in this order. */
async function scoreRows(
  context: Context<ResolvedOptions>,
  { need, vectors, hashes, normalise, partRows = PART_ROWS }: Scoring,
  { targets, potential: targetPotential, facts, hash }: Solved,
): Promise<{ outputs: OutputRecord[]; hash: string }> {
  const { options } = context
  const { files: pool, empty } = vectors.pool
  const names = ['potential', 'nearest', 'nearest-cost'] as const
  const result = await perform<Json>(context, {
    name: 'scores',
    version: 1,
    inputs: { ...hashes, transport: hash },
    options: { unbalanced: need.unbalanced, normalise },
    async execute(work, progress) {
      await using scorer = await openScorer(
        {
          targets: await gatherVectors(vectors.target.files, targets, { normalise, signal: context.signal }),
          targetPotential,
          epsilon: facts.epsilon,
          ...(need.unbalanced !== 'none' && { unbalanced: need.unbalanced }),
        },
        { parallel: workerThreads(options.threads), blockRows: blockRows(pool.dimensions) },
      )
      const potential = new Float64Array(pool.rows)
      const nearest = new Uint32Array(pool.rows)
      const nearestCost = new Float32Array(pool.rows)
      const arrays = { potential, nearest, 'nearest-cost': nearestCost }
      const partFile = (name: string, first: number) =>
        `signals/scores/${work.key.slice(0, 12)}/${name}-${String(first).padStart(9, '0')}.npy`
      let computed = 0
      for (let first = 0; first < pool.rows; first += partRows) {
        const to = Math.min(pool.rows, first + partRows)
        const part = `rows ${first}`
        const kept = work.parts.find((one) => one.part === part)?.outputs
        if (kept?.length === names.length && kept.every(({ intact }) => intact)) {
          for (const [i, name] of names.entries())
            arrays[name].set(readNpy(await readFile(work.path(kept[i].path))).data, first)
          continue
        }
        for await (const block of vectorBlocks(pool, { normalise, signal: context.signal, from: first, to })) {
          const scores = await scorer.score(block.data)
          potential.set(scores.potential, block.first)
          nearest.set(
            scores.nearest.map((index) => targets[index]),
            block.first,
          )
          nearestCost.set(scores.nearestCost, block.first)
          computed += scores.potential.length
          progress({ fraction: (block.first + scores.potential.length) / pool.rows, done: computed, unit: 'rows' })
        }
        // A single part would be written twice over.
        if (to - first === pool.rows) break
        const written: OutputRecord[] = []
        for (const name of names) {
          const data = arrays[name].slice(first, to)
          written.push(await work.write(partFile(name, first), writeNpy({ shape: [to - first], data })))
        }
        await work.finishPart(part, written)
      }
      // A zero vector is at the same distance from every unit vector, nearer than most texts are: that means nothing.
      for (const row of empty) potential[row] = Number.NaN
      const outputs: OutputRecord[] = []
      for (const name of names)
        outputs.push(
          await work.write(
            `signals/scores/${work.key.slice(0, 12)}/${name}.npy`,
            writeNpy({ shape: [pool.rows], data: arrays[name] }),
          ),
        )
      return { outputs, value: { rows: pool.rows } }
    },
    summary: (value) => `${(value as { rows: number }).rows.toLocaleString('en')} rows`,
  })
  return { outputs: result.outputs, hash: result.hash }
}
