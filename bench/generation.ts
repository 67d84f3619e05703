/**
 * Greedy generation against transformers' `generate`: the same weights, prompts, batch, threads and number of new tokens, alternating in one run.
 *
 *   node bench/generation.ts [--python path] [--rounds 3] [--threads 2] [--only gpt2-124m] [--batch 8] [--new 64] [--tiny] [--write]
 *
 * Prompts have 64 to 128 random tokens; no token ends a text, so both sides do the same work; compiling and loading are not timed. transformers gets the
 * prompts as one batch, padded on the left, and uses its default cache and sdpa attention. Both sides' tokens are compared: with random weights a few
 * texts part where two tokens are nearly equally likely. Each model has a process of its own. Read the ratios: both sides share the machine.
 * --write keeps bench/results/generation.json.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as ort from 'onnxruntime-node'
import type { OrtApi } from '../src/engine/session.ts'
import type { TensorMap } from '../src/engine/tensor.ts'
import { compileGenerator } from '../src/generation/generator.ts'
import { languageModel } from '../src/models/config.ts'
import { initialParameters } from '../src/models/parameters.ts'
import { readSafetensors, writeSafetensors } from '../src/models/safetensors.ts'
import { matchWeights } from '../src/models/weights.ts'
import { randomStream } from '../src/random/philox.ts'
import { startPeer } from './peers/peer.ts'
import { addBlock, machine, peakMiB, type Sides, summary, timed } from './sides.ts'

const { values: options } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
    batch: { type: 'string' },
    new: { type: 'string', default: '64' },
    tiny: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    /** Where a child leaves its results. */
    result: { type: 'string' },
  },
})
const [rounds, threads, fresh] = [Number(options.rounds), Number(options.threads), Number(options.new)]
const PROMPT = { least: 64, most: 128 }
const SEED = 1

interface Case {
  name: string
  /** A directory of the repository, or a configuration with random weights. */
  model: string | Record<string, unknown>
}

const llama = (hidden_size: number, num_hidden_layers: number, num_attention_heads: number) => ({
  ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', hidden_size, num_hidden_layers },
  ...{ intermediate_size: 3 * hidden_size, num_attention_heads, num_key_value_heads: num_attention_heads / 2 },
  ...{ max_position_embeddings: 2048, rms_norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: true },
  ...{ vocab_size: 32_000, initializer_range: 0.02, bos_token_id: 1, eos_token_id: 2 },
})
const gpt2 = {
  ...{
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
    n_positions: 1024,
  },
  ...{ vocab_size: 50257, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5, initializer_range: 0.02 },
  ...{ resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0, bos_token_id: 0, eos_token_id: 0 },
}
const stories = { name: 'stories260K', model: join(import.meta.dirname, '../test/fixtures/models/stories260K') }
const cases: Case[] = options.tiny
  ? [stories]
  : [stories, { name: 'llama-42m', model: llama(512, 8, 8) }, { name: 'gpt2-124m', model: gpt2 }]
const batches = options.batch === undefined ? [1, 8, 32] : [Number(options.batch)]

function opened({ model }: Case) {
  if (typeof model !== 'string') {
    const parsed = languageModel(model)
    return { config: model, model: parsed, weights: initialParameters(parsed.parameters, SEED) }
  }
  const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'))
  const parsed = languageModel(config)
  const { tensors } = readSafetensors(readFileSync(join(model, 'model.safetensors')))
  const own = [...matchWeights(parsed, tensors)].map(([name, from]) => [name, tensors.get(from)] as const)
  return { config, model: parsed, weights: new Map(own) as TensorMap }
}

function promptsOf(count: number, vocabularySize: number, round: number): Uint32Array[] {
  const stream = randomStream(SEED, 'prompts', round * 1000 + count)
  return Array.from({ length: count }, () =>
    Uint32Array.from(
      { length: PROMPT.least + stream.below(PROMPT.most - PROMPT.least + 1) },
      () =>
        // Special tokens come first in vocabularies.
        3 + stream.below(vocabularySize - 3),
    ),
  )
}

/** One model in this process: all batches. */
async function measure(item: Case) {
  const folder = mkdtempSync(join(tmpdir(), 'generation-'))
  try {
    const { config, model, weights } = opened(item)
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
    writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(weights, { format: 'pt' }))
    const device = { ort: ort as unknown as OrtApi, name: 'cpu' as const, threads }
    const results = []
    const peer = await startPeer(options.python, 'generate_hf.py', { model: folder, threads })
    for (const batch of batches) {
      const compiling = await timed(() =>
        compileGenerator({ model, weights, device, maxLength: PROMPT.most + fresh, batch }).then(async (made) => {
          // Graphs of a large vocabulary are compiled when they are first asked for.
          await made.generate({ prompts: [Uint32Array.of(1)], maxNewTokens: 1 })
          return made
        }),
      )
      const generator = compiling.value
      const sides: Sides = {}
      let [same, all] = [0, 0]
      // The first round warms up both sides.
      for (let round = -1; round < rounds; round++) {
        const prompts = promptsOf(batch, model.vocabularySize, round + 1)
        const here = await timed(() => generator.generate({ prompts, maxNewTokens: fresh }))
        const there = await peer.ask({ prompts: prompts.map((prompt) => [...prompt]), new: fresh })
        here.value.forEach(({ tokens }, i) => {
          const theirs = there.tokens[i] as number[]
          if (theirs.length !== fresh || tokens.length !== fresh) throw new Error('a text ended early')
          all++
          if (theirs.every((token, j) => token === tokens[j])) same++
        })
        if (round < 0) continue
        addBlock(sides, 'winnow', [here.seconds], [here.cpu], peakMiB())
        addBlock(sides, 'transformers', [there.seconds], [there.cpu_seconds], there.peak_rss / 2 ** 20)
        console.log(
          `${item.name} x ${batch}: ${here.seconds.toFixed(3)} s (cpu ${here.cpu.toFixed(3)}), ` +
            `transformers ${there.seconds.toFixed(3)} s (cpu ${there.cpu_seconds.toFixed(3)})`,
        )
      }
      await generator.release()
      results.push({
        ...{ model: item.name, batch, prompt: PROMPT, newTokens: fresh, threads, compileSeconds: compiling.seconds },
        ...summary(sides, batch * fresh),
        /** Texts that are the same on both sides, of all. */
        texts: { same, all },
        peer: peer.ready,
      })
    }
    peer.end()
    return results
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const wanted = cases.filter(({ name }) => options.only === undefined || options.only === name)
if (wanted.length === 0)
  throw new Error(`--only ${options.only}: there are ${cases.map(({ name }) => name).join(', ')}`)
if (options.result !== undefined) {
  writeFileSync(options.result, JSON.stringify(await measure(wanted[0])))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'generation-'))
  const results = wanted.flatMap(({ name }) => {
    const result = join(folder, `${name}.json`)
    const own = ['--only', name, '--result', result]
    const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1), ...own], {
      stdio: 'inherit',
    })
    if (status !== 0) throw new Error(`${name} ended with ${status}`)
    return JSON.parse(readFileSync(result, 'utf8')) as Awaited<ReturnType<typeof measure>>
  })
  rmSync(folder, { recursive: true })
  for (const { model, batch, sides, ratios, texts } of results)
    console.log(
      `${model} x ${batch}: ${sides.winnow.tokensPerSecond} tokens/s, transformers ${sides.transformers.tokensPerSecond}: ` +
        `${ratios.transformers.median.toFixed(2)}x elapsed, ${ratios.transformers.cpu.toFixed(2)}x processor time; ` +
        `${texts.same} of ${texts.all} texts the same`,
    )
  if (options.write)
    writeFileSync(
      join(import.meta.dirname, 'results/generation.json'),
      JSON.stringify({ date: new Date().toISOString(), machine: machine(), results }, null, 2) + '\n',
    )
}
