/** What `warmup` may be asked, and its defaults. */

import { WinnowError } from '../errors.ts'
import type { SavedFormat } from '../models/float-formats.ts'
import { isNano } from '../models/nano.ts'
import type { WarmupSection } from './events.ts'
import {
  type ModelOptions,
  type ResolvedModelOptions,
  type ResolvedTrainingOptions,
  resolveModelOptions,
  resolveTrainingOptions,
  type TrainingOptions,
  wholeNumber,
} from './model-options.ts'
import { type PoolOptions, poolName, type ResolvedPoolOptions, resolvePoolOptions } from './pool-options.ts'

/** The data of one stage, and how long and how fast it trains on them. */
export interface WarmupData {
  /** Files and globs. */
  files: string[]
  /** Default: detected. */
  fields?: string
  /** Default: the record's own format. */
  template?: string
  /** Default 1 for the pick, 3 for the task. */
  epochs?: number
  /** Peak of the stage's cosine schedule. Default 2e-5, with adapters 2e-4. */
  learningRate?: number
}

type Shared = Omit<PoolOptions, 'pool' | 'fields' | 'template'> &
  Omit<ModelOptions, 'proxy'> &
  Omit<TrainingOptions, 'epochs' | 'learningRate'>

export interface WarmupOptions extends Shared {
  /** A hub id (`owner/name`, also `owner/name@revision`) or a directory in the Hugging Face layout. */
  model?: string
  /** Trained on first: whole records as plain text, every token. */
  pick: WarmupData
  /** Trained on then: responses only, in the records' own format. */
  task: WarmupData
  /** Gets `warmup/`, `task/` and `plan/`. Default `<pick>.warmup` in the working directory. */
  out?: string
  /** States kept along the way in each stage, evenly spaced; a killed run goes on from the last one. Default 10. */
  checkpoints?: number
  /** What the weights of both models are saved in. Default F32. */
  saveAs?: SavedFormat
}

/** What a stage works with: the options of `train`, of its own data. */
export interface StageOptions extends ResolvedPoolOptions, ResolvedModelOptions {
  training: ResolvedTrainingOptions
}

export interface ResolvedWarmupOptions extends ResolvedPoolOptions, ResolvedModelOptions {
  out: string
  checkpoints: number
  saveAs: SavedFormat
  pick: StageData
  task: StageData
}

export interface StageData {
  files: string[]
  fields?: string
  template?: string
  training: ResolvedTrainingOptions
}

/** Files below `out` by which it is known that something is there already. */
export const MARKS = ['config.json', 'warmup/config.json', 'task/config.json', 'plan/plan.json']

const EPOCHS: Record<WarmupSection, number> = { pick: 1, task: 3 }
const FLAGS: Record<WarmupSection, string> = { pick: '--pool-pick', task: '--task' }
const EXAMPLE = 'winnow warmup --model HuggingFaceTB/SmolLM2-135M --pool-pick pool.selected.jsonl --task task.jsonl'

/** @throws {WinnowError} `no-model`, `no-pool`, `nothing-to-warm-up`, `bad-option`. */
export function resolveWarmupOptions(options: WarmupOptions): ResolvedWarmupOptions {
  const { model, batch, microBatch, recompute, lora } = options
  if (model === undefined)
    throw new WinnowError('usage', {
      code: 'no-model',
      message: 'a model to warm up was not named',
      path: '--model',
      expected: 'a hub id, or a directory in the Hugging Face layout',
      hint: `For example: ${EXAMPLE}.`,
    })
  if (isNano(model))
    throw new WinnowError('usage', {
      code: 'nothing-to-warm-up',
      message: 'nano begins from nothing, and a warm-up moves a model that has been trained',
      path: '--model',
      found: model,
      expected: 'a hub id, or a directory in the Hugging Face layout',
      hint: 'Train it on the whole pool first: winnow train pool.jsonl --model nano --out base, then --model base.',
    })
  const dataOf = (section: WarmupSection): StageData => {
    const { files, fields, template, epochs, learningRate } = options[section]
    if (files.length === 0)
      throw new WinnowError('usage', {
        code: 'no-pool',
        message: `no file is named as the ${section}`,
        path: FLAGS[section],
        expected: 'one or more files or globs',
        hint: `For example: ${EXAMPLE}.`,
      })
    const flag = (name: string) => `--${section}-${name}`
    const asked = { epochs: wholeNumber(epochs, EPOCHS[section], flag('epochs'), 1), learningRate }
    if (learningRate !== undefined && !(learningRate > 0 && learningRate < 1))
      throw new WinnowError('usage', {
        code: 'bad-option',
        message: 'the learning rate is not usable',
        path: flag('learning-rate'),
        found: String(learningRate),
        expected: 'a number between 0 and 1, such as 2e-5',
      })
    const training = resolveTrainingOptions({ ...asked, batch, microBatch, recompute, lora }, model)
    return { files, fields, template, training }
  }
  const [pick, task] = [dataOf('pick'), dataOf('task')]
  const { stem } = poolName(pick.files[0])
  return {
    ...resolvePoolOptions(
      { ...options, pool: [...pick.files, ...task.files] },
      { run: `${stem}.warmup.winnow`, command: 'winnow warmup', example: EXAMPLE },
    ),
    ...resolveModelOptions({ ...options, proxy: model }),
    out: options.out ?? `${stem}.warmup`,
    checkpoints: wholeNumber(options.checkpoints, 10, '--checkpoints', 1),
    saveAs: options.saveAs ?? 'F32',
    pick,
    task,
  }
}

/** Options of one stage: the run's, with the files, the reading and the training of its section. */
export function stageOptions(options: ResolvedWarmupOptions, section: WarmupSection): StageOptions {
  const { pick: _pick, task: _task, ...shared } = options
  const { files, ...own } = options[section]
  return { ...shared, ...own, pool: files }
}
