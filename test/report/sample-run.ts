/** A run to report on: the example pool's real texts and sources, with made-up loss curves of K known shapes. */

import { readFileSync } from 'node:fs'
import { randomStream, sample } from '../../src/random/philox.ts'
import { type ReportData, selectedFlags } from '../../src/report/data.ts'
import { ascendingClusters, clusterSizes, shownRows } from '../../src/report/samples.ts'

const examples: { source: string; question: string; answer: string }[] = readFileSync(
  new URL('../../examples/math.jsonl', import.meta.url),
  'utf8',
)
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))

export interface SampleOptions {
  rows?: number
  clusters?: number
  checkpoints?: number
  budget?: number
  seed?: number
}

/** S2L on `rows` rows (those of examples/math.jsonl, repeated), drawn by the balanced allocation. */
export function sampleRun(options: SampleOptions = {}): ReportData {
  const { rows = 1500, clusters = 38, checkpoints = 12, seed = 7 } = options
  const budget = options.budget ?? Math.floor(rows * 0.3)
  const record = (row: number) => examples[row % examples.length]
  const names = [...new Set(examples.map((example) => example.source))]
  const assignment = new Uint32Array(rows)
  const nll = new Float32Array(rows * checkpoints)
  const steps = Array.from({ length: checkpoints }, (_, t) => (t + 1) * 45)
  const lengths = new Uint32Array(rows)
  const codes = new Uint16Array(rows)
  for (let row = 0; row < rows; row++) {
    const stream = randomStream(seed, 'sample run', row)
    const { source, question, answer } = record(row)
    lengths[row] = Math.ceil((question.length + answer.length) / 3.4)
    codes[row] = names.indexOf(source)
    // Cubing skews the sizes: cluster 0 is large, the last ones are small.
    const cluster = Math.floor(clusters * stream.uniform() ** 3)
    assignment[row] = cluster
    const kind = randomStream(seed, 'sample cluster', cluster)
    const floor = 0.6 + 2.6 * kind.uniform()
    const drop = 1 + 4 * kind.uniform()
    const rate = 0.004 + 0.014 * kind.uniform()
    const offset = 0.12 * stream.normal()
    for (let t = 0; t < checkpoints; t++) {
      nll[row * checkpoints + t] = Math.max(
        0.02,
        floor + drop * Math.exp(-rate * steps[t]) + offset + 0.04 * stream.normal(),
      )
    }
  }
  const columns = { count: clusters, assignment }
  const sizes = clusterSizes(columns, rows)
  const selected: number[] = []
  const order = ascendingClusters(sizes)
  for (const [k, cluster] of order.entries()) {
    const quota = Math.floor((budget - selected.length) / (order.length - k))
    const members = Uint32Array.from({ length: sizes[cluster] })
    for (let row = 0, at = 0; row < rows; row++) if (assignment[row] === cluster) members[at++] = row
    selected.push(...sample(members, Math.min(quota, members.length), randomStream(seed, 'sample draw', cluster)))
  }
  const data: ReportData = {
    title: 'examples/math.jsonl',
    command: 'winnow select examples/math.jsonl --budget 30%',
    finishedAt: '2026-11-22T11:04:09Z',
    run: {
      method: 's2l',
      options: { clusters, restarts: 3, iterations: 20, stratify: 'none' },
      budget: '30%',
      seed,
      device: 'cpu',
      proxy: {
        name: 'nano',
        parameters: 1_312_000,
        tokenizer: 'byte-level BPE trained on the pool',
        vocabularySize: 4096,
        steps: 540,
        trainedTokens: 1_180_000,
        nll: 2.411,
        bigramNll: 2.987,
      },
      timings: [
        { stage: 'read', seconds: 0.31 },
        { stage: 'tokenise', seconds: 1.9 },
        { stage: 'train and score', seconds: 131.4 },
        { stage: 'cluster', seconds: 0.22 },
        { stage: 'draw', seconds: 0.01 },
      ],
      versions: { 'winnow-llm': '0.1.0', 'onnxruntime-node': '1.30.0', node: '24.21.0' },
      inputs: [
        {
          file: 'examples/math.jsonl',
          rows,
          bytes: 797_133,
          sha256: '6f1ed002ab5595859014ebf0951522d9f3a1e7c1bd2fbd2a5a3c1f6a3f2b9d10',
        },
      ],
    },
    rows: { count: rows, lengths, selected: selectedFlags(rows, selected), source: { codes, names } },
    clusters: columns,
    trajectories: { steps, nll },
    warnings: [],
    texts: new Map(),
  }
  return withTexts(data, (row) => `${record(row).question}\n${record(row).answer}`)
}

/** The data with the texts of the rows that its page shows. */
export function withTexts(data: ReportData, text: (row: number) => string): ReportData {
  return { ...data, texts: new Map([...shownRows(data)].map((row) => [row, text(row)])) }
}

/** The same pool, drawn uniformly: no clusters, no trajectories, no proxy. */
export function randomRun(options: SampleOptions = {}): ReportData {
  const { clusters: _clusters, trajectories: _trajectories, ...data } = sampleRun(options)
  const { count } = data.rows
  const all = Uint32Array.from({ length: count }, (_, row) => row)
  const selected = sample(all, options.budget ?? Math.floor(count * 0.3), randomStream(1, 'sample random'))
  const { proxy: _proxy, options: _options, device: _device, ...run } = data.run
  const timings = run.timings.filter(({ stage }) => stage === 'read' || stage === 'draw')
  return withTexts(
    {
      ...data,
      run: { ...run, method: 'random', timings },
      rows: { ...data.rows, selected: selectedFlags(count, selected) },
    },
    (row) => examples[row % examples.length].question,
  )
}
