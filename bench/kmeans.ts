/**
 * k-means against scikit-learn: the same points, the same initial centroids, the same number of iterations, alternating
 * in one run. Ratios are what to read; both sides share the machine with whatever else it does.
 *
 *   node bench/kmeans.ts [--python path] [--rounds 5] [--only curves-262040] [--built dist]
 *
 * Each side's time is that of its public call alone: here with copying the points, compiling and starting threads.
 * With --built, the compiled package is measured instead of the sources, whose type stripping costs each worker 0.1 s.
 * scikit-learn's elkan takes part in later rounds only if it was the faster one in the first. Without --only, writes
 * bench/results/kmeans.json.
 */

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import type { KMeansOptions, Points } from '../src/clustering/kmeans.ts'
import { randomStream } from '../src/random/philox.ts'

const { values: options } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    built: { type: 'string' },
  },
})
const [home, extension] =
  options.built === undefined ? [join(import.meta.dirname, '../src'), 'ts'] : [resolve(options.built), 'js']
const { kmeans } = (await import(
  join(home, `clustering/kmeans.${extension}`)
)) as typeof import('../src/clustering/kmeans.ts')
const { workerThreads } = (await import(
  join(home, `parallel/threads.${extension}`)
)) as typeof import('../src/parallel/threads.ts')
const THREADS = 2
const SEED = 1

interface Case {
  name: string
  points: () => Points
  k: number
  iterations: number
  /** At most this many rounds. */
  rounds?: number
}

const cases: Case[] = [
  { name: 'curves-262040', points: () => curves(262_040, 12), k: 100, iterations: 20 },
  { name: 'noise-262040', points: () => noise(262_040, 12), k: 100, iterations: 20 },
  { name: 'curves-1000000', points: () => curves(1_000_000, 16), k: 100, iterations: 20, rounds: 3 },
]

/**
 * Points like loss trajectories: row i decays from its first loss a (log-normal, median 1.8 nats) towards the share f of
 * it (uniform in [0.2, 0.9]) at a rate r (log-normal, median 0.3 a checkpoint), with normal noise of 3 % of a.
 */
function curves(n: number, d: number): Points {
  const data = new Float32Array(n * d)
  const stream = randomStream(SEED, 'curves')
  for (let i = 0; i < n; i++) {
    const a = 1.8 * Math.exp(0.5 * stream.normal())
    const f = 0.2 + 0.7 * stream.uniform()
    const r = 0.3 * Math.exp(0.7 * stream.normal())
    for (let t = 0; t < d; t++) data[i * d + t] = a * (f + (1 - f) * Math.exp(-r * t) + 0.03 * stream.normal())
  }
  return { data, n, d }
}

/** The hard case: uniform in the unit cube, no clusters to find. */
function noise(n: number, d: number): Points {
  const stream = randomStream(SEED, 'noise')
  return { data: Float32Array.from({ length: n * d }, () => stream.uniform()), n, d }
}

/** k rows drawn uniformly. */
function initialOf({ data, n, d }: Points, k: number): Float32Array {
  const stream = randomStream(SEED, 'initial')
  return Float32Array.from({ length: k }, () => stream.below(n)).reduce(
    (initial, row, c) => {
      initial.set(data.subarray(row * d, row * d + d), c * d)
      return initial
    },
    new Float32Array(k * d),
  )
}

interface Fit {
  seconds: number
  /** Processor time of all threads: steadier than `seconds` on a machine that is busy with other things. */
  cpuSeconds: number
  iterations: number
  inertia: number
  peakMiB: number
}

/** The peer process: one question at a time. */
function peer() {
  const process = spawn(options.python, [join(import.meta.dirname, 'peers/kmeans_sklearn.py')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]()
  return {
    ask: async (request: object) => {
      process.stdin.write(JSON.stringify(request) + '\n')
      const line = await lines.next()
      if (line.done) throw new Error('the peer process ended')
      return JSON.parse(line.value)
    },
    end: () => process.stdin.end(),
  }
}

async function fitHere(points: Points, options: KMeansOptions): Promise<Fit> {
  const cpu = process.cpuUsage()
  const start = performance.now()
  const { inertia, iterations } = await kmeans(points, { ...options, parallel: workerThreads(THREADS) })
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { seconds, cpuSeconds: (user + system) / 1e6, inertia, iterations, peakMiB: peakMiB() }
}

/** Peak resident memory of this process, the generated points included. */
function peakMiB(): number {
  return process.resourceUsage().maxRSS / 1024
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]
const rounds = Number(options.rounds)

async function measure({ name, points: make, k, iterations, rounds: most = Infinity }: Case) {
  const points = make()
  const initial = initialOf(points, k)
  const folder = mkdtempSync(join(tmpdir(), 'kmeans-'))
  const sklearn = peer()
  try {
    const files = [join(folder, 'points'), join(folder, 'initial')]
    writeFileSync(files[0], points.data)
    writeFileSync(files[1], initial)
    const { n, d } = points
    const about = await sklearn.ask({ load: files, n, d, k })
    const fits: Record<string, Fit[]> = {}
    const add = (side: string, fit: Fit) => {
      fits[side] ??= []
      fits[side].push(fit)
      console.log(
        `${name}  ${side.padEnd(18)} ${fit.seconds.toFixed(3)} s  (cpu ${fit.cpuSeconds.toFixed(3)} s)  inertia ${fit.inertia}`,
      )
    }
    for (let round = 0; round < Math.min(rounds, most); round++) {
      add('winnow', await fitHere(points, { k, seed: SEED, initial, iterations }))
      add('sklearn lloyd', await sklearn.ask({ fit: 'lloyd', iterations }))
      if (round === 0 || fits['sklearn elkan'][0].seconds < fits['sklearn lloyd'][0].seconds)
        add('sklearn elkan', await sklearn.ask({ fit: 'elkan', iterations }))
    }
    const seconds = Object.fromEntries(Object.entries(fits).map(([side, all]) => [side, all.map((f) => f.seconds)]))
    const cpuSeconds = Object.fromEntries(
      Object.entries(fits).map(([side, all]) => [side, all.map((f) => f.cpuSeconds)]),
    )
    const exact: Fit = await sklearn.ask({ fit: 'lloyd', iterations, float64: true })
    const best = Math.min(median(seconds['sklearn lloyd']), median(seconds['sklearn elkan']))
    const here = fits.winnow[0]
    const there = fits['sklearn lloyd'][0]
    return {
      ...{ name, n, d, k, iterations, threads: THREADS, seconds, cpuSeconds },
      /** Median seconds of scikit-learn's faster algorithm over winnow's. */
      ratio: best / median(seconds.winnow),
      /** The same within each round: least and greatest. */
      ratios: seconds.winnow
        .map((s, r) => Math.min(seconds['sklearn lloyd'][r], seconds['sklearn elkan'][r] ?? Infinity) / s)
        .toSorted((a, b) => a - b),
      cpuRatio:
        Math.min(median(cpuSeconds['sklearn lloyd']), median(cpuSeconds['sklearn elkan'])) / median(cpuSeconds.winnow),
      /** scikit-learn's are those of float64 points, and of the timed float32 runs; `relative` is to the former. */
      inertia: {
        winnow: here.inertia,
        sklearn: exact.inertia,
        sklearnFloat32: { lloyd: there.inertia, elkan: fits['sklearn elkan'][0].inertia },
        relative: here.inertia / exact.inertia - 1,
      },
      rounds: { winnow: here.iterations, sklearn: there.iterations },
      peakMiB: { winnow: fits.winnow.at(-1)?.peakMiB, sklearn: fits['sklearn lloyd'].at(-1)?.peakMiB },
      peer: about,
    }
  } finally {
    sklearn.end()
    rmSync(folder, { recursive: true })
  }
}

const results = []
for (const item of cases) {
  if (options.only !== undefined && options.only !== item.name) continue
  results.push(await measure(item))
  const { name, ratio, ratios, cpuRatio, inertia, peakMiB } = results[results.length - 1]
  console.log(
    `${name}: ${ratio.toFixed(2)}x scikit-learn's faster algorithm (${ratios.map((r) => r.toFixed(2)).join(' ')}), cpu ${cpuRatio.toFixed(2)}x, ` +
      `inertia ${inertia.relative.toExponential(1)}, peak ${peakMiB.winnow?.toFixed(0)} MiB`,
  )
}
if (options.only === undefined) {
  const file = join(import.meta.dirname, 'results/kmeans.json')
  const machine = {
    cpu: cpus()[0].model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    code: options.built === undefined ? 'sources' : 'built',
  }
  const version = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')).version
  writeFileSync(file, JSON.stringify({ date: new Date().toISOString(), version, machine, results }, null, 2) + '\n')
}
