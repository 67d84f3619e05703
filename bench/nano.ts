/**
 * The nano recipe against a smoothed bigram: trained on 95 % of each pool, both are asked for the other 5 %.
 *
 *   node bench/nano.ts <pool.jsonl[.gz]> … [--set key=value …] [--checkpoints 12] [--rows n] [--whole] [--prompts] [--write]
 *
 * `--set` overrides a number of the recipe, the model or the optimiser by its name, `initial` multiplies the starting matrices,
 * `vocabularySize` asks for another vocabulary. `--rows` takes the first n rows of a shuffled pool. `--whole` trains on all rows and
 * compares in sample, as a run does. `--prompts` puts loss on prompt tokens too, in training only. `--write` keeps the result in
 * bench/results/nano.json, replacing the entry of the same pool and mode.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import { openDataset } from '../src/dataset/dataset.ts'
import type { PoolRecord } from '../src/dataset/record.ts'
import type { Device, OrtApi } from '../src/engine/session.ts'
import { fitBigram } from '../src/evaluation/bigram.ts'
import { llama } from '../src/models/llama.ts'
import { type NanoRecipe, nanoInitialParameters, nanoRecipe, nanoVocabulary } from '../src/models/nano.ts'
import { countParameters } from '../src/models/parameters.ts'
import { randomStream, shuffle } from '../src/random/philox.ts'
import { loadTokenizer } from '../src/tokenizer/load.ts'
import { TOKEN_MASK, TRAINED_BIT } from '../src/tokenizer/tokenizer.ts'
import { trainTokenizer } from '../src/tokenizer/train.ts'
import type { TokenRows } from '../src/training/rows.ts'
import { compileTrainer, initialState } from '../src/training/trainer.ts'
import { recordTrajectories, scoreRows } from '../src/training/trajectories.ts'

const { values: options, positionals: pools } = parseArgs({
  allowPositionals: true,
  options: {
    set: { type: 'string', multiple: true, default: [] },
    checkpoints: { type: 'string', default: '12' },
    threads: { type: 'string', default: '2' },
    seed: { type: 'string', default: '0' },
    rows: { type: 'string' },
    whole: { type: 'boolean', default: false },
    prompts: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const seed = Number(options.seed)
const overrides = new Map(options.set.map((pair) => [pair.split('=')[0], Number(pair.split('=')[1])]))
const RESULTS = new URL('results/nano.json', import.meta.url)

interface Tokenised {
  rows: TokenRows
  bytes: number
  /** Bytes of trained text. */
  trainedBytes: number
  vocabularySize: number
}

/** A pool in memory: its tokenizer is trained on all of it, as a run does. */
async function tokenise(path: string): Promise<Tokenised> {
  const dataset = await openDataset([path], { onBadRow: 'skip' })
  let records: PoolRecord[] = []
  for await (const batch of dataset.batches()) records.push(...batch.records)
  if (options.rows !== undefined) {
    const order = shuffle(
      records.map((_, i) => i),
      randomStream(seed, 'bench/rows'),
    )
    records = order.slice(0, Number(options.rows)).map((i) => records[i])
  }
  const texts = records.flatMap(({ turns }) => turns.map(({ content }) => content))
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const trained = records.flatMap(({ turns }) => turns.filter((turn) => turn.trained))
  const { json, vocabularySize } = trainTokenizer(texts, {
    vocabularySize: overrides.get('vocabularySize') ?? nanoVocabulary(bytes),
  })
  const tokenizer = loadTokenizer(json)
  const tokens = records.map(({ turns }) => tokenizer.encodeTurns(turns))
  return {
    rows: rowsOf(tokens),
    bytes,
    trainedBytes: trained.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0),
    vocabularySize,
  }
}

function rowsOf(tokens: readonly Uint32Array[]): TokenRows {
  return {
    count: tokens.length,
    lengths: Uint32Array.from(tokens, (row) => row.length),
    labels: Uint32Array.from(tokens, (row) => row.reduce((sum, token) => sum + (token >>> 31), 0)),
    read: (row) => tokens[row],
  }
}

/** The same rows with loss on every token. */
function withPrompts(rows: TokenRows): TokenRows {
  return { ...rows, labels: rows.lengths, read: (row) => rows.read(row).map((token) => (token | TRAINED_BIT) >>> 0) }
}

/** Every 20th of a shuffled order is held out. */
function split(count: number): { train: Uint32Array; held: Uint32Array } {
  const order = shuffle(
    Uint32Array.from({ length: count }, (_, row) => row),
    randomStream(seed, 'bench/split'),
  )
  const cut = Math.round(0.05 * count)
  return { train: order.subarray(cut).slice().sort(), held: order.subarray(0, cut).slice().sort() }
}

/** Labels inside the window of each row. */
function labelsInWindow(rows: TokenRows, maxLength: number): Uint32Array {
  return Uint32Array.from({ length: rows.count }, (_, row) =>
    rows
      .read(row)
      .subarray(1, maxLength)
      .reduce((sum, token) => sum + (token >>> 31), 0),
  )
}

/** Mean over labels of the rows' mean NLLs. */
function tokenMean(nll: Float32Array, labels: Uint32Array, rows: Uint32Array): number {
  let [total, count] = [0, 0]
  for (const row of rows) {
    if (labels[row] === 0) continue
    total += nll[row] * labels[row]
    count += labels[row]
  }
  return total / count
}

/** Unigram with one pseudo-count an id. */
function unigramNll(rows: TokenRows, vocabularySize: number, train: Uint32Array, held: Uint32Array, maxLength: number) {
  const counts = new Float64Array(vocabularySize).fill(1)
  const visit = (indices: Uint32Array, each: (token: number) => void) => {
    for (const row of indices)
      for (const token of rows.read(row).subarray(1, maxLength)) if (token & TRAINED_BIT) each(token & TOKEN_MASK)
  }
  visit(train, (token) => counts[token]++)
  const total = counts.reduce((a, b) => a + b, 0)
  let [nll, labels] = [0, 0]
  visit(held, (token) => {
    nll -= Math.log(counts[token] / total)
    labels++
  })
  return nll / labels
}

function overridden(made: NanoRecipe): NanoRecipe {
  const apply = <T extends object>(part: T): T =>
    Object.fromEntries(
      Object.entries(part).map(([name, value]) => [name, overrides.has(name) ? overrides.get(name) : value]),
    ) as T
  const config = apply(made.config)
  if (overrides.has('hiddenSize')) {
    config.intermediateSize = overrides.get('intermediateSize') ?? 3 * config.hiddenSize
    config.heads = overrides.get('heads') ?? config.hiddenSize / 64
  }
  config.keyValueHeads = overrides.get('keyValueHeads') ?? config.heads
  return { config, recipe: apply(made.recipe), optimiser: apply(made.optimiser) }
}

const device: Device = { ort: ort as unknown as OrtApi, name: 'cpu', threads: Number(options.threads) }
const say = (text: string) => process.stderr.write(`${text}\n`)

for (const path of pools) {
  const { rows, bytes, trainedBytes, vocabularySize } = await tokenise(path)
  const tokens = rows.lengths.reduce((a, b) => a + b, 0)
  const labels = rows.labels.reduce((a, b) => a + b, 0)
  const { config, recipe, optimiser } = overridden(nanoRecipe({ tokens, labels, rows: rows.count, vocabularySize }))
  const everything = Uint32Array.from({ length: rows.count }, (_, row) => row)
  const { train, held } = options.whole ? { train: everything, held: everything } : split(rows.count)
  const { maxLength } = recipe
  const windowLabels = labelsInWindow(rows, maxLength)

  const bigram = fitBigram(rows, vocabularySize, { rows: train, maxLength })
  const bigramNll = bigram.nll(rows, held).meanNll
  const bigramTrain = bigram.nll(rows, train).meanNll
  const unigram = unigramNll(rows, vocabularySize, train, held, maxLength)
  const parameters = countParameters(llama(config).parameters)
  say(
    `${basename(path)}: ${rows.count} rows, ${tokens} tokens, ${labels} labels, V ${vocabularySize}, d ${config.hiddenSize} x ${config.layers}, ${parameters} parameters; unigram ${unigram.toFixed(3)} bigram ${bigramNll.toFixed(3)} (train ${bigramTrain.toFixed(3)})`,
  )

  const proxy = await compileTrainer({ model: llama(config), device, optimiser })
  const state = { ...initialState(llama(config), seed), parameters: nanoInitialParameters(config, seed) }
  const by = overrides.get('initial') ?? 1
  for (const { shape, data } of state.parameters.values())
    if (shape.length === 2) for (let i = 0; i < data.length; i++) data[i] *= by

  proxy.load(state)
  const started = performance.now()
  const cpuStarted = process.cpuUsage()
  let [steps, seen, processed] = [0, 0, 0]
  let evaluation = 0
  const curve: { step: number; train: number; held: number; firstQuartile: number; lastQuartile: number }[] = []
  const trained = options.prompts ? withPrompts(rows) : rows
  for await (const checkpoint of recordTrajectories({
    proxy,
    rows: trained,
    recipe,
    seed,
    checkpoints: Number(options.checkpoints),
    trainOn: train,
    onProgress: (progress) => {
      steps = progress.steps
      processed = progress.tokens
      if (progress.step % 50 === 0 && progress.stage === 'train' && progress.step !== seen) {
        seen = progress.step
        const seconds = (performance.now() - started) / 1000
        if (process.stderr.isTTY)
          process.stderr.write(`\r${seen}/${steps} loss ${progress.loss?.toFixed(3)} ${seconds.toFixed(0)} s `)
        else if (seen % 100 === 0) say(`  ${seen}/${steps} loss ${progress.loss?.toFixed(3)} ${seconds.toFixed(0)} s`)
      }
    },
  })) {
    const before = performance.now()
    const nll = options.prompts ? (await scoreRows(proxy.scorer, rows, recipe)).nll : checkpoint.nll
    evaluation += performance.now() - before
    const sorted = nll.filter((value) => !Number.isNaN(value)).sort()
    const point = {
      step: checkpoint.step,
      train: tokenMean(nll, windowLabels, train),
      held: tokenMean(nll, windowLabels, held),
      firstQuartile: sorted[Math.floor(sorted.length / 4)],
      lastQuartile: sorted[Math.floor((3 * sorted.length) / 4)],
    }
    curve.push(point)
    say(
      `  step ${point.step}: train ${point.train.toFixed(3)} held ${point.held.toFixed(3)}, rows' quartiles ${point.firstQuartile.toFixed(2)}-${point.lastQuartile.toFixed(2)}, ${((performance.now() - started) / 1000).toFixed(0)} s`,
    )
  }
  const seconds = (performance.now() - started - evaluation) / 1000
  const cpu = process.cpuUsage(cpuStarted)
  await proxy.release()
  const last = curve.at(-1)!
  const windowTokens = windowLabels.reduce((a, b) => a + b, 0)
  const result = {
    pool: basename(path),
    mode: options.whole ? 'whole' : 'held-out',
    rows: rows.count,
    bytes,
    tokens,
    labels: windowTokens,
    parameters,
    steps,
    heldOutNll: { proxy: last.held, bigram: bigramNll, unigram },
    trainNll: { proxy: last.train, bigram: bigramTrain },
    /** Nats a byte of trained text: comparable between vocabularies. */
    heldOutNatsPerByte: (last.held * labels) / trainedBytes,
    seconds: Number(seconds.toFixed(1)),
    /** Seconds of all cores: what other programs on the machine take does not count. */
    cpuSeconds: Math.round((cpu.user + cpu.system) / 1e6),
    threads: device.threads,
    checkpoints: curve.length,
    tokensPerSecond: Math.round(processed / seconds),
    config,
    recipe,
    optimiser,
    overrides: Object.fromEntries(overrides),
    prompts: options.prompts,
    curve,
  }
  say(
    `  => held-out proxy ${last.held.toFixed(3)} bigram ${bigramNll.toFixed(3)} (${(last.held - bigramNll).toFixed(3)}), nats/byte ${result.heldOutNatsPerByte.toFixed(4)}, train ${last.train.toFixed(3)} vs ${bigramTrain.toFixed(3)}, ${steps} steps, ${result.seconds} s (${result.cpuSeconds} s of cpu), ${result.tokensPerSecond} tokens/s`,
  )
  if (options.write) write(result)
}

function write(result: { pool: string; mode: string }): void {
  const kept = existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')).results as (typeof result)[]) : []
  const others = kept.filter(({ pool, mode }) => pool !== result.pool || mode !== result.mode)
  const version = (name: string) =>
    JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8')).version
  const document = {
    date: new Date().toISOString().slice(0, 10),
    machine: { cpu: cpus()[0].model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) },
    versions: { node: process.versions.node, 'onnxruntime-node': version('onnxruntime-node') },
    results: [...others, result].sort((a, b) => (a.pool + a.mode < b.pool + b.mode ? -1 : 1)),
  }
  writeFileSync(RESULTS, `${JSON.stringify(document, null, 2)}\n`)
}
