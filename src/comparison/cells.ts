/** The cells of a comparison: the target trained on one pick and scored on the tests, each a stage of its own. */

import { readFile, unlink } from 'node:fs/promises'
import type { Cell, MetricName } from '../evaluation/comparison.ts'
import { checkpointFiles, readState, writeState } from '../pipeline/checkpoints.ts'
import { type Context, notify } from '../pipeline/context.ts'
import { startTrainer as start, type startTrainer } from '../pipeline/proxy.ts'
import { smallerParts } from '../pipeline/trajectories.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { runStage, type StageWork } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { planBatches } from '../training/batches.ts'
import { trainSteps } from '../training/loop.ts'
import type { Trainer } from '../training/trainer.ts'
import { scoreRows, scoringTokens } from '../training/trajectories.ts'
import type { ResolvedCompareOptions } from './options.ts'
import type { TargetModel } from './target-model.ts'
import type { Test } from './tests.ts'

/** A target to train: on a pick, on everything (`full`), or not at all (`none`). */
export interface CellPlan {
  label: string
  budget: number
  seed: number
  /** Rows of the pool, ascending. */
  selected: Uint32Array
}

/** What a cell leaves in the journal, beside its files of scores. */
type CellFacts = { training: Cell['training'] }

export interface CellsOptions {
  target: TargetModel
  tests: readonly Test[]
  plans: readonly CellPlan[]
  /** Answers of a trained target, scored: by metric and test. */
  answer?: Answerer
}

/** Generates and scores answers with a target as it stands. */
export interface Answerer {
  metrics: readonly MetricName[]
  /** What the scores depend on besides the model. */
  identity: Json
  score(
    trainer: Trainer,
    test: Test,
    options: { seed: number; signal?: AbortSignal },
  ): Promise<Record<string, Float32Array>>
}

/**
 * Trains and scores cell by cell; those that the run directory holds are read from there, and a killed cell goes on from its last kept state. All
 * targets of one seed begin with the same weights and the same order of batches where their picks are the same; one compiled
 * trainer serves all. Cells with the same rows are one.
 */
export async function runCells(context: Context<ResolvedCompareOptions>, options: CellsOptions): Promise<Cell[]> {
  const { target, plans } = options
  const started = performance.now()
  await using trainer = trainerOf(context, target)
  const work = plans.map((plan) => workOf(target, plan))
  const all = work.reduce((total, tokens) => total + tokens, 0)
  context.emit({ kind: 'stage-start', stage: 'targets', resumedParts: 0 })
  const cells: Cell[] = []
  let [passed, computed, kept] = [0, 0, 0]
  for (const [i, plan] of plans.entries()) {
    const name = `${plan.label}${plan.budget < 0 ? '' : ` at ${context.options.budgets[plan.budget].text}`}, seed ${plan.seed}`
    const { cell, cached } = await runCell(context, plan, {
      ...options,
      trainer: trainer.open,
      onProgress: (fraction, detail, loss) =>
        context.emit({
          kind: 'stage-progress',
          stage: 'targets',
          progress: {
            fraction: (passed + fraction * work[i]) / all,
            detail: `${i + 1} of ${plans.length}: ${name}: ${detail}`,
            done: Math.round(computed + fraction * work[i]),
            unit: 'tokens',
            loss,
          },
        }),
    })
    passed += work[i]
    if (cached) kept++
    else computed += work[i]
    cells.push(cell)
  }
  const seconds = (performance.now() - started) / 1000
  context.stages.push({ name: 'targets', seconds, cached: kept === plans.length })
  const summary = `${plans.length.toLocaleString('en')} targets${kept > 0 ? `, ${kept.toLocaleString('en')} of them kept from before` : ''}`
  context.emit({ kind: 'stage-end', stage: 'targets', cached: kept === plans.length, seconds, summary })
  return cells
}

/** Tokens that a cell computes, training counted three times: what progress goes by. */
function workOf({ proxy, tokens, steps, maxLength, epochs }: TargetModel, { label, selected }: CellPlan): number {
  if (label === 'none') return 1
  if (steps !== undefined) return 3 * steps * proxy.recipe.tokensPerBatch
  const length = selected.reduce((total, row) => total + Math.min(tokens.store.lengths[row], maxLength), 0)
  return 3 * (epochs as number) * length
}

/** The trainer, compiled when the first cell needs it, then given another state. */
function trainerOf(context: Context<ResolvedCompareOptions>, { proxy }: TargetModel) {
  let trainer: Trainer | undefined
  return {
    async open(seed: number, resumed?: Parameters<typeof startTrainer>[3]): Promise<Trainer> {
      const { device, options } = context
      // A loss scale is the trainer's own and would be carried from cell to cell.
      if (trainer !== undefined && options.precision !== 'float32') {
        await trainer.release()
        trainer = undefined
      }
      if (trainer === undefined) trainer = await start(proxy, device, { seed, threads: options.threads }, resumed)
      else trainer.load((await proxy.start(seed, resumed)).state)
      return trainer
    },
    [Symbol.asyncDispose]: async () => trainer?.release(),
  }
}

interface CellWork extends CellsOptions {
  trainer: ReturnType<typeof trainerOf>['open']
  onProgress(fraction: number, detail: string, loss?: number): void
}

async function runCell(
  context: Context<ResolvedCompareOptions>,
  plan: CellPlan,
  { target, tests, answer, trainer: open, onProgress }: CellWork,
): Promise<{ cell: Cell; cached: boolean }> {
  const { run, options, device } = context
  const { proxy, tokens } = target
  const { label, seed, selected } = plan
  context.signal?.throwIfAborted()
  const { store } = tokens
  const trainOn = label === 'none' ? new Uint32Array() : selected.filter((row) => target.isTrainable[row] === 1)
  if (label !== 'none' && trainOn.length === 0)
    notify(context, {
      code: 'nothing-to-train',
      message: `${label}: a pick has no row that the target can be trained on within ${target.maxLength} tokens, so that its target is an untouched one`,
    })
  const epochBatches = (epoch: number) =>
    planBatches(store.lengths, { ...proxy.recipe, rows: trainOn, shuffle: { seed, epoch } }).batches.length
  const length = trainOn.length === 0 ? { steps: 0, epochs: 0 } : lengthOf(target, epochBatches)
  const metrics = ['nll' as MetricName, ...(answer?.metrics ?? [])]
  const fileOf = (key: string, metric: string, test: number) =>
    `cells/${key.slice(0, 12)}/${metric}-test${test + 1}.npy`
  const result = await runStage<Json>(run, {
    name: 'cell',
    version: 1,
    inputs: {
      tokens: tokens.hash,
      selected: hashJson(Array.from(trainOn)),
      ...Object.fromEntries(tests.map(({ tokens }, i) => [`test ${i + 1}`, tokens.hash])),
    },
    options: {
      model: { ...(proxy.identity as Record<string, Json>) },
      ...length,
      // An untouched pretrained model has nothing that depends on a seed.
      seed: label === 'none' && target.pretrained ? 0 : seed,
      answers: answer?.identity ?? null,
      scored: tests.map(({ rows }) => rows.length),
      device: device.name,
      precision: options.precision,
      onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
    },
    async execute(work) {
      const resumed = await lastState(work)
      const trainer = await open(seed, resumed?.state)
      const training = await train(context, { work, trainer, target, trainOn, ...length, seed, resumed, onProgress })
      const outputs: OutputRecord[] = []
      for (const [i, test] of tests.entries()) {
        onProgress(0.95, `scoring ${test.name}`)
        const { nll } = await scoreRows(trainer.scorer, test.tokens.store, {
          rows: test.rows,
          maxLength: target.maxLength,
          tokensPerBatch: scoringTokens(proxy.recipe),
          signal: context.signal,
        })
        const scores: Record<string, Float32Array> = { nll: Float32Array.from(test.rows, (row) => nll[row]) }
        if (answer) Object.assign(scores, await answer.score(trainer, test, { seed, signal: context.signal }))
        for (const metric of metrics)
          outputs.push(
            await work.write(
              fileOf(work.key, metric, i),
              writeNpy({ shape: [scores[metric].length], data: scores[metric] }),
            ),
          )
      }
      const facts: CellFacts = { training }
      return { outputs, value: JSON.parse(JSON.stringify(facts)) as Json }
    },
  })
  const facts = result.value as unknown as CellFacts
  const scores: Cell['scores'] = {}
  for (const metric of metrics) {
    scores[metric] = {}
    for (const [i, { name }] of tests.entries()) {
      const file = run.path(fileOf(result.key, metric, i))
      scores[metric][name] = readNpy(await readFile(file)).data as Float32Array
    }
  }
  // JSON has no NaN.
  const training = { ...facts.training, loss: facts.training.loss ?? Number.NaN }
  return {
    cell: {
      ...{ method: label, budget: plan.budget, seed, training, scores },
      selected: {
        rows: label === 'none' ? 0 : selected.length,
        tokens: trainOn.reduce((total, row) => total + Math.min(store.lengths[row], target.maxLength), 0),
      },
    },
    cached: result.cached,
  }
}

/** Steps and passes of one target: a pass that is not whole counts as one. */
function lengthOf({ steps, epochs }: TargetModel, epochBatches: (epoch: number) => number) {
  if (epochs !== undefined) {
    let total = 0
    for (let epoch = 0; epoch < epochs; epoch++) total += epochBatches(epoch)
    return { steps: total, epochs }
  }
  let [planned, passes] = [0, 0]
  while (planned < (steps as number)) planned += epochBatches(passes++)
  return { steps: steps as number, epochs: passes }
}

interface Training {
  work: StageWork
  trainer: Trainer
  target: TargetModel
  trainOn: Uint32Array
  steps: number
  epochs: number
  seed: number
  resumed?: Awaited<ReturnType<typeof lastState>>
  onProgress: CellWork['onProgress']
}

/** Trains one target; its state is kept now and then, so that a killed run loses no more than that. */
async function train(
  context: Context<ResolvedCompareOptions>,
  { work, trainer, target, trainOn, steps, epochs, seed, resumed, onProgress }: Training,
): Promise<Cell['training']> {
  const { proxy, tokens } = target
  const { store } = tokens
  let { processed, flops, seconds, losses } = resumed?.facts ?? { processed: 0, flops: 0, seconds: 0, losses: [] }
  if (steps === 0) return { steps, epochs, tokens: 0, flops: 0, seconds: 0, loss: Number.NaN }
  const tenth = Math.max(1, Math.floor(steps / 10))
  losses = [...losses]
  let since = performance.now()
  let before = resumed?.files ?? []
  const iterator = trainSteps({
    ...{ trainer, rows: store, recipe: { ...proxy.recipe, epochs }, seed, trainOn, steps },
    done: resumed?.state.step ?? 0,
    signal: context.signal,
    onSmallerParts: (size) => notify(context, smallerParts(size)),
  })
  for await (const { step, tokens: size, parts = [], loss } of iterator) {
    if (loss !== undefined) {
      processed += size
      for (const part of parts) flops += trainer.flops(part).train
      if (step > steps - tenth) losses.push(loss)
      onProgress((0.95 * step) / steps, `step ${step} of ${steps}`, loss)
      const elapsed = (performance.now() - since) / 1000
      if (elapsed > context.options.stateSeconds && step < steps) {
        seconds += elapsed
        since = performance.now()
        const files = checkpointFiles(work.key, step)
        const { model, optimiser } = await writeState(work, files, await trainer.state())
        await work.finishPart(`step ${step}`, [model, optimiser], { step, processed, flops, seconds, losses })
        for (const path of before) await unlink(work.path(path)).catch(() => undefined)
        before = [model.path, optimiser.path]
      }
    }
    // A pass may have more batches than are left to do.
    if (step === steps) break
  }
  seconds += (performance.now() - since) / 1000
  const loss = losses.reduce((total, value) => total + value, 0) / losses.length
  return { steps, epochs, tokens: processed, flops, seconds, loss }
}

type KeptFacts = { step: number; processed: number; flops: number; seconds: number; losses: number[] }

/** The last state that an interrupted execution has kept whole. */
async function lastState(work: StageWork) {
  const part = work.parts.findLast(({ outputs }) => outputs.every(({ intact }) => intact))
  if (part === undefined) return undefined
  const facts = part.value as unknown as KeptFacts
  const files = checkpointFiles(work.key, facts.step)
  return { facts, state: await readState(work, files, facts.step), files: part.outputs.map(({ path }) => path) }
}
