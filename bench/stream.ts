/**
 * A million candidates from a file against a target set: solve on a sample of 20,000, then score every candidate in one pass by positional reads.
 *
 *   node bench/stream.ts [--rows 1000000] [--targets 1000,10000] [--threads 2] [--folder dir] [--built dist]
 *
 * Generates `rows` x 384 unit vectors (float32, .npy) in a temporary folder, and removes them afterwards. Each case runs in a process of its
 * own, whose peak of resident memory is reported; its time starts with opening the file. Writes bench/results/stream.json.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { randomStream, sample } from '../src/random/philox.ts'
import { NPY_HEADER_BYTES, npyHeader, npyLayout } from '../src/signals/npy.ts'
import { machine, peakMiB } from './sides.ts'
import { poolSubjects, subjectRows, targetSubjects, unitVectors } from './vectors.ts'

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    targets: { type: 'string', default: '1000,10000' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string', default: tmpdir() },
    built: { type: 'string' },
    child: { type: 'string' },
  },
})
const [home, extension] =
  options.built === undefined ? [join(import.meta.dirname, '../src'), 'ts'] : [resolve(options.built), 'js']
const from = (name: string) => import(join(home, `${name}.${extension}`))

const d = 384
const SAMPLE = 20_000
const BLOCK = 8192

interface Case {
  file: string
  /** Candidates to score: the file's first. */
  rows: number
  targets: number
  threads: number
}

if (options.child === undefined) await parent()
else console.log(JSON.stringify(await measure(JSON.parse(options.child))))

async function parent() {
  const rows = Number(options.rows)
  const folder = mkdtempSync(join(options.folder, 'stream-'))
  try {
    const file = join(folder, 'candidates.npy')
    generate(file, rows)
    const sizes = [10_000, 100_000, 1_000_000].filter((size) => size < rows).concat(rows)
    const [few, ...more] = options.targets.split(',').map(Number)
    const cases = [...sizes.map((size) => [size, few]), ...more.map((targets) => [rows, targets])]
    const results = cases.map(([size, targets]) => {
      const item: Case = { file, rows: size, targets, threads: Number(options.threads) }
      const command = [...process.argv.slice(1), '--child', JSON.stringify(item)]
      const child = spawnSync(process.execPath, command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
      if (child.status !== 0) throw new Error(`a case ended with ${child.status}`)
      console.log(child.stdout.trim())
      return JSON.parse(child.stdout)
    })
    const content = {
      ...{
        date: new Date().toISOString(),
        machine: machine(),
        code: options.built === undefined ? 'sources' : 'built',
      },
      ...{ d, sample: SAMPLE, block: BLOCK, results },
    }
    writeFileSync(join(import.meta.dirname, 'results/stream.json'), JSON.stringify(content, null, 2) + '\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function generate(file: string, rows: number): void {
  const out = openSync(file, 'w')
  writeSync(out, npyHeader('Float32Array', [rows, d]))
  const block = new Float32Array(BLOCK * d)
  for (let first = 0; first < rows; first += BLOCK) {
    const part = block.subarray(0, Math.min(BLOCK, rows - first) * d)
    subjectRows(part, d, first, poolSubjects(1))
    writeSync(out, part)
  }
}

async function measure({ file, rows, targets: m, threads }: Case) {
  const { sinkhorn } = (await from('transport/sinkhorn')) as typeof import('../src/transport/sinkhorn.ts')
  const { openScorer } = (await from('transport/scorer')) as typeof import('../src/transport/scorer.ts')
  const { sampleCost } = (await from('transport/cost')) as typeof import('../src/transport/cost.ts')
  const { workerThreads } = (await from('parallel/threads')) as typeof import('../src/parallel/threads.ts')
  const targets = unitVectors(m, d, targetSubjects(2))
  const parallel = workerThreads(threads)
  const cpuBefore = process.cpuUsage()
  const start = performance.now()
  const seconds = () => (performance.now() - start) / 1000

  await using handle = await open(file)
  const head = Buffer.alloc(NPY_HEADER_BYTES)
  await handle.read(head, 0, head.length, 0)
  const { dataAt } = npyLayout(head, (await handle.stat()).size, file)
  const read = async (into: Float32Array, row: number) => {
    const { bytesRead } = await handle.read(into, 0, into.byteLength, dataAt + 4 * d * row)
    if (bytesRead !== into.byteLength) throw new Error(`${file}: ${bytesRead} bytes at row ${row}`)
  }

  const all = Uint32Array.from({ length: rows }, (_, row) => row)
  const drawn = sample(all, Math.min(rows, SAMPLE), randomStream(1, 'sample')).sort()
  const data = new Float32Array(drawn.length * d)
  for (let i = 0; i < drawn.length; i++) await read(data.subarray(i * d, (i + 1) * d), drawn[i])
  const candidates = { data, n: drawn.length, d }
  const epsilon = 0.05 * sampleCost(targets, candidates, { seed: 1 }).deviation
  const sampled = seconds()
  const { targetPotential, ...solved } = await sinkhorn({ targets, candidates }, { epsilon, parallel })
  const solvedAt = seconds()

  await using scorer = await openScorer({ targets, targetPotential, epsilon }, { parallel, blockRows: BLOCK })
  const potential = new Float64Array(rows)
  const nearest = new Uint32Array(rows)
  const blocks = [new Float32Array(BLOCK * d), new Float32Array(BLOCK * d)]
  const partOf = (first: number) => blocks[(first / BLOCK) % 2].subarray(0, Math.min(BLOCK, rows - first) * d)
  let reading = read(partOf(0), 0)
  for (let first = 0; first < rows; first += BLOCK) {
    await reading
    const scoring = scorer.score(partOf(first))
    if (first + BLOCK < rows) reading = read(partOf(first + BLOCK), first + BLOCK)
    const scores = await scoring
    potential.set(scores.potential, first)
    nearest.set(scores.nearest, first)
  }
  const end = seconds()
  const { user, system } = process.cpuUsage(cpuBefore)
  const picked = sampledAgreement(drawn, potential, solved.candidatePotential)
  return {
    ...{ rows, targets: m, threads, epsilon, iterations: solved.iterations, converged: solved.converged },
    ...{ stored: solved.stored, seconds: end, sampleSeconds: sampled, solveSeconds: solvedAt - sampled },
    ...{ streamSeconds: end - solvedAt, rowsPerSecond: Math.round(rows / (end - solvedAt)) },
    ...{ cpuSeconds: (user + system) / 1e6, peakMiB: Math.round(peakMiB()), largestDifference: picked },
  }
}

/** Largest difference between a sampled candidate's potential in the solve and in the stream: they are to be the same. */
function sampledAgreement(rows: Uint32Array, streamed: Float64Array, solved: Float64Array): number {
  return rows.reduce((most, row, at) => Math.max(most, Math.abs(streamed[row] - solved[at])), 0)
}
