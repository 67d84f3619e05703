/**
 * What recording confidence beside the losses costs: the scoring graph as it is against one that gives the NLL alone, the same batches,
 * alternating in one run. Ratios are what to read.
 *
 *   node bench/confidence.ts [--rounds 15] [--threads 2] [--only nano] [--batches 8]
 *
 * Without --only, writes bench/results/confidence.json.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import type { Lowering } from '../src/engine/onnx/lowering.ts'
import { scan } from '../src/engine/operators/loss.ts'
import { compile, type Device, type Executable, type OrtApi } from '../src/engine/session.ts'
import { dimValue, product } from '../src/engine/shape.ts'
import { apply, input, type Tensor } from '../src/engine/tensor.ts'
import { languageModel } from '../src/models/config.ts'
import { llama } from '../src/models/llama.ts'
import type { LanguageModel } from '../src/models/model.ts'
import { nanoRecipe } from '../src/models/nano.ts'
import { countParameters, initialParameters } from '../src/models/parameters.ts'
import { scoringChunks } from '../src/pipeline/proxy.ts'
import { randomStream } from '../src/random/philox.ts'
import { TRAINED_BIT } from '../src/tokenizer/tokenizer.ts'
import { type Collated, collate } from '../src/training/collate.ts'
import { scoringGraph } from '../src/training/graphs.ts'
import { batchFeeds, frozenFeeds, paddingFor } from '../src/training/scorer.ts'
import { machine, median, timed } from './sides.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '2' },
    batches: { type: 'string', default: '8' },
    only: { type: 'string' },
  },
})
const device: Device = { ort: ort as unknown as OrtApi, name: 'cpu', threads: Number(options.threads) }

const nano = (vocabularySize: number) =>
  llama(nanoRecipe({ tokens: 1e6, labels: 5e5, rows: 5000, vocabularySize }).config)
/** EleutherAI/pythia-70m-deduped's config.json, as far as it is read. */
const PYTHIA = {
  ...{
    model_type: 'gpt_neox',
    hidden_size: 512,
    num_attention_heads: 8,
    num_hidden_layers: 6,
    intermediate_size: 2048,
  },
  ...{ vocab_size: 50_304, max_position_embeddings: 2048, rotary_pct: 0.25, rotary_emb_base: 10_000 },
  ...{ layer_norm_eps: 1e-5, use_parallel_residual: true, hidden_act: 'gelu', tie_word_embeddings: false },
}
const cases = [
  { name: 'nano, 1,024 ids', model: () => nano(1024), share: 0.5 },
  { name: 'nano, 8,192 ids', model: () => nano(8192), share: 0.5 },
  { name: 'nano, 8,192 ids, all tokens are labels', model: () => nano(8192), share: 1 },
  { name: 'Pythia-70M', model: () => languageModel(PYTHIA), share: 0.5 },
]
/** Of a batch, as recorded runs score. */
const [ROWS, LENGTH] = [20, 200]

/** The scoring graph with the NLL alone: log-softmax and a gather, in the same chunks. */
function nllGraph(model: LanguageModel, chunks: number): { nll: Tensor } {
  const { hidden, output } = model.graph({ positions: input('positions', ['labels'], 'int32'), maxLength: LENGTH })
  const [m, d] = hidden.shape
  const [nll] = apply({
    operator: 'nllAlone',
    inputs: [hidden, output, input('targets', ['labels'], 'int32')],
    types: [{ shape: [m], dtype: 'float32' }],
    interpret: () => {
      throw new Error('nllAlone is only timed')
    },
    lower: (lowering, [h, w, t]) => {
      const forward = (inner: Lowering, rows: string, wanted: string) => {
        const one = inner.int64([1])
        const logs = inner.node('LogSoftmax', [inner.matmul(rows, w, { rank: 2, transposeB: true })], { axis: -1 })
        const picked = inner.node('GatherElements', [logs, inner.node('Unsqueeze', [wanted, one])], { axis: 1 })
        return [inner.node('Neg', [inner.node('Squeeze', [picked, one])])]
      }
      if (chunks === 1) return forward(lowering, h, t)
      const items = [
        { name: h, type: 'float32' as const, width: d as number },
        { name: t, type: 'int32' as const },
      ]
      const build = (inner: Lowering, _: string[], [rows, wanted]: string[]) => forward(inner, rows, wanted)
      const [stacked] = scan(lowering, { chunks, state: [], items, results: 1, build })
      return [lowering.node('Reshape', [stacked, lowering.int64([-1])])]
    },
    flops: (dims) => 2 * dimValue(product([m, d, output.shape[0]]), dims),
  })
  return { nll }
}

function batchOf(model: LanguageModel, chunks: number, share: number, index: number): Collated {
  const stream = randomStream(index, 'confidence batch')
  const from = Math.round(LENGTH * (1 - share))
  const row = () =>
    Uint32Array.from(
      { length: LENGTH },
      (_, j) => (stream.below(model.vocabularySize) | (j >= from ? TRAINED_BIT : 0)) >>> 0,
    )
  const rows = Array.from({ length: ROWS }, row)
  const lengths = new Uint32Array(ROWS).fill(LENGTH)
  const source = { count: ROWS, lengths, labels: lengths, read: (i: number) => rows[i] }
  return collate(source, { rows: Uint32Array.from(rows.keys()), length: LENGTH }, LENGTH, paddingFor(model, chunks))
}

const results = []
for (const { name, model: make, share } of cases) {
  if (options.only !== undefined && !name.includes(options.only)) continue
  const model = make()
  const chunks = scoringChunks(4096, model.vocabularySize)
  const frozen = await frozenFeeds(model, initialParameters(model.parameters, 1), device)
  const batches = Array.from({ length: Number(options.batches) }, (_, i) =>
    batchFeeds(batchOf(model, chunks, share, i), device.ort),
  )
  const sides: Record<string, Executable> = {
    both: await compile(scoringGraph(model, { scoringChunks: chunks, maxLength: LENGTH }), device),
    nll: await compile(nllGraph(model, chunks), device),
  }
  const seconds: Record<string, number[]> = { both: [], nll: [] }
  const cpu: Record<string, number[]> = { both: [], nll: [] }
  // Batches alternate, so that what else the machine does meets both sides; the first round warms up.
  for (let round = -1; round < Number(options.rounds); round++) {
    const spent = { both: [0, 0], nll: [0, 0] } as Record<string, number[]>
    for (const [i, feeds] of batches.entries())
      for (const side of (i + round) % 2 === 0 ? ['both', 'nll'] : ['nll', 'both']) {
        const { seconds: elapsed, cpu: used } = await timed(() => sides[side].run({ ...feeds, ...frozen.tensors }))
        spent[side][0] += elapsed
        spent[side][1] += used
      }
    if (round < 0) continue
    for (const side of ['both', 'nll']) {
      seconds[side].push(spent[side][0])
      cpu[side].push(spent[side][1])
    }
  }
  const ratio = (of: Record<string, number[]>) => median(of.both.map((value, i) => value / of.nll[i])) - 1
  const least = (of: Record<string, number[]>) => Math.min(...of.both) / Math.min(...of.nll) - 1
  const result = {
    name,
    parameters: countParameters(model.parameters),
    vocabularySize: model.vocabularySize,
    labelShare: share,
    chunks,
    secondsNll: median(seconds.nll),
    secondsBoth: median(seconds.both),
    /** Of the time of a pass, by the median of the rounds' ratios, by the least rounds, and in processor time by both. */
    extra: { elapsed: ratio(seconds), least: least(seconds), cpu: ratio(cpu), leastCpu: least(cpu) },
  }
  results.push(result)
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`
  process.stdout.write(
    `${name}: NLL alone ${result.secondsNll.toFixed(3)} s, with confidence ${result.secondsBoth.toFixed(3)} s; more by ${percent(result.extra.elapsed)} (median), ${percent(result.extra.least)} (least rounds), ${percent(result.extra.cpu)} and ${percent(result.extra.leastCpu)} (processor time)\n`,
  )
  await frozen.release()
  for (const side of Object.values(sides)) await side.release()
}
if (options.only === undefined)
  writeFileSync(
    join(import.meta.dirname, 'results/confidence.json'),
    `${JSON.stringify({ date: new Date().toISOString().slice(0, 10), machine: machine(), threads: device.threads, rounds: Number(options.rounds), batch: [ROWS, LENGTH], results }, null, 2)}\n`,
  )
