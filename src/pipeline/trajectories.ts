/** The stages around the proxy: the bigram to compare with, and the recorded training run, resumable checkpoint by checkpoint. */

import { readFile, unlink } from 'node:fs/promises'
import { fitBigram } from '../evaluation/bigram.ts'
import { toHuggingFace } from '../models/llama.ts'
import { type NanoRecipe, nanoInitialParameters, nanoRecipe } from '../models/nano.ts'
import { readSafetensors, writeSafetensors } from '../models/safetensors.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import type { StageWork } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, stackColumns } from '../signals/signal.ts'
import type { TokenStore } from '../tokenizer/store.ts'
import { compileProxy, startingState } from '../training/proxy.ts'
import type { TrainingState } from '../training/state.ts'
import { planTrajectories, recordTrajectories, trainableRows, windowLabels } from '../training/trajectories.ts'
import { type Context, notify, perform } from './context.ts'
import type { Tokens } from './pool.ts'

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
  Math.max(1, Math.ceil((recipe.tokensPerBatch * config.vocabularySize * 4) / LOGIT_BYTES))

const stepName = (step: number) => `step-${String(step).padStart(6, '0')}`

/** Trains the proxy on the pool and records every row's loss at `checkpoints` steps. */
export async function recordPool(context: Context, tokens: Tokens, checkpoints: number): Promise<Trajectories> {
  const { options, device, run } = context
  const { store, tokenizer } = tokens
  const bigram = await fitPool(context, tokens)
  const recipe = recipeFor(store, tokenizer.vocabularySize, options.maxLength)
  const result = await perform<Json>(context, {
    name: 'trajectories',
    version: 1,
    inputs: { tokens: tokens.hash },
    options: { proxy: 'nano', ...recipe, checkpoints, seed: options.seed, device: device.name } as unknown as Json,
    async execute(work, progress) {
      const trainOn = trainableRows(store, options.maxLength)
      const plan = planTrajectories(store, recipe.recipe, checkpoints, options.seed, trainOn)
      const proxy = await compileProxy({
        config: recipe.config,
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
          const kept = [
            await work.write(
              `signals/trajectories/${stepName(step)}.npy`,
              writeNpy({ shape: [nll.length], data: nll }),
            ),
            await work.write(
              `checkpoints/${stepName(step)}.safetensors`,
              writeSafetensors(state.parameters, { step: String(step) }),
            ),
          ]
          // Each optimiser state has a name of its own: the one before it stays whole until this one is recorded.
          const optimiser = await work.write(
            `checkpoints/${stepName(step)}.optimiser.safetensors`,
            optimiserBytes(state),
          )
          await work.finishPart(`checkpoint ${index}`, [...kept, optimiser])
          if (optimiserFile !== undefined) await unlink(work.path(optimiserFile)).catch(() => undefined)
          optimiserFile = optimiser.path
          outputs.push(...kept)
          last = nll
        }
        outputs.push(
          await work.write('checkpoints/config.json', `${JSON.stringify(toHuggingFace(recipe.config), null, 2)}\n`),
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
      async (step) =>
        readNpy(await readFile(run.path(`signals/trajectories/${stepName(step)}.npy`))).data as Float32Array,
    ),
  )
  const signal = stackColumns('trajectories', columns, {
    columnNames: facts.steps.map((step) => `step ${step}`),
    provenance: { proxy: 'nano', seed: options.seed },
  })
  return { signal, hash: result.hash, facts, bigramNll: bigram }
}

/** Mean NLL of the pool's tokens under a smoothed bigram model of the same tokens. */
async function fitPool(context: Context, { store, tokenizer, hash }: Tokens): Promise<number> {
  const { maxLength } = context.options
  const result = await perform(context, {
    name: 'bigram',
    version: 1,
    inputs: { tokens: hash },
    options: { maxLength },
    async execute() {
      const { meanNll } = fitBigram(store, tokenizer.vocabularySize, { maxLength }).nll(store)
      return { outputs: [], value: { nll: Number.isFinite(meanNll) ? meanNll : null } }
    },
    summary: ({ nll }) => `smoothed bigram: ${nll?.toFixed(3)} nats a token`,
  })
  return result.value.nll ?? Number.POSITIVE_INFINITY
}

interface Resumed {
  /** Of the last whole checkpoint. */
  state?: TrainingState
  index: number
  nll?: Float32Array
  outputs: OutputRecord[]
  optimiserFile?: string
}

/** Finds the last checkpoint up to which every file is intact and whose optimiser state is there. */
async function resume(work: StageWork, steps: readonly number[]): Promise<Resumed> {
  const outputs: OutputRecord[] = []
  let found: Resumed = { index: -1, outputs: [] }
  for (const [index, step] of steps.entries()) {
    const part = work.parts.find(({ part }) => part === `checkpoint ${index}`)
    const file = (path: string) => part?.outputs.find((output) => output.path === path && output.intact)
    const [losses, model] = [
      file(`signals/trajectories/${stepName(step)}.npy`),
      file(`checkpoints/${stepName(step)}.safetensors`),
    ]
    if (losses === undefined || model === undefined) break
    outputs.push(losses, model)
    const optimiser = file(`checkpoints/${stepName(step)}.optimiser.safetensors`)
    if (optimiser === undefined) continue
    const read = async (path: string) => readSafetensors(await readFile(work.path(path)))
    const moments = (await read(optimiser.path)).tensors
    const moment = (kind: string) =>
      new Map(
        [...moments]
          .filter(([name]) => name.startsWith(kind))
          .map(([name, tensor]) => [name.slice(kind.length), tensor]),
      )
    found = {
      index,
      state: { step, parameters: (await read(model.path)).tensors, first: moment('first/'), second: moment('second/') },
      nll: readNpy(await readFile(work.path(losses.path))).data as Float32Array,
      outputs: [...outputs],
      optimiserFile: optimiser.path,
    }
  }
  return found
}

function optimiserBytes({ first, second }: TrainingState): Uint8Array {
  const named = (kind: string, tensors: TrainingState['first']) =>
    [...tensors].map(([name, tensor]) => [`${kind}/${name}`, tensor] as const)
  return writeSafetensors(new Map([...named('first', first), ...named('second', second)]))
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
