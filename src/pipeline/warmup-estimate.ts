/** `warmup --dry-run`: what both stages would do and cost, without writing anything. */

import type { Dataset } from '../dataset/dataset.ts'
import type { Device } from '../engine/session.ts'
import { countParameters } from '../models/parameters.ts'
import { isRun } from '../runs/directory.ts'
import { planTrajectories } from '../training/trajectories.ts'
import { countTokens, readTexts } from './counted.ts'
import type { WarmupSection } from './events.ts'
import { checkModelOutput } from './model-output.ts'
import { calibrate, epochFlops, trainingBytes } from './plan-proxy.ts'
import type { PipelineContext } from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'
import { proxyFor, startTrainer } from './proxy.ts'
import { nothingToTrain } from './trajectories.ts'
import { openSections } from './warmup-data.ts'
import {
  MARKS,
  type ResolvedWarmupOptions,
  resolveWarmupOptions,
  stageOptions,
  type WarmupOptions,
} from './warmup-options.ts'

export interface StageEstimate {
  rows: number
  trainedRows: number
  /** Tokens inside the window; `exact` where all rows were tokenised, not a sample. */
  tokens: { count: number; exact: boolean }
  epochs: number
  steps: number
  /** All epochs, forward and backward. */
  flops: number
  seconds: number
  /** Weights, gradients, moments and activations, at least. */
  memoryBytes: number
}

export interface WarmupEstimate {
  model: { name: string; revision?: string; parameters: number; trained: number }
  pick: StageEstimate
  task: StageEstimate
  flops: number
  /** In the run directory and in `out`. */
  diskBytes: number
  secondsTotal: number
  device: string
  run: string
  out: { path: string }
}

/**
 * Reads and tokenises both sets (a sample, where they are large), plans every batch, runs a few steps of each stage to learn this machine's
 * rate, and adds up. Writes nothing. What a run directory already holds is not taken off.
 *
 * @throws {WinnowError} as `warmup`.
 */
export async function estimateWarmup(asked: WarmupOptions, pipeline: PipelineContext): Promise<WarmupEstimate> {
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveWarmupOptions(asked)
  const datasets = await openSections(resolved)
  const output = { out: resolved.out, overwrite: resolved.overwrite, run: resolved.run, marks: MARKS }
  if (!(await isRun(resolved.run))) await checkModelOutput(output)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const options = withModel(resolved, pretrained)
  const { maxLengthAsked: _, ...config } = options
  await checkModelOutput(output, { config: JSON.parse(JSON.stringify(config)), pretrained })
  const of = (section: WarmupSection) =>
    estimateStage(section, { dataset: datasets[section], options, pretrained, pipeline })
  const [pick, task] = [await of('pick'), await of('task')]
  const parameters = countParameters(pretrained.model.parameters)
  const { trained } = pick
  const saved = (options.saveAs === 'F32' ? 4 : 2) * parameters
  // Of each stage: its last state, the moments until it ends, the model, the tokens, and the texts of the plan.
  const files = 2 * (4 * trained + saved) + 8 * trained + 4 * (pick.estimate.tokens.count + task.estimate.tokens.count)
  const inputs = [...datasets.pick.inputs, ...datasets.task.inputs]
  const texts = inputs.reduce((total, { bytes }) => total + bytes, 0)
  return {
    model: { name: pretrained.name, revision: pretrained.files.source.revision, parameters, trained },
    pick: pick.estimate,
    task: task.estimate,
    flops: pick.estimate.flops + task.estimate.flops,
    diskBytes: files + texts,
    secondsTotal: pick.seconds + task.seconds,
    device: options.device,
    run: options.run,
    out: { path: options.out },
  }
}

interface Estimating {
  dataset: Dataset
  options: ResolvedWarmupOptions
  pretrained: Pretrained
  pipeline: PipelineContext
}

async function estimateStage(
  section: WarmupSection,
  { dataset, options: all, pretrained, pipeline: { ort, signal } }: Estimating,
): Promise<{ estimate: StageEstimate; trained: number; seconds: number }> {
  const options = stageOptions(all, section)
  const { device: name, threads, precision, seed, maxLength, onBadRow } = options
  const device: Device = { ort, name, threads, precision }
  const texts = await readTexts(dataset, signal)
  const { rows } = texts
  const { tokenizer } = pretrained
  const counted = await countTokens(dataset, texts, { tokenizer, maxLength, onBadRow, signal })
  const trainOn = Uint32Array.from(counted.inWindow.keys()).filter((row) => counted.inWindow[row] > 0)
  if (trainOn.length === 0) throw nothingToTrain(maxLength, rows, section)
  const proxy = proxyFor({ rows: counted, vocabularySize: counted.vocabularySize, options, pretrained })
  const plan = planTrajectories(counted, proxy.recipe, all.checkpoints, seed, trainOn)
  const trainer = await startTrainer(proxy, device, options)
  try {
    const { epochs } = proxy.recipe
    const flops = epochs * epochFlops(trainer, counted, proxy, { trainOn, seed })
    const seconds = flops / (await calibrate(trainer, counted, proxy, 'train'))
    const trained = countParameters(trainer.parameters)
    const { density } = counted
    const estimate: StageEstimate = {
      ...{ rows, trainedRows: trainOn.length, tokens: { count: plan.scoreTokens, exact: counted.exact } },
      ...{ epochs, steps: plan.steps, flops, seconds },
      memoryBytes: trainingBytes(proxy, { trained, density }),
    }
    // Read, tokenised, and written for the plan in two passes.
    return { estimate, trained, seconds: seconds + 4 * texts.seconds + counted.secondsForPool }
  } finally {
    await trainer.release()
  }
}
