/** The first half of a warm-up: both sets of data read, tokenised and planned, before anything is trained. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { asTexts } from '../dataset/whole-text.ts'
import { WinnowError } from '../errors.ts'
import { hashFile } from '../runs/hash.ts'
import { planTrajectories, type TrajectoryPlan, trainableRows, windowLabels } from '../training/trajectories.ts'
import type { Context } from './context.ts'
import type { WarmupSection } from './events.ts'
import { readPool, type Tokens, tokenisePool } from './pool.ts'
import type { Pretrained } from './pretrained.ts'
import { proxyFor, type TrainedProxy } from './proxy.ts'
import { nothingToTrain } from './trajectories.ts'
import { type ResolvedWarmupOptions, type StageData, type StageOptions, stageOptions } from './warmup-options.ts'

/**
 * The datasets of both sections; the pick's records are whole texts.
 *
 * @throws {WinnowError} as `openDataset`, and `task-is-pick`.
 */
export async function openSections(options: ResolvedWarmupOptions): Promise<Record<WarmupSection, Dataset>> {
  const { pick, task, onBadRow, memoryLimit } = options
  const open = ({ files, fields, template }: StageData) =>
    openDataset(files, { fields, template, onBadRow, memoryLimit })
  const datasets = { pick: asTexts(await open(pick)), task: await open(task) }
  await checkApart(datasets)
  return datasets
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
  section: WarmupSection,
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

/**
 * A task that is the pick would be trained on twice, and nothing would be left to warm up for. Found before any work: only files of one size
 * are hashed.
 */
async function checkApart({ pick, task }: Record<WarmupSection, Dataset>): Promise<void> {
  for (const { path, bytes } of task.inputs) {
    for (const other of pick.inputs) {
      if (other.bytes !== bytes) continue
      if (other.path !== path && (await hashFile(other.path)).sha256 !== (await hashFile(path)).sha256) continue
      throw new WinnowError('usage', {
        code: 'task-is-pick',
        message: 'the file is task and pick at once',
        path: '--task',
        file: path,
        found: other.path === path ? 'the same file as --pool-pick' : `the same bytes as ${other.path}`,
        expected: 'records of the task, which the pick was chosen for',
        hint: 'Name the pick that `winnow select --target` wrote as --pool-pick, and its target as --task.',
      })
    }
  }
}
