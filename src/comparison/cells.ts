/** The cells of a comparison: the target trained on one pick and scored on the tests, each a stage of its own. */

import { readFile } from 'node:fs/promises'
import type { Cell, MetricName } from '../evaluation/comparison.ts'
import { type Context, notify } from '../pipeline/context.ts'
import { hashJson, type Json } from '../runs/hash.ts'
import type { OutputRecord } from '../runs/journal.ts'
import { runStage, type StageWork } from '../runs/stage.ts'
import { readNpy, writeNpy } from '../signals/npy.ts'
import { planBatches } from '../training/batches.ts'
import type { Trainer } from '../training/trainer.ts'
import { scoreRows, scoringTokens } from '../training/trajectories.ts'
import { isBegun, keptDirectory, trainAndKeep } from './kept.ts'
import type { ResolvedCompareOptions } from './options.ts'
import type { TargetModel } from './target-model.ts'
import type { Test } from './tests.ts'
import { lastState, lengthOf, type Training, train, trainerOf } from './training.ts'

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

interface CellWork extends CellsOptions {
  trainer: ReturnType<typeof trainerOf>['open']
  onProgress: Training['onProgress']
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
  // An untouched pretrained model has nothing that depends on a seed.
  const trained = {
    model: { ...(proxy.identity as Record<string, Json>) },
    ...length,
    seed: label === 'none' && target.pretrained ? 0 : seed,
  }
  const environment = {
    device: device.name,
    precision: options.precision,
    onnxruntime: run.manifest.versions['onnxruntime-node'] ?? '',
  }
  const inputs = { tokens: tokens.hash, selected: hashJson(Array.from(trainOn)) }
  const identity = { inputs, options: { ...trained, ...environment } }
  /** In the stage whose parts it goes on from. */
  const trainIn = async (work: StageWork) => {
    const resumed = await lastState(work)
    const trainer = await open(seed, resumed?.state)
    const training = await train(context, { work, trainer, target, trainOn, ...length, seed, resumed, onProgress })
    return { trainer, training }
  }
  const keep = () => trainAndKeep(run, identity, { target, train: trainIn, open: (state) => open(seed, state) })
  /** Of a target that is kept, or was begun to be, what is there. */
  const trainedIn = async (work: StageWork) => {
    const isThere = isBegun(run, identity) || (await keptDirectory(run, identity)) !== undefined
    const there = kept ?? (isThere ? await keep() : undefined)
    return there ? { training: there.training, trainer: await there.trainer() } : trainIn(work)
  }
  // Also where the cell itself is there: it may have been scored before its target was to be kept.
  const kept = options.keepTargets && trainOn.length > 0 ? await keep() : undefined
  const result = await runStage<Json>(run, {
    name: 'cell',
    version: 1,
    inputs: { ...inputs, ...Object.fromEntries(tests.map(({ tokens }, i) => [`test ${i + 1}`, tokens.hash])) },
    options: {
      ...trained,
      answers: answer?.identity ?? null,
      scored: tests.map(({ rows }) => rows.length),
      ...environment,
    },
    async execute(work) {
      const { trainer, training } = await trainedIn(work)
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
      kept: trainOn.length === 0 ? undefined : await keptDirectory(run, identity),
      selected: {
        rows: label === 'none' ? 0 : selected.length,
        tokens: trainOn.reduce((total, row) => total + Math.min(store.lengths[row], target.maxLength), 0),
      },
    },
    cached: result.cached && kept?.cached !== false,
  }
}
