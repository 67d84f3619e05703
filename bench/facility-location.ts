/**
 * Facility location against apricot's lazy greedy, and on 100,000 vectors of 384 dimensions. Sides alternate in one run; ratios are what to
 * read, for both share the machine with whatever else it does.
 *
 *   node bench/facility-location.ts [--python path] [--rounds 5] [--only peer|quality|large] [--vectors file.npy] [--built dist]
 *
 * Each side's time is that of the whole call from float32 vectors to picks: similarities, and the greedy order. Picks are compared by the same
 * exact f, over all pairs, in float64 sums of float32 cosines. `--vectors`: real ones in place of the generated, for `peer` and `quality`
 * (of an even number of dimensions). Writes bench/results/facility-location.json when all parts ran.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { normaliseRows } from '../src/embedding/pooling.ts'
import { randomStream } from '../src/random/philox.ts'
import { readNpy } from '../src/signals/npy.ts'
import type { Vectors } from '../src/similarity/vectors.ts'
import { startPeer } from './peers/peer.ts'
import { machine, median, timed } from './sides.ts'
import { poolSubjects, unitVectors } from './vectors.ts'

const { values: options } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    vectors: { type: 'string' },
    built: { type: 'string' },
  },
})
const [home, extension] =
  options.built === undefined ? [join(import.meta.dirname, '../src'), 'ts'] : [resolve(options.built), 'js']
const from = (name: string) => import(join(home, `${name}.${extension}`))
const { facilityOrder } = (await from(
  'submodular/facility-location',
)) as typeof import('../src/submodular/facility-location.ts')
const { centerOrder } = (await from('submodular/k-center')) as typeof import('../src/submodular/k-center.ts')
const { workerThreads } = (await from('parallel/threads')) as typeof import('../src/parallel/threads.ts')

const [THREADS, D] = [2, 384]
const rounds = Number(options.rounds)
const parallel = workerThreads(THREADS)
const wants = (part: string) => options.only === undefined || options.only === part

/** Vectors of 10,000 rows: generated, or drawn from the file. */
function someVectors(n: number): Vectors & { name: string } {
  if (options.vectors === undefined) return { ...unitVectors(n, D, poolSubjects(1)), name: '64 subjects' }
  const { data, shape } = readNpy(readFileSync(options.vectors))
  const [rows, d] = shape
  const stream = randomStream(1, 'vectors')
  const order = Uint32Array.from({ length: rows }, (_, i) => i)
  const own = new Float32Array(Math.min(n, rows) * d)
  for (let i = 0; i * d < own.length; i++) {
    const j = i + stream.below(rows - i)
    ;[order[i], order[j]] = [order[j], order[i]]
    own.set((data as Float32Array).subarray(order[i] * d, (order[i] + 1) * d), i * d)
  }
  return { data: normaliseRows(own, d), n: own.length / d, d, name: options.vectors }
}

/** f of the first picks, so many as each of the ascending sizes, over all pairs. */
function values({ data, n, d }: Vectors, picks: ArrayLike<number>, sizes: readonly number[]): number[] {
  const best = new Float64Array(n)
  let p = 0
  return sizes.map((size) => {
    for (; p < size; p++) {
      const at = picks[p] * d
      for (let i = 0; i < n; i++) {
        let [a, b] = [0, 0]
        for (let c = 0, x = i * d; c < d; c += 2, x += 2) {
          a += data[x] * data[at + c]
          b += data[x + 1] * data[at + c + 1]
        }
        if (a + b > best[i]) best[i] = a + b
      }
    }
    return best.reduce((a, b) => a + b)
  })
}

/** apricot over all pairs, by its own metric (squared cosines) too, and over neighbours, against ours: 10,000 rows, 1,000 picks. */
async function againstApricot() {
  const vectors = someVectors(10_000)
  const { n, d } = vectors
  const picks = Math.floor(n / 10)
  const folder = mkdtempSync(join(tmpdir(), 'facility-'))
  const data = join(folder, 'data')
  writeFileSync(data, vectors.data)
  const peer = await startPeer(options.python, 'facility_location.py', { data, n, d, threads: THREADS })
  try {
    const results = []
    for (const neighbours of [null, 'own', 64]) {
      const ours = { seconds: [] as number[], cpu: [] as number[] }
      const theirs = { seconds: [] as number[], cpu: [] as number[] }
      let [f, g, peerMiB] = [0, 0, 0]
      for (let round = 0; round < rounds; round++) {
        const here = await timed(() =>
          facilityOrder(vectors, {
            picks,
            parallel,
            ...(typeof neighbours === 'number' && { neighbours, denseRows: 0 }),
          }),
        )
        ours.seconds.push(here.seconds)
        ours.cpu.push(here.cpu)
        const there = await peer.ask({ rows: n, picks, neighbours })
        theirs.seconds.push(there.seconds)
        theirs.cpu.push(there.cpuSeconds)
        peerMiB = there.peakMiB
        if (round === 0) {
          ;[f] = values(vectors, here.value.rows, [picks])
          ;[g] = values(vectors, there.ranking, [picks])
        }
        const seconds = `${here.seconds.toFixed(2)} s (cpu ${here.cpu.toFixed(2)})`
        console.log(
          `${neighbours ?? 'all'} neighbours: winnow ${seconds}, apricot ${there.seconds.toFixed(2)} s (cpu ${there.cpuSeconds.toFixed(2)})`,
        )
      }
      results.push({
        ...{ vectors: vectors.name, n, d, picks, neighbours, threads: THREADS, ours, theirs, peerMiB },
        /** Median seconds of apricot over ours; by round; processor time. */
        ratio: median(theirs.seconds) / median(ours.seconds),
        ratios: theirs.seconds.map((s, r) => s / ours.seconds[r]).toSorted((a, b) => a - b),
        cpuRatio: median(theirs.cpu) / median(ours.cpu),
        value: { winnow: f, apricot: g },
      })
      console.log(results.at(-1))
    }
    return { versions: peer.ready.versions, results }
  } finally {
    peer.end()
    rmSync(folder, { recursive: true })
  }
}

/** f of the graph's picks over that of exact ones, 10,000 rows. */
async function quality() {
  const vectors = someVectors(10_000)
  const sizes = [10, 30, 100, 300, 1000, 3000].filter((size) => size < vectors.n)
  const exact = await facilityOrder(vectors, { picks: sizes.at(-1), parallel })
  const f = values(vectors, exact.rows, sizes)
  const results = []
  for (const neighbours of [16, 32, 64, 128, 256]) {
    const { rows } = await facilityOrder(vectors, { picks: sizes.at(-1), parallel, neighbours, denseRows: 0 })
    const share = values(vectors, rows, sizes).map((found, i) => found / f[i])
    results.push({ neighbours, share })
    console.log(
      `${neighbours} neighbours:`,
      sizes.map((size, i) => `${size}: ${(100 * share[i]).toFixed(2)} %`).join(', '),
    )
  }
  return { vectors: vectors.name, n: vectors.n, sizes, results }
}

/** 100,000 rows, 10,000 picks. */
async function large() {
  const vectors = unitVectors(100_000, D, poolSubjects(1))
  const dataMiB = vectors.data.byteLength / 2 ** 20
  const results = []
  for (let round = 0; round < Math.min(3, rounds); round++) {
    const { seconds, cpu } = await timed(() => facilityOrder(vectors, { picks: 10_000, parallel }))
    const peakMiB = process.resourceUsage().maxRSS / 1024
    results.push({ seconds, cpu, peakMiB })
    console.log(`100,000 rows: ${seconds.toFixed(1)} s (cpu ${cpu.toFixed(1)}), peak ${peakMiB.toFixed(0)} MiB`)
  }
  const center = await timed(() => centerOrder(vectors, { picks: 10_000 }))
  console.log(`k-center: ${center.seconds.toFixed(1)} s (cpu ${center.cpu.toFixed(1)})`)
  const { seconds, cpu } = center
  return {
    n: vectors.n,
    d: D,
    picks: 10_000,
    neighbours: 64,
    threads: THREADS,
    dataMiB,
    results,
    kCenter: { seconds, cpu },
  }
}

const parts: Record<string, unknown> = {}
if (wants('quality')) parts.quality = await quality()
if (wants('peer')) parts.peer = await againstApricot()
if (wants('large')) parts.large = await large()
if (options.only === undefined) {
  const file = join(import.meta.dirname, 'results/facility-location.json')
  const code = options.built === undefined ? 'sources' : 'built'
  const about = { date: new Date().toISOString(), machine: { ...machine(), code } }
  const name = options.vectors === undefined ? file : file.replace('.json', '-vectors.json')
  writeFileSync(name, `${JSON.stringify({ ...about, ...parts }, null, 2)}\n`)
}
