/** `warmup`: the two stages of GOT-D's fine-tuning, on the pick and then on the task. */

import { join } from 'node:path'
import { openSafetensors } from '../hub/weights.ts'
import type { Notice } from '../methods/method.ts'
import { isRun } from '../runs/directory.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import { allTensors } from './checkpoints.ts'
import { type Context, ending, openContext, stageName } from './context.ts'
import type { OnEvent, Step, WarmupSection } from './events.ts'
import { checkModelOutput } from './model-output.ts'
import type { PipelineContext } from './pool-options.ts'
import { maybePretrained, type Pretrained, withModel } from './pretrained.ts'
import { type BaseModel, proxyFor } from './proxy.ts'
import { type SavedModel, saveModel } from './saved-model.ts'
import { type TrainedFacts, trainModel } from './training-stage.ts'
import { openSections, readSection, type StageCounts, type StageRows } from './warmup-data.ts'
import { MARKS, type ResolvedWarmupOptions, resolveWarmupOptions, type WarmupOptions } from './warmup-options.ts'
import { type WrittenPlan, writeWarmupPlan } from './warmup-plan.ts'

/** Directories below `out`, by section. */
const FOLDERS: Record<WarmupSection, string> = { pick: 'warmup', task: 'task' }

export interface WarmupStageResult extends StageCounts {
  /** Tokens that were processed in all epochs. */
  processed: number
  steps: number
  epochs: number
  /** Mean NLL of the first and of the last tenth of all steps, nats a trained token. */
  loss: { first: number; last: number }
  out: { path: string; bytes: number; files: string[] }
  /** Adapters in PEFT's layout, beside the merged weights. */
  adapters?: string
  /** JSON Lines: step, rate, loss, tokens. */
  curve: string
}

export interface WarmupResult {
  pick: WarmupStageResult
  task: WarmupStageResult
  plan: WrittenPlan
  /** The model that the second stage ends with. */
  out: { path: string }
  run: string
  model: { name: string; revision?: string; parameters: number; trained: number }
  notices: Notice[]
  device: string
  seconds: number
  stages: { name: string; seconds: number; cached: boolean }[]
}

export interface WarmupPlanResult {
  pick: StageCounts & { steps: number; epochs: number }
  task: StageCounts & { steps: number; epochs: number }
  plan: WrittenPlan
  /** plan.json. */
  out: { path: string }
  run: string
  notices: Notice[]
  seconds: number
}

/**
 * Fine-tunes a pretrained model in two stages and keeps both models:
 *
 * 1. on the pick, without labels: every record is one text (`wholeText`), and every token of it but the first carries loss,
 *    L = -sum_t log p(x_t | x_<t) / tokens;
 * 2. from those weights on the task, in its own format: only tokens of responses carry loss.
 *
 * Each stage is a fine-tuning of its own: AdamW with fresh moments, cosine schedule with 3 % warm-up, as `train` has it. With `lora` the second
 * stage goes on with the first one's adapters beside the frozen model, so that its adapters alone make the tuned model of the original.
 * Writes `out/warmup` and `out/task` in the Hugging Face layout and `out/plan` for other trainers (`writeWarmupPlan`). A killed run goes on from
 * the last checkpoint of its stage to the same bytes, whatever the thread count; the first stage is computed once for all tasks and options of
 * the second that are run in the same run directory.
 * Source: Kang et al. 2024, arXiv 2405.02774, section 2.
 *
 * @throws {WinnowError} of bad usage (`nothing-to-warm-up`, `task-is-pick`, …), bad input and failures, as data; `signal.reason` when aborted.
 */
export async function warmup(asked: WarmupOptions, pipeline: PipelineContext): Promise<WarmupResult> {
  const started = performance.now()
  const steps: Step[] = ['train', 'save']
  return await prepared(asked, pipeline, steps, async (root, rows, { pretrained, plan }) => {
    const first = await tune(rows.pick, { pretrained, base: pretrained, root })
    const base = continued(rows.pick, { pretrained, trained: first })
    const second = await tune(rows.task, { pretrained, base, root })
    await root.run.update({
      status: 'done',
      counts: { pickSteps: rows.pick.plan.steps, taskSteps: rows.task.plan.steps },
      facts: {
        training: { pick: first.facts, task: second.facts } as unknown as Json,
        source: pretrained.files.source as unknown as Json,
      },
    })
    const { parameters, trained } = second.facts
    return {
      pick: stageResult(rows.pick, first),
      task: stageResult(rows.task, second),
      plan,
      out: { path: second.directory },
      model: { name: pretrained.name, revision: pretrained.files.source.revision, parameters, trained },
      ...ending(root, started),
    }
  })
}

/**
 * The first part of `warmup`: reads and tokenises both sets and writes the plan to `out/plan`, so that another trainer runs it. Trains nothing;
 * a later `warmup` in the same run directory takes the tokens from there.
 *
 * @throws {WinnowError} as `warmup`.
 */
export async function exportWarmup(asked: WarmupOptions, pipeline: PipelineContext): Promise<WarmupPlanResult> {
  const started = performance.now()
  return await prepared(asked, pipeline, [], async (root, rows, { plan }) => {
    await root.run.update({ status: 'done' })
    const planned = ({ counts, plan: { steps }, proxy }: StageRows) => ({
      ...counts,
      ...{ steps, epochs: proxy.recipe.epochs },
    })
    return {
      pick: planned(rows.pick),
      task: planned(rows.task),
      plan,
      out: { path: plan.path },
      run: root.run.directory,
      notices: root.notices,
      seconds: (performance.now() - started) / 1000,
    }
  })
}

interface Prepared {
  pretrained: Pretrained
  plan: WrittenPlan
}

/** What both calls begin with, and how they end: the run is open while `work` does its part. */
async function prepared<R>(
  asked: WarmupOptions,
  pipeline: PipelineContext,
  steps: readonly Step[],
  work: (root: Context<ResolvedWarmupOptions>, rows: Record<WarmupSection, StageRows>, found: Prepared) => Promise<R>,
): Promise<R> {
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveWarmupOptions(asked)
  const datasets = await openSections(resolved)
  const output = { out: resolved.out, overwrite: resolved.overwrite, run: resolved.run, marks: MARKS }
  // Before anything is downloaded, where it can be known.
  if (!(await isRun(resolved.run))) await checkModelOutput(output)
  await using pretrained = (await maybePretrained(resolved, { onEvent, signal })) as Pretrained
  const options = withModel(resolved, pretrained)
  const { maxLengthAsked: _, ...rest } = options
  const config = JSON.parse(JSON.stringify(rest)) as Record<string, Json>
  await checkModelOutput(output, { config, pretrained })
  const root = await openContext(options, config, pipeline)
  await using run = root.run
  try {
    announce(onEvent, root, steps)
    using pick = await readSection(root, 'pick', { dataset: datasets.pick, pretrained })
    using task = await readSection(root, 'task', { dataset: datasets.task, pretrained })
    const plan = await writeWarmupPlan(root, { pick, task, pretrained, directory: join(options.out, 'plan') })
    return await work(root, { pick, task }, { pretrained, plan })
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

function announce(onEvent: OnEvent, root: Context, steps: readonly Step[]): void {
  const of = (section: WarmupSection, names: readonly Step[]) =>
    names.map((step) => stageName({ ...root, section }, step))
  const reading: Step[] = ['read', 'tokens']
  const stages = [...of('pick', reading), ...of('task', reading), 'plan' as const]
  onEvent({ kind: 'plan', stages: [...stages, ...of('pick', steps), ...of('task', steps)] })
}

interface Tuned {
  facts: TrainedFacts
  /** safetensors file of the run. */
  state: string
  curve: string
  hash: string
  directory: string
  saved: SavedModel
}

/** Trains one stage from `base` and saves the model. */
async function tune(
  { context, tokens, trainOn, plan }: StageRows,
  { pretrained, base, root }: { pretrained: Pretrained; base: BaseModel; root: Context<ResolvedWarmupOptions> },
): Promise<Tuned> {
  const { run, options } = context
  const { vocabularySize } = tokens.tokenizer
  const proxy = proxyFor({ rows: tokens.store, vocabularySize, options, pretrained: base })
  const trained = await trainModel(context, { tokens, proxy, trainOn, plan })
  const directory = join(root.options.out, FOLDERS[context.section as WarmupSection])
  const state = run.path(trained.state)
  const saved = await saveModel(context, {
    ...{ directory, dtype: root.options.saveAs, state },
    ...{ proxy, pretrained, tokenizer: tokens.tokenizer },
  })
  return { facts: trained.facts, state, curve: run.path(trained.curve), hash: trained.hash, directory, saved }
}

/**
 * The model as the first stage left it, in the run's own float32 and not as it was saved. Of adapters the model stays what it is, and the
 * adapters go on.
 */
function continued(
  { context }: StageRows,
  { pretrained, trained }: { pretrained: Pretrained; trained: Tuned },
): BaseModel {
  const read = async () => {
    await using file = await openSafetensors(trained.state)
    return await allTensors(file)
  }
  const { name, model, weights } = pretrained
  const hash = hashJson({ model: pretrained.hash, warmup: trained.hash })
  return context.options.training.lora === undefined
    ? { name, model, hash, weights: read }
    : { name, model, hash, weights, adapters: read }
}

function stageResult({ counts, plan, proxy }: StageRows, tuned: Tuned): WarmupStageResult {
  const { epochs } = proxy.recipe
  const { bytes, files, adapters } = tuned.saved
  return {
    ...counts,
    ...{ processed: epochs * plan.epochTokens, steps: plan.steps, epochs, loss: tuned.facts.loss },
    ...{ out: { path: tuned.directory, bytes, files }, adapters, curve: tuned.curve },
  }
}
