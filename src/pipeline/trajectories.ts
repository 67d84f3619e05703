/** The stages around the proxy: the bigram to compare with, and the recorded training run, resumable checkpoint by checkpoint. */

import { readFile, unlink } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import { fitBigram } from '../evaluation/bigram.ts'
import { llama } from '../models/llama.ts'
import { type NanoRecipe, nanoInitialParameters, nanoRecipe } from '../models/nano.ts'
import { writeSafetensors } from '../models/safetensors.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, stackColumns } from '../signals/signal.ts'
import type { TokenStore } from '../tokenizer/store.ts'
import { compileTrainer, startingState } from '../training/trainer.ts'
import {
  planTrajectories,
  recordTrajectories,
  scoringTokens,
  trainableRows,
  windowLabels,
} from '../training/trajectories.ts'
import { checkpointFiles, optimiserBytes, resume } from './checkpoints.ts'
import { type Context, notify, perform } from './context.ts'
import type { Tokens } from './pool.ts'

/** Trained tokens below which a run says that its pool is small. */
const SMALL_POOL = 20_000

/** Bytes that logits may take at a time; more are computed in chunks of label positions. */
const LOGIT_BYTES = 2 ** 26

export type TrajectoryFacts = {
  steps: number[]
  /** Mean NLL of the pool's tokens under the last checkpoint. */
  nll: number
  parameters: number
  epochs: number
  trainedTokens: number
  padding: number
}

export interface Trajectories {
  signal: Signal
  hash: string
  facts: TrajectoryFacts
  bigramNll: number
}

/** The nano recipe for a tokenised pool. */
export const recipeFor = (
  { tokens, trained, count }: Pick<TokenStore, 'tokens' | 'trained' | 'count'>,
  vocabularySize: number,
  maxLength: number,
): NanoRecipe => nanoRecipe({ tokens, labels: trained, rows: count, vocabularySize, maxLength })

/** Chunks of label positions that keep logits within LOGIT_BYTES. */
export const labelChunks = ({ config, recipe }: NanoRecipe): number =>
  // A row longer than a batch is a batch of its own.
  Math.max(1, Math.ceil((Math.max(scoringTokens(recipe), recipe.maxLength) * config.vocabularySize * 4) / LOGIT_BYTES))

/** Trains the proxy on the pool and records every row's loss at `checkpoints` steps. */
export async function recordPool(context: Context, tokens: Tokens, checkpoints: number): Promise<Trajectories> {
  const { options, device, run } = context
  const { store, tokenizer } = tokens
  const bigram = await fitPool(context, tokens)
  const recipe = recipeFor(store, tokenizer.vocabularySize, options.maxLength)
  const result = await perform<Json>(context, {
    name: 'trajectories',
    version: 2,
    inputs: { tokens: tokens.hash },
    options: {
      ...recipe,
      proxy: 'nano',
      checkpoints,
      chunks: labelChunks(recipe),
      seed: options.seed,
      device: device.name,
      // Another version may add in another order.
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    } as unknown as Json,
    async execute(work, progress) {
      const trainOn = trainableRows(store, options.maxLength)
      if (trainOn.length === 0) throw nothingToTrain(options.maxLength, store.count)
      const plan = planTrajectories(store, recipe.recipe, checkpoints, options.seed, trainOn)
      const proxy = await compileTrainer({
        model: llama(recipe.config),
        device,
        optimiser: recipe.optimiser,
        chunks: labelChunks(recipe),
      })
      try {
        const resumed = await resume(work, plan.checkpointSteps)
        const outputs: OutputRecord[] = [...resumed.outputs]
        let optimiserFile = resumed.optimiserFile
        let last = resumed.nll
        const recording = recordTrajectories({
          proxy,
          rows: store,
          recipe: recipe.recipe,
          seed: options.seed,
          checkpoints,
          trainOn,
          plan,
          from: resumed.state
            ? { state: resumed.state, index: resumed.index }
            : { state: startingState(nanoInitialParameters(recipe.config, options.seed)) },
          signal: context.signal,
          onProgress: ({ stage, step, steps, checkpoints: done, checkpointsTotal, tokens: count, fraction, loss }) =>
            progress({
              fraction,
              detail: `${stage === 'train' ? `training, step ${step} of ${steps}` : `scoring, checkpoint ${done + 1} of ${checkpointsTotal}`}`,
              done: count,
              unit: 'tokens',
              loss,
            }),
        })
        for await (const { index, step, nll, state } of recording) {
          const files = checkpointFiles(work.key, step)
          const kept = [
            await work.write(files.losses, writeNpy({ shape: [nll.length], data: nll })),
            await work.write(files.model, writeSafetensors(state.parameters, { step: String(step) })),
          ]
          // Each optimiser state has a name of its own: the one before it stays whole until this one is recorded.
          const optimiser = await work.write(files.optimiser, optimiserBytes(state))
          await work.finishPart(`checkpoint ${index}`, [...kept, optimiser])
          if (optimiserFile !== undefined) await unlink(work.path(optimiserFile)).catch(() => undefined)
          optimiserFile = optimiser.path
          outputs.push(...kept)
          last = nll
        }
        outputs.push(
          await work.write(
            `checkpoints/${work.key.slice(0, 12)}/config.json`,
            `${JSON.stringify(llama(recipe.config).config, null, 2)}\n`,
          ),
        )
        const facts: TrajectoryFacts = {
          steps: plan.checkpointSteps,
          nll: poolNll(last as Float32Array, windowLabels(store, options.maxLength)),
          parameters: proxy.parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0),
          epochs: recipe.recipe.epochs,
          trainedTokens: recipe.recipe.epochs * plan.epochTokens,
          padding: plan.padding,
        }
        return { outputs, value: facts as unknown as Json }
      } finally {
        await proxy.release()
      }
    },
    summary: (value) => {
      const { nll, parameters, epochs } = value as unknown as TrajectoryFacts
      return `${(parameters / 1e6).toFixed(2)}M parameters, ${epochs} epochs, pool at ${nll.toFixed(3)} nats a token (bigram ${bigram.toFixed(3)})`
    },
  })
  const facts = result.value as unknown as TrajectoryFacts
  if (store.trained < SMALL_POOL)
    notify(context, {
      code: 'small-pool',
      message: `the pool has only ${store.trained.toLocaleString('en')} trained tokens: a proxy learns so few by heart, and its trajectories say less`,
    })
  if (facts.steps.length < checkpoints)
    notify(context, {
      code: 'fewer-checkpoints',
      message: `training takes only ${facts.steps.at(-1)} steps, so losses were recorded ${facts.steps.length} times, not ${checkpoints}`,
    })
  if (!(facts.nll < bigram))
    notify(context, {
      code: 'proxy-learned-little',
      message: `the proxy ended at ${facts.nll.toFixed(3)} nats a token, a bigram model reaches ${bigram.toFixed(3)}: its trajectories say little`,
    })
  await run.update({
    facts: {
      proxy: { name: 'nano', ...facts, bigramNll: bigram, vocabulary: tokenizer.vocabularySize } as unknown as Json,
    },
  })
  const columns = await Promise.all(
    facts.steps.map(
      async (step) => readNpy(await readFile(run.path(checkpointFiles(result.key, step).losses))).data as Float32Array,
    ),
  )
  const signal = stackColumns('trajectories', columns, {
    columnNames: facts.steps.map((step) => `step ${step}`),
    provenance: { proxy: 'nano', seed: options.seed },
  })
  return { signal, hash: result.hash, facts, bigramNll: bigram }
}

/**
 * Mean NLL of the pool's tokens under a smoothed bigram model of the same tokens. Both it and the proxy have seen the text that they are
 * measured on: of the two comparisons (the other is with a bigram that has not) the one that is harder for the proxy.
 */
async function fitPool(context: Context, { store, tokenizer, hash }: Tokens): Promise<number> {
  const { maxLength } = context.options
  const result = await perform(context, {
    name: 'bigram',
    version: 1,
    inputs: { tokens: hash },
    options: { maxLength },
    async execute(_, progress) {
      const bigram = fitBigram(store, tokenizer.vocabularySize, {
        maxLength,
        onProgress: (rows: number) => progress({ fraction: rows / (2 * store.count), done: rows, unit: 'rows' }),
      })
      const { meanNll } = bigram.nll(store)
      return { outputs: [], value: { nll: Number.isFinite(meanNll) ? meanNll : null } }
    },
    summary: ({ nll }) => `smoothed bigram: ${nll?.toFixed(3)} nats a token`,
  })
  return result.value.nll ?? Number.POSITIVE_INFINITY
}

/** Mean over all labels, from each row's mean. */
export function poolNll(nll: Float32Array, labels: Uint32Array): number {
  let [total, count] = [0, 0]
  for (let row = 0; row < nll.length; row++) {
    if (labels[row] === 0) continue
    total += nll[row] * labels[row]
    count += labels[row]
  }
  return total / count
}

function nothingToTrain(maxLength: number, rows: number): WinnowError {
  return new WinnowError('input', {
    code: 'nothing-to-train',
    message: `no row of the pool has a trained token within ${maxLength} tokens`,
    path: '--max-length',
    found: `${rows} rows`,
    expected: 'prompts shorter than the window',
    hint: 'Raise --max-length.',
  })
}
