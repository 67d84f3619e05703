/**
 * Training and scoring of the proxy against PyTorch: the same architecture, weights, batches and threads, alternating in one run.
 *
 *   node bench/proxy.ts [pool.jsonl] [--python path] [--rounds 6] [--steps 2] [--compile] [--only small] [--part train|score] [--write]
 *
 * Training peers: `transformers` is LlamaForCausalLM with sdpa attention, logits at every position; `lean` is a hand-written module
 * with logits at label positions only, the fastest eager form found. --compile adds torch.compile of both. Scoring peers: a batched
 * transformers loop (32 rows in input order, padded to the longest) and one example at a time, on rows of the pool as they come.
 * Read the ratios: all sides share the machine. `cpu` is processor time of all threads. --write keeps bench/results/proxy.json.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import type { OrtApi } from '../src/engine/session.ts'
import { type LlamaConfig, llama } from '../src/models/llama.ts'
import { writeSafetensors } from '../src/models/safetensors.ts'
import { collate } from '../src/training/collate.ts'
import type { TokenRows } from '../src/training/rows.ts'
import { compileTrainer, initialState, type Trainer } from '../src/training/trainer.ts'
import { scoreRows } from '../src/training/trajectories.ts'
import { type Peer, startPeer } from './peers/peer.ts'
import {
  addBlock,
  likeRows,
  machine,
  median,
  peakMiB,
  poolFile,
  type Sides,
  summary,
  timed,
  tokenFile,
  tokenisePool,
} from './sides.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '6' },
    steps: { type: 'string', default: '2' },
    rows: { type: 'string', default: '96' },
    threads: { type: 'string', default: '2' },
    compile: { type: 'boolean', default: false },
    only: { type: 'string' },
    part: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})
const pool = positionals[0] ?? 'examples/math.jsonl'
const threads = Number(options.threads)
const rounds = Number(options.rounds)
const steps = Number(options.steps)
const WARMUP = 3
const RATE = 1e-3
const TOKENS_PER_BATCH = 4096
const MAX_LENGTH = 512

interface Case {
  name: string
  vocabulary: number
  hidden: number
  layers: number
  batch: number
  length: number
}

/** The smallest and the largest size of the nano proxy with their batches (src/models/nano.ts), with tied tables on all sides. */
const cases: Case[] = [
  { name: 'small', vocabulary: 1024, hidden: 128, layers: 2, batch: 8, length: 128 },
  { name: 'large', vocabulary: 8192, hidden: 256, layers: 4, batch: 32, length: 128 },
]

const configOf = ({ vocabulary, hidden, layers }: Case): LlamaConfig => ({
  vocabularySize: vocabulary,
  hiddenSize: hidden,
  intermediateSize: 3 * hidden,
  layers,
  heads: hidden / 64,
  keyValueHeads: hidden / 64,
  maxLength: MAX_LENGTH,
  ropeTheta: 10_000,
  rmsNormEpsilon: 1e-5,
  tiedEmbeddings: true,
})

const compileModel = async (item: Case): Promise<Trainer> => {
  const config = configOf(item)
  const proxy = await compileTrainer({
    model: llama(config),
    device: { ort: ort as unknown as OrtApi, name: 'cpu', threads },
    optimiser: { beta1: 0.9, beta2: 0.95, weightDecay: 0, maxNorm: 1 },
  })
  proxy.load(initialState(llama(config), 0))
  return proxy
}

async function measureTraining(item: Case, rows: TokenRows, folder: string) {
  const batches = likeRows(rows, item.batch, item.length, WARMUP + 5)
  writeFileSync(join(folder, 'tokens'), tokenFile(rows, batches, item.length))
  const config = configOf(item)
  const spec = {
    ...{ vocab: item.vocabulary, d_model: item.hidden, n_layers: item.layers, n_heads: config.heads },
    ...{ d_ff: config.intermediateSize, batch: item.batch, length: item.length, threads, warmup: WARMUP, serve: true },
    ...{ lr: RATE, tokens: join(folder, 'tokens'), weights: join(folder, 'model.safetensors') },
  }
  const proxy = await compileModel(item)
  const collated = batches.map((batch) => collate(rows, { rows: batch, length: item.length }, item.length))
  const warm: number[] = []
  let step = 0
  const train = () => proxy.train(collated[step++ % collated.length], RATE)
  while (step < WARMUP) warm.push((await train()).loss)

  const peers = new Map<string, Peer>()
  for (const compile of options.compile ? [false, true] : [false]) {
    for (const model of ['transformers', 'lean']) {
      const name = `${model} ${compile ? 'compiled' : 'eager'}`
      peers.set(name, await startPeer(options.python, 'train_torch.py', { ...spec, model, compile }))
    }
  }
  const blocks: Sides = {}
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < steps; i++) {
      const { seconds, cpu } = await timed(train)
      addBlock(blocks, 'winnow', [seconds], [cpu], peakMiB())
    }
    for (const [name, peer] of peers) {
      const block = await peer.ask({ steps })
      addBlock(blocks, name, block.step_seconds, block.step_cpu_seconds, block.peak_rss / 2 ** 20)
    }
  }
  const lossDifference = Math.max(
    ...[...peers.values()].flatMap(({ ready }) => ready.losses.map((l: number, i: number) => Math.abs(l - warm[i]))),
  )
  const { torch } = [...peers.values()][0].ready
  for (const peer of peers.values()) peer.end()
  await proxy.release()
  const labels = collated[0].positions.length / (item.batch * item.length)
  return { ...summary(blocks, item.batch * item.length), labelShare: labels, lossDifference, torch }
}

async function measureScoring(item: Case, rows: TokenRows, folder: string) {
  writeFileSync(join(folder, 'pool'), poolFile(rows))
  const spec = { model: folder, pool: join(folder, 'pool'), threads, max_length: MAX_LENGTH, serve: true }
  const peer = await startPeer(options.python, 'score_hf.py', spec)
  const proxy = await compileModel(item)
  const count = Number(options.rows)
  const blocks: Sides = {}
  const tokens: number[] = []
  let nllDifference = 0
  // The first round warms up both sides.
  for (let round = -1; round < rounds; round++) {
    const from = ((round + 1) * count) % (rows.count - count)
    const some = Uint32Array.from({ length: count }, (_, i) => from + i)
    const here = await timed(() =>
      scoreRows(proxy.scorer, rows, { tokensPerBatch: TOKENS_PER_BATCH, maxLength: MAX_LENGTH, rows: some }),
    )
    const add = (side: string, seconds: number, cpu: number, peak: number) => {
      if (round >= 0) addBlock(blocks, side, [seconds], [cpu], peak)
    }
    add('winnow', here.seconds, here.cpu, peakMiB())
    for (const mode of ['batched', 'single']) {
      const there = await peer.ask({ mode, from, to: from + count })
      add(`transformers ${mode}`, there.seconds, there.cpu_seconds, there.peak_rss / 2 ** 20)
      if (mode === 'batched') tokens.push(there.tokens)
      for (const [i, nll] of there.nll.entries()) {
        if (nll !== null) nllDifference = Math.max(nllDifference, Math.abs(nll - here.value.nll[from + i]))
      }
    }
  }
  const { torch, transformers } = peer.ready
  peer.end()
  await proxy.release()
  return { ...summary(blocks, median(tokens)), nllDifference, torch, transformers }
}

const results = []
for (const item of cases) {
  if (options.only !== undefined && options.only !== item.name) continue
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  try {
    mkdirSync(folder, { recursive: true })
    const config = configOf(item)
    const rows = await tokenisePool(pool, item.vocabulary)
    writeFileSync(join(folder, 'config.json'), JSON.stringify(llama(config).config))
    writeFileSync(
      join(folder, 'model.safetensors'),
      writeSafetensors(initialState(llama(config), 0).parameters, { format: 'pt' }),
    )
    for (const part of ['train', 'score'].filter((part) => options.part === undefined || options.part === part)) {
      const result = await (part === 'train' ? measureTraining : measureScoring)(item, rows, folder)
      results.push({ part, ...item, threads, pool, ...result })
      console.log(`${item.name} ${part}`, JSON.stringify(result, null, 1))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
if (options.write) {
  writeFileSync(
    join(import.meta.dirname, 'results/proxy.json'),
    JSON.stringify({ date: new Date().toISOString(), machine: machine(), results }, null, 2) + '\n',
  )
}
