/**
 * Fine-tuning and scoring at the shapes of pretrained models against transformers: the same weights (random), batches and threads,
 * alternating in one run.
 *
 *   node bench/pretrained.ts [pool.jsonl] [--python path] [--rounds 3] [--compile] [--only pythia-70m] [--part train|score]
 *                            [--device cpu|webgpu|cuda] [--recompute] [--tiny] [--write]
 *
 * Training peer: AutoModelForCausalLM, sdpa attention, fused AdamW, clipping; --compile adds torch.compile. On --device webgpu or cuda peers run
 * on cuda where torch has it, in float32 and in bfloat16. Scoring peer: a batched loop, 32 rows in input order, padded to the longest. Losses must
 * agree to 1e-3. --tiny takes toy sizes, to see that it runs. Each case and part has a process of its own, so that its peak memory is its own. Read
 * the ratios: all sides share the machine. --write keeps bench/results/pretrained.json.
 */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Tensor as OrtTensor } from 'onnxruntime-common'
import * as ort from 'onnxruntime-node'
import { matmul } from '../src/engine/operators/matmul.ts'
import { compile, type Device, type DeviceName, type OrtApi } from '../src/engine/session.ts'
import { input, type TensorMap } from '../src/engine/tensor.ts'
import { languageModel } from '../src/models/config.ts'
import type { LanguageModel } from '../src/models/model.ts'
import { writeSafetensors } from '../src/models/safetensors.ts'
import { workerThreads } from '../src/parallel/threads.ts'
import { collate } from '../src/training/collate.ts'
import type { TokenRows } from '../src/training/rows.ts'
import { compileScorer } from '../src/training/scorer.ts'
import { compileTrainer, startingState } from '../src/training/trainer.ts'
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
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    device: { type: 'string', default: 'cpu' },
    compile: { type: 'boolean', default: false },
    recompute: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
    only: { type: 'string' },
    part: { type: 'string' },
    write: { type: 'boolean', default: false },
    /** Where a child leaves its result. */
    result: { type: 'string' },
  },
})
const pool = positionals[0] ?? 'examples/math.jsonl'
const [threads, rounds] = [Number(options.threads), Number(options.rounds)]
const WARMUP = 2
const RATE = 1e-4
const MAX_LENGTH = 512
const SCORING_TOKENS = 4096
/** Ids of the tokenizer that is trained on the pool: lengths are those of real text. */
const TOKENIZER_IDS = 8192
/** Largest difference between losses of both sides, nats a label. */
const TOLERANCE = 1e-3

interface Case {
  name: string
  config: Record<string, unknown>
  /** Rows and tokens of a training batch. */
  batch: number
  length: number
  /** Rows of a scoring block. */
  rows: number
}

const neox = (hidden_size: number, num_attention_heads: number, vocab_size = 50304) => ({
  ...{ architectures: ['GPTNeoXForCausalLM'], model_type: 'gpt_neox', hidden_act: 'gelu', vocab_size, hidden_size },
  ...{ intermediate_size: 4 * hidden_size, num_hidden_layers: 6, num_attention_heads, rotary_pct: 0.25 },
  ...{ max_position_embeddings: 2048, rotary_emb_base: 10000, layer_norm_eps: 1e-5, use_parallel_residual: true },
  ...{ tie_word_embeddings: false, initializer_range: 0.02, bos_token_id: 0, eos_token_id: 0 },
})
const gpt2 = (n_embd: number, n_layer: number, n_head: number, vocab_size = 50257) => ({
  ...{ architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', n_embd, n_layer, n_head, n_positions: 1024, vocab_size },
  ...{ activation_function: 'gelu_new', layer_norm_epsilon: 1e-5, initializer_range: 0.02, bos_token_id: 0 },
  ...{ resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0, eos_token_id: 0 },
})

const cases: Case[] = options.tiny
  ? [
      { name: 'pythia-tiny', config: { ...neox(32, 2, 1024), num_hidden_layers: 2 }, batch: 2, length: 96, rows: 4 },
      { name: 'gpt2-tiny', config: gpt2(32, 2, 2, 1024), batch: 2, length: 96, rows: 4 },
    ]
  : [
      { name: 'pythia-14m', config: neox(128, 4), batch: 16, length: 192, rows: 64 },
      { name: 'pythia-70m', config: neox(512, 8), batch: 8, length: 192, rows: 32 },
      { name: 'gpt2-124m', config: gpt2(768, 12, 12), batch: 8, length: 192, rows: 32 },
    ]

/** Random weights of the configuration's deviation, uniform: quick to make, and the same each time. */
function weightsOf({ parameters }: LanguageModel): TensorMap {
  let state = 1
  return new Map(
    parameters.map(({ name, shape, initial }) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(initial.kind === 'ones' ? 1 : 0)
      if (initial.kind === 'normal') {
        const width = 2 * Math.sqrt(3) * initial.deviation
        for (let i = 0; i < data.length; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0
          data[i] = width * (state / 2 ** 32 - 0.5)
        }
      }
      return [name, { shape, data }]
    }),
  )
}

/** Products of a chain: only the last one's result leaves the device. */
const CHAIN = 8

/** FLOP/s of the best of some chains of square products: what the device gives at most through this runtime. Measured with no peer at work. */
async function matmulRate(device: Device): Promise<number> {
  const n = options.tiny ? 256 : 1024
  const b = input('b', [n, n])
  let y = input('a', [n, n])
  for (let i = 0; i < CHAIN; i++) y = matmul(y, b)
  const executable = await compile({ y }, device)
  const side = () => new device.ort.Tensor('float32', new Float32Array(n * n).fill(1 / n), [n, n]) as OrtTensor
  const feeds = { a: side(), b: side() }
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 8; i++) least = Math.min(least, (await timed(() => executable.run(feeds))).seconds)
  await executable.release()
  return (CHAIN * 2 * n ** 3) / least
}

interface PeerSide {
  name: string
  spec: { device: string; dtype: string; compile?: boolean }
}

/** Peers of this run: on the cpu, or on cuda where torch has it. */
function peerSides(training: boolean): PeerSide[] {
  const hasCuda = () => {
    const found = execFileSync(options.python, ['-c', 'import torch; print(torch.cuda.is_available())'])
    return found.toString().trim() === 'True'
  }
  const onCuda = options.device !== 'cpu' && hasCuda()
  const kinds = onCuda
    ? ['float32', 'bfloat16'].map((dtype) => ({ device: 'cuda', dtype }))
    : [{ device: 'cpu', dtype: 'float32' }]
  return kinds.flatMap((kind) => {
    const name = `transformers ${kind.device} ${kind.dtype}`
    const compiled = { name: `${name} compiled`, spec: { ...kind, compile: true } }
    return [{ name, spec: kind }, ...(training && options.compile ? [compiled] : [])]
  })
}

const mebibytes = (block: { peak_rss: number; peak_device: number | null }) =>
  (block.peak_device ?? block.peak_rss) / 2 ** 20

async function measureTraining(item: Case, model: LanguageModel, weights: TensorMap, rows: TokenRows, folder: string) {
  const batches = likeRows(rows, item.batch, item.length, WARMUP + 4)
  writeFileSync(join(folder, 'tokens'), tokenFile(rows, batches, item.length))
  const device: Device = { ort: ort as unknown as OrtApi, name: options.device as DeviceName, threads }
  const trainer = await compileTrainer({
    ...{ model, device, maxLength: item.length, recompute: options.recompute, parallel: workerThreads(threads) },
    optimiser: { beta1: 0.9, beta2: 0.999, weightDecay: 0, maxNorm: 1 },
  })
  trainer.load(startingState(weights))
  const collated = batches.map((batch) =>
    collate(rows, { rows: batch, length: item.length }, item.length, trainer.padding),
  )
  const losses: number[] = []
  const train = async () => {
    losses.push((await trainer.train(collated[losses.length % collated.length], RATE)).loss)
  }
  while (losses.length < WARMUP) await train()
  const rate = await matmulRate(device)
  const shared = { path: folder, tokens: join(folder, 'tokens'), batch: item.batch, length: item.length, threads }
  const peers = new Map<string, Peer>()
  for (const { name, spec } of peerSides(true)) {
    const options_ = { ...shared, ...spec, warmup: WARMUP, serve: true, lr: RATE, betas: [0.9, 0.999] }
    peers.set(name, await startPeer(options.python, 'train_torch.py', options_))
  }
  const sides: Sides = {}
  const there = new Map([...peers].map(([name, { ready }]) => [name, [...ready.losses] as number[]]))
  for (let round = 0; round < rounds; round++) {
    const { seconds, cpu } = await timed(train)
    addBlock(sides, 'winnow', [seconds], [cpu], peakMiB())
    for (const [name, peer] of peers) {
      const block = await peer.ask({ steps: 1 })
      there.get(name)?.push(...block.losses)
      addBlock(sides, name, block.step_seconds, block.step_cpu_seconds, mebibytes(block))
    }
  }
  const difference = Object.fromEntries(
    [...there].map(([name, theirs]) => [name, Math.max(...theirs.map((loss, i) => Math.abs(loss - losses[i])))]),
  )
  const { torch } = [...peers.values()][0].ready
  for (const peer of peers.values()) peer.end()
  const [{ shape, positions }] = collated
  const flops = trainer.flops({ rows: shape[0], length: shape[1], labels: positions.length }).train
  await trainer.release()
  return {
    ...summary(sides, item.batch * item.length),
    ...{ lossDifference: difference, matmulRate: rate, torch, labelShare: positions.length / (shape[0] * shape[1]) },
    shareOfMatmulRate: flops / median(sides.winnow.seconds) / rate,
  }
}

async function measureScoring(item: Case, model: LanguageModel, weights: TensorMap, rows: TokenRows, folder: string) {
  writeFileSync(join(folder, 'pool'), poolFile(rows))
  const device: Device = { ort: ort as unknown as OrtApi, name: options.device as DeviceName, threads }
  const scorer = await compileScorer({ model, weights, device, maxLength: MAX_LENGTH })
  const peers = new Map<string, Peer>()
  const shared = { model: folder, pool: join(folder, 'pool'), threads, max_length: MAX_LENGTH, modes: ['batched'] }
  for (const { name, spec } of peerSides(false))
    peers.set(name, await startPeer(options.python, 'score_hf.py', { ...shared, ...spec, serve: true }))
  const sides: Sides = {}
  const tokens: number[] = []
  const difference: Record<string, number> = {}
  // The first round warms up all sides.
  for (let round = -1; round < rounds; round++) {
    const from = ((round + 1) * item.rows) % (rows.count - item.rows)
    const some = Uint32Array.from({ length: item.rows }, (_, i) => from + i)
    const here = await timed(() =>
      scoreRows(scorer, rows, { tokensPerBatch: SCORING_TOKENS, maxLength: MAX_LENGTH, rows: some }),
    )
    if (round >= 0) addBlock(sides, 'winnow', [here.seconds], [here.cpu], peakMiB())
    for (const [name, peer] of peers) {
      const block = await peer.ask({ mode: 'batched', from, to: from + item.rows })
      if (round >= 0) addBlock(sides, name, [block.seconds], [block.cpu_seconds], mebibytes(block))
      tokens.push(block.tokens)
      for (const [i, nll] of (block.nll as (number | null)[]).entries()) {
        if (nll !== null) difference[name] = Math.max(difference[name] ?? 0, Math.abs(nll - here.value.nll[from + i]))
      }
    }
  }
  const { torch, transformers } = [...peers.values()][0].ready
  for (const peer of peers.values()) peer.end()
  await scorer.release()
  return { ...summary(sides, median(tokens)), lossDifference: difference, torch, transformers }
}

/** One case and part in this process. */
async function measure(item: Case, part: string) {
  const folder = mkdtempSync(join(tmpdir(), 'pretrained-'))
  try {
    const model = languageModel(item.config)
    const rows = await tokenisePool(pool, options.tiny ? 1024 : TOKENIZER_IDS)
    const weights = weightsOf(model)
    writeFileSync(join(folder, 'config.json'), JSON.stringify(item.config))
    writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(weights, { format: 'pt' }))
    const result = await (part === 'train' ? measureTraining : measureScoring)(item, model, weights, rows, folder)
    const { name, batch, length, rows: block } = item
    return { part, case: name, batch, length, rows: block, threads, device: options.device, pool, ...result }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const wanted = cases.filter(({ name }) => options.only === undefined || options.only === name)
if (wanted.length === 0)
  throw new Error(`--only ${options.only}: there are ${cases.map(({ name }) => name).join(', ')}`)
const parts = ['train', 'score'].filter((part) => options.part === undefined || options.part === part)
if (options.result !== undefined) {
  writeFileSync(options.result, JSON.stringify(await measure(wanted[0], parts[0])))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'pretrained-'))
  const results = wanted.flatMap(({ name }) =>
    parts.map((part) => {
      const result = join(folder, `${name}-${part}.json`)
      const own = ['--only', name, '--part', part, '--result', result]
      const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1), ...own], {
        stdio: 'inherit',
      })
      if (status !== 0) throw new Error(`${name} ${part} ended with ${status}`)
      const found = JSON.parse(readFileSync(result, 'utf8'))
      console.log(`${name} ${part}`, JSON.stringify(found, null, 1))
      const differences = Object.entries(found.lossDifference as Record<string, number>)
      for (const [side, difference] of differences.filter(([side]) => side.includes('float32')))
        if (!(difference < TOLERANCE))
          throw new Error(`${name} ${part}: losses differ from those of ${side} by ${difference}`)
      return found
    }),
  )
  rmSync(folder, { recursive: true })
  if (options.write) {
    writeFileSync(
      join(import.meta.dirname, 'results/pretrained.json'),
      JSON.stringify({ date: new Date().toISOString(), machine: machine(), results }, null, 2) + '\n',
    )
  }
}
