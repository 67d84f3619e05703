/**
 * Entropic transport against POT: 1,000 targets, a pool of 20,000, d = 384, eps 0.05, both on two threads, alternating in one run. Ratios are
 * what to read; both sides share the machine with whatever else it does.
 *
 *   node bench/transport.ts [--python path] [--rounds 5] [--built dist]
 *
 * Each side's time is that of the whole call from float32 vectors to potentials: here with copying, compiling, starting a
 * thread, costs, kernel and both costs of the plan; there with the cost matrix, the kernel and the plan that POT returns. Rankings are compared
 * (Spearman) with that of POT in float64, iterated to a marginal error of 1e-10. Writes bench/results/transport.json.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { SinkhornOptions } from '../src/transport/sinkhorn.ts'
import { type Peer, startPeer } from './peers/peer.ts'
import { machine, median, peakMiB, timed } from './sides.ts'
import { poolSubjects, targetSubjects, unitVectors } from './vectors.ts'

const { values: options } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    built: { type: 'string' },
  },
})
const [home, extension] =
  options.built === undefined ? [join(import.meta.dirname, '../src'), 'ts'] : [resolve(options.built), 'js']
const from = (name: string) => import(join(home, `${name}.${extension}`))
const { sinkhorn } = (await from('transport/sinkhorn')) as typeof import('../src/transport/sinkhorn.ts')
const { spearman } = (await from('transport/ranks')) as typeof import('../src/transport/ranks.ts')
const { workerThreads } = (await from('parallel/threads')) as typeof import('../src/parallel/threads.ts')

const [m, n, d, epsilon, threads] = [1000, 20_000, 384, 0.05, 2]
const RANKED = 0.999
const rounds = Number(options.rounds)
const targets = unitVectors(m, d, targetSubjects(2))
const candidates = unitVectors(n, d, poolSubjects(1))

const folder = mkdtempSync(join(tmpdir(), 'transport-'))
const saved = join(folder, 'potential')
writeFileSync(join(folder, 'targets'), targets.data)
writeFileSync(join(folder, 'candidates'), candidates.data)
const pot: Peer = await startPeer(options.python, 'sinkhorn_pot.py', {
  ...{ targets: join(folder, 'targets'), candidates: join(folder, 'candidates') },
  ...{ m, n, d, epsilon, threads },
})
const readPotential = () => new Float64Array(new Uint8Array(readFileSync(saved)).buffer)
const askPot = (solve: string, type: string, iterations: number, threshold = 0, save = false) =>
  pot.ask({ solve, type, iterations, threshold, save: save ? saved : null })

interface Solve {
  seconds: number
  cpuSeconds: number
  iterations: number
  /** Seconds before the first iteration on all candidates had ended, and of one after. */
  firstSeconds: number
  iterationSeconds: number
  spearman: number
}

async function solveHere(extra: Partial<SinkhornOptions>, converged: Float64Array): Promise<Solve> {
  const ends: number[] = []
  const start = performance.now()
  const { value, seconds, cpu } = await timed(() =>
    sinkhorn(
      { targets, candidates },
      { epsilon, parallel: workerThreads(threads), onProgress: () => ends.push(performance.now()), ...extra },
    ),
  )
  return {
    ...{ seconds, cpuSeconds: cpu, iterations: value.iterations },
    firstSeconds: (ends[0] - start) / 1000,
    iterationSeconds: (ends[ends.length - 1] - ends[0]) / 1000 / (ends.length - 1),
    spearman: spearman(value.candidatePotential, converged),
  }
}

/** The fewest iterations after which the ranking is that of the end: doubling, then halving the interval. */
async function fewest(rankAfter: (iterations: number) => Promise<number>): Promise<number> {
  let [low, high] = [0, 1]
  while ((await rankAfter(high)) < RANKED) [low, high] = [high, 2 * high]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((await rankAfter(middle)) < RANKED) low = middle
    else high = middle
  }
  return high
}

try {
  const end = await askPot('sinkhorn', 'float64', 20_000, 1e-10, true)
  const converged = readPotential()
  console.log(`POT in float64 converged after ${end.iterations} iterations`)
  const potFewest = await fewest(async (iterations) => {
    await askPot('sinkhorn', 'float64', iterations, 0, true)
    return spearman(readPotential(), converged)
  })
  const exact = { threshold: 0, rankTolerance: Infinity }
  const hereFewest = await fewest(async (iterations) => (await solveHere({ ...exact, iterations }, converged)).spearman)
  console.log(`Spearman ${RANKED} after ${hereFewest} iterations here, ${potFewest} there`)

  const sides: Record<string, { seconds: number[]; cpu: number[]; iterations: number; spearman?: number }> = {}
  const add = (side: string, seconds: number, cpu: number, iterations: number, rank?: number) => {
    sides[side] ??= { seconds: [], cpu: [], iterations, spearman: rank }
    sides[side].seconds.push(seconds)
    sides[side].cpu.push(cpu)
    console.log(
      `${side.padEnd(44)} ${seconds.toFixed(4)} s  (cpu ${cpu.toFixed(4)} s)  ${iterations} iterations  ${rank ?? ''}`,
    )
  }
  /** Seconds of one iteration: the difference of two solves, each without its cost matrix. */
  const potIteration = async (solve: string, type: string, few: number, many: number) => {
    // The first call after arrays of another size gets its memory from the machine anew, which takes time and no processor.
    await askPot(solve, type, few)
    const [short, long] = [await askPot(solve, type, few), await askPot(solve, type, many)]
    const per = (a: number, b: number) => (b - a) / (many - few)
    const side = `POT ${solve} ${type}, an iteration`
    add(side, per(short.solverSeconds, long.solverSeconds), per(short.solverCpuSeconds, long.solverCpuSeconds), 1)
  }
  const potSolve = async (name: string, type: string, iterations: number, threshold: number) => {
    const result = await askPot('sinkhorn', type, iterations, threshold, true)
    const rank = result.finite ? spearman(readPotential(), converged) : undefined
    add(`POT sinkhorn ${type}, ${name}`, result.seconds, result.cpuSeconds, result.iterations, rank)
    return result.peakMiB as number
  }
  let potPeak = 0
  for (let round = 0; round < rounds; round++) {
    const steps = await solveHere({ ...exact, iterations: 110 }, converged)
    const cpu = (await solveHere({ ...exact, iterations: 10 }, converged)).cpuSeconds
    add('winnow, an iteration', steps.iterationSeconds, (steps.cpuSeconds - cpu) / 100, 1)
    for (const type of ['float32', 'float64']) await potIteration('sinkhorn', type, 10, 110)
    if (round < 2) for (const type of ['float32', 'float64']) await potIteration('sinkhorn_log', type, 2, 8)
    const own = await solveHere({}, converged)
    add('winnow, own stop', own.seconds, own.cpuSeconds, own.iterations, own.spearman)
    const short = await solveHere({ ...exact, iterations: hereFewest }, converged)
    add(`winnow, to ${RANKED}`, short.seconds, short.cpuSeconds, short.iterations, short.spearman)
    for (const type of ['float32', 'float64']) {
      potPeak = Math.max(potPeak, await potSolve(`to ${RANKED}`, type, potFewest, 0))
      if (round < 2) await potSolve('own stop', type, 1000, 1e-9)
    }
  }

  const of = (side: string) => ({ seconds: median(sides[side].seconds), cpu: median(sides[side].cpu) })
  const faster = (names: string[]) => Math.min(...names.map((name) => of(name).seconds))
  const fasterCpu = (names: string[]) => Math.min(...names.map((name) => of(name).cpu))
  const types = (name: string) => ['float32', 'float64'].map((type) => `POT ${name.replace('TYPE', type)}`)
  const ratio = (here: string, there: string[]) => ({
    elapsed: faster(there) / of(here).seconds,
    cpu: fasterCpu(there) / of(here).cpu,
  })
  /** Medians of POT's faster type over winnow's. */
  const ratios = {
    'an iteration, sinkhorn': ratio('winnow, an iteration', types('sinkhorn TYPE, an iteration')),
    'an iteration, sinkhorn_log': ratio('winnow, an iteration', types('sinkhorn_log TYPE, an iteration')),
    'own stop': ratio('winnow, own stop', types('sinkhorn TYPE, own stop')),
    'own stop here, fewest iterations there': ratio('winnow, own stop', types(`sinkhorn TYPE, to ${RANKED}`)),
    'fewest iterations': ratio(`winnow, to ${RANKED}`, types(`sinkhorn TYPE, to ${RANKED}`)),
  }
  for (const [name, { elapsed, cpu }] of Object.entries(ratios))
    console.log(`${name}: ${elapsed.toFixed(2)}x elapsed, ${cpu.toFixed(2)}x cpu`)
  const results = {
    ...{ date: new Date().toISOString(), machine: machine(), code: options.built === undefined ? 'sources' : 'built' },
    ...{ m, n, d, epsilon, threads, peer: pot.ready.versions, convergedAfter: end.iterations },
    ...{ fewest: { winnow: hereFewest, pot: potFewest }, sides, ratios, peakMiB: { winnow: peakMiB(), pot: potPeak } },
  }
  writeFileSync(join(import.meta.dirname, 'results/transport.json'), JSON.stringify(results, null, 2) + '\n')
} finally {
  pot.end()
  rmSync(folder, { recursive: true })
}
