/** The first half of a warm-up: both sets of data read, tokenised and planned, before anything is trained. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { asTexts } from '../dataset/whole-text.ts'
import { WinnowError } from '../errors.ts'
import { planTrajectories, type TrajectoryPlan, trainableRows, windowLabels } from '../training/trajectories.ts'
import type { Context } from './context.ts'
import type { Section } from './events.ts'
import { readPool, type Tokens, tokenisePool } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { proxyFor, type TrainedProxy } from './proxy.ts'
import { nothingToTrain } from './trajectories.ts'
import { type ResolvedWarmupOptions, type StageOptions, stageOptions } from './warmup-options.ts'

/** The datasets of both sections; the pick's records are whole texts. */
export async function openSections(options: ResolvedWarmupOptions): Promise<Record<Section, Dataset>> {
  const { pick, task, onBadRow, memoryLimit } = options
  return {
    pick: asTexts(await openDataset(pick.files, { ...pick, onBadRow, memoryLimit })),
    task: await openDataset(task.files, { ...task, onBadRow, memoryLimit }),
  }
}

/** What a stage will train on, and how. */
export interface StageRows extends Disposable {
  context: Context<StageOptions>
  dataset: Dataset
  tokens: Tokens
  /** Its recipe is the stage's; its starting weights are the model's own. */
  proxy: TrainedProxy
  trainOn: Uint32Array
  plan: TrajectoryPlan
  counts: StageCounts
}

export interface StageCounts {
  rows: number
  /** Rows with a trained token inside the window. */
  trainedRows: number
  /** Rows of which some lies beyond the window. */
  cutRows: number
  /** Tokens inside the window, and those of them that carry loss. */
  tokens: number
  trainedTokens: number
}

/** Reads and tokenises the data of one section. The tokens must be disposed of. */
export async function readSection(
  root: Context<ResolvedWarmupOptions>,
  section: Section,
  { dataset, pretrained }: { dataset: Dataset; pretrained: Pretrained },
): Promise<StageRows> {
  const options = stageOptions(root.options, section)
  const context: Context<StageOptions> = { ...root, options, section }
  const pool = await readPool(context, dataset)
  const tokens = await tokenisePool(context, dataset, pool, pretrained)
  try {
    const { store } = tokens
    const { maxLength, seed } = options
    const proxy = proxyFor({ rows: store, vocabularySize: tokens.tokenizer.vocabularySize, options, pretrained })
    const trainOn = trainableRows(store, maxLength)
    if (trainOn.length === 0) throw nothingToTrain(maxLength, store.count, section)
    const plan = planTrajectories(store, proxy.recipe, root.options.checkpoints, seed, trainOn)
    const counts: StageCounts = {
      rows: store.count,
      trainedRows: trainOn.length,
      cutRows: store.lengths.reduce((total, length) => total + Number(length > maxLength), 0),
      tokens: plan.scoreTokens,
      trainedTokens: windowLabels(store, maxLength).reduce((total, labels) => total + labels, 0),
    }
    return { context, dataset, tokens, proxy, trainOn, plan, counts, [Symbol.dispose]: () => tokens[Symbol.dispose]() }
  } catch (error) {
    tokens[Symbol.dispose]()
    throw error
  }
}

/** A task that is the pick would be trained on twice, and nothing would be left to warm up for. */
export function checkApart({ run }: Context, datasets: Record<Section, Dataset>): void {
  const hashes = new Map(run.manifest.inputs.map(({ path, sha256 }) => [path, sha256]))
  for (const { path } of datasets.task.inputs) {
    const same = datasets.pick.inputs.find((input) => hashes.get(input.path) === hashes.get(path))
    if (same === undefined) continue
    throw new WinnowError('usage', {
      code: 'task-is-pick',
      message: 'the file is task and pick at once',
      path: '--task',
      file: path,
      found: same.path === path ? 'the same file as --pool-pick' : `the same bytes as ${same.path}`,
      expected: 'records of the task, which the pick was chosen for',
      hint: 'Name the pick that `winnow select --target` wrote as --pool-pick, and its target as --task.',
    })
  }
}
