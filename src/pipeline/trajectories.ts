/** The stages around the proxy: the bigram to compare with, and the recorded training run, resumable checkpoint by checkpoint. */

import { readFile, unlink } from 'node:fs/promises'
import { WinnowError } from '../errors.ts'
import { fitBigram } from '../evaluation/bigram.ts'
import type { Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { type Signal, stackColumns } from '../signals/signal.ts'
import { planTrajectories, recordTrajectories, trainableRows, windowLabels } from '../training/trajectories.ts'
import { checkpointFiles, resume, writeState } from './checkpoints.ts'
import { type Context, notify, perform } from './context.ts'
import type { ResolvedOptions } from './options.ts'
import type { Tokens } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { proxyFor, startTrainer } from './proxy.ts'

/** Trained tokens below which a run says that its pool is small. */
const SMALL_POOL = 20_000

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
  /** The weights at each checkpoint, files of the run; of a pretrained proxy only the last is kept. */
  models: string[]
  /** Where the proxy was trained from scratch. */
  bigramNll?: number
}

/** Trains the proxy on the pool and records every row's loss at `checkpoints` steps. */
export async function recordPool(
  context: Context<ResolvedOptions>,
  tokens: Tokens,
  checkpoints: number,
  pretrained?: Pretrained,
): Promise<Trajectories> {
  const { options, device, run } = context
  const { store, tokenizer } = tokens
  // A model that has read more than the pool beats a bigram of the pool whatever it learns here.
  const bigram = pretrained === undefined ? await fitPool(context, tokens) : undefined
  const proxy = proxyFor({ rows: store, vocabularySize: tokenizer.vocabularySize, options, pretrained })
  const models = pretrained === undefined ? 'all' : 'last'
  const result = await perform<Json>(context, {
    name: 'trajectories',
    version: 3,
    inputs: { tokens: tokens.hash },
    options: {
      proxy: proxy.identity,
      checkpoints,
      seed: options.seed,
      device: device.name,
      precision: options.precision,
      // Another version may add in another order.
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work, progress) {
      const trainOn = trainableRows(store, options.maxLength)
      if (trainOn.length === 0) throw nothingToTrain(options.maxLength, store.count)
      const plan = planTrajectories(store, proxy.recipe, checkpoints, options.seed, trainOn)
      const resumed = await resume(work, { steps: plan.checkpointSteps, losses: true, models })
      const trainer = await startTrainer(proxy, device, options, resumed.state)
      try {
        const outputs: OutputRecord[] = [...resumed.outputs]
        let { replaced, nll: last } = resumed
        let partTokens: number | undefined
        const recording = recordTrajectories({
          proxy: trainer,
          rows: store,
          recipe: proxy.recipe,
          seed: options.seed,
          checkpoints,
          trainOn,
          plan,
          from: resumed.state && { step: resumed.state.step, index: resumed.index },
          signal: context.signal,
          onSmallerParts: (size) => {
            partTokens = size
            notify(context, smallerParts(size))
          },
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
          const losses = await work.write(files.losses, writeNpy({ shape: [nll.length], data: nll }))
          // Each state has names of its own: the one before it stays whole until this one is recorded.
          const { model, optimiser } = await writeState(work, files, state)
          await work.finishPart(`checkpoint ${index}`, [losses, model, optimiser])
          for (const { path } of replaced) await unlink(work.path(path)).catch(() => undefined)
          replaced = models === 'all' ? [optimiser] : [model, optimiser]
          outputs.push(losses, ...(models === 'all' ? [model] : []))
          last = nll
        }
        // What would have been replaced by a further checkpoint; its moments are needed no more.
        outputs.push(
          ...replaced.filter(({ path }) => !path.includes('.optimiser.') && !outputs.some((o) => o.path === path)),
        )
        outputs.push(
          await work.write(
            `checkpoints/${work.key.slice(0, 12)}/config.json`,
            `${JSON.stringify(proxy.model.config, null, 2)}\n`,
          ),
        )
        const facts: TrajectoryFacts & { partTokens?: number } = {
          steps: plan.checkpointSteps,
          nll: poolNll(last as Float32Array, windowLabels(store, options.maxLength)),
          parameters: proxy.model.parameters.reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0),
          epochs: proxy.recipe.epochs,
          trainedTokens: proxy.recipe.epochs * plan.epochTokens,
          padding: plan.padding,
          ...(partTokens === undefined ? {} : { partTokens }),
        }
        return { outputs, value: facts as unknown as Json }
      } finally {
        await trainer.release()
      }
    },
    summary: (value) => {
      const { nll, parameters, epochs } = value as unknown as TrajectoryFacts
      const beside = bigram === undefined ? '' : ` (bigram ${bigram.toFixed(3)})`
      return `${(parameters / 1e6).toFixed(2)}M parameters, ${epochs} epoch${epochs === 1 ? '' : 's'}, pool at ${nll.toFixed(3)} nats a token${beside}`
    },
  })
  const facts = result.value as unknown as TrajectoryFacts
  tellAboutTraining(context, facts, {
    trained: store.trained,
    checkpoints,
    bigram,
    pretrained: pretrained !== undefined,
  })
  await run.update({
    facts: {
      proxy: {
        name: proxy.name,
        ...(pretrained && { source: pretrained.files.source, hash: pretrained.hash }),
        ...facts,
        bigramNll: bigram,
        vocabulary: tokenizer.vocabularySize,
      } as unknown as Json,
    },
  })
  const columns = await Promise.all(
    facts.steps.map(
      async (step) => readNpy(await readFile(run.path(checkpointFiles(result.key, step).losses))).data as Float32Array,
    ),
  )
  const signal = stackColumns('trajectories', columns, {
    columnNames: facts.steps.map((step) => `step ${step}`),
    provenance: { proxy: proxy.name, seed: options.seed },
  })
  return {
    signal,
    hash: result.hash,
    facts,
    models: facts.steps.map((step) => checkpointFiles(result.key, step).model),
    bigramNll: bigram,
  }
}

export const smallerParts = (tokens: number) => ({
  code: 'smaller-parts',
  message: `a pass did not fit into memory: batches are computed in parts of ${tokens.toLocaleString('en')} tokens from here on (--micro-batch ${tokens} does so from the start)`,
})

function tellAboutTraining(
  context: Context,
  { steps, nll }: TrajectoryFacts,
  {
    trained,
    checkpoints,
    bigram,
    pretrained,
  }: { trained: number; checkpoints: number; bigram?: number; pretrained: boolean },
): void {
  if (trained < SMALL_POOL)
    notify(context, {
      code: 'small-pool',
      message: `the pool has only ${trained.toLocaleString('en')} trained tokens: a proxy learns so few by heart, and its trajectories say less`,
    })
  if (steps.length < checkpoints)
    notify(context, {
      code: 'fewer-checkpoints',
      message: `training takes only ${steps.at(-1)} steps, so losses were recorded ${steps.length} times, not ${checkpoints}${pretrained ? '; a smaller --batch makes more steps' : ''}`,
    })
  if (bigram !== undefined && !(nll < bigram))
    notify(context, {
      code: 'proxy-learned-little',
      message: `the proxy ended at ${nll.toFixed(3)} nats a token, a bigram model reaches ${bigram.toFixed(3)}: its trajectories say little`,
    })
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

export function nothingToTrain(maxLength: number, rows: number, what = 'pool'): WinnowError {
  return new WinnowError('input', {
    code: 'nothing-to-train',
    message: `no row of the ${what} has a trained token within ${maxLength} tokens`,
    path: '--max-length',
    found: `${rows} rows`,
    expected: 'prompts shorter than the window',
    hint: 'Raise --max-length.',
  })
}
