/** `compare`: every method's pick at every budget, a target trained on each, and what that was worth. */

import { METRIC_FACTS } from '../answers/metrics.ts'
import { openDataset } from '../dataset/dataset.ts'
import { type Cell, type Comparison, FULL, NONE } from '../evaluation/comparison.ts'
import { compareWith } from '../evaluation/statistics.ts'
import { type Summary, summarise } from '../evaluation/summary.ts'
import { resolveBudget } from '../methods/budget.ts'
import type { Notice } from '../methods/method.ts'
import { countParameters } from '../models/parameters.ts'
import { type Context, ending, notify, openContext, type StageTime } from '../pipeline/context.ts'
import { maybeEncoder } from '../pipeline/embedder.ts'
import { checkVectorFiles } from '../pipeline/imported-embeddings.ts'
import { findScores } from '../pipeline/loss-files.ts'
import { needsOf, type ResolvedOptions } from '../pipeline/options.ts'
import { type Pool, readPool, tokenisePool } from '../pipeline/pool.ts'
import type { PipelineContext } from '../pipeline/pool-options.ts'
import { maybePretrained, withModel } from '../pipeline/pretrained.ts'
import { readsHidden } from '../pipeline/recording.ts'
import { mustBeRunOf } from '../pipeline/select.ts'
import { tokenSignal } from '../pipeline/signals.ts'
import { plannedStages } from '../pipeline/stages.ts'
import { openTarget, readTarget } from '../pipeline/target.ts'
import { buildComparisonReport } from '../report/comparison.ts'
import { comparisonMarkdown } from '../report/comparison-markdown.ts'
import { writeFileAtomic } from '../runs/files.ts'
import type { Json } from '../runs/hash.ts'
import { trainedParameters } from '../training/graphs.ts'
import { maybeAnswerer } from './answers.ts'
import { type CellPlan, runCells } from './cells.ts'
import { withFlops } from './costs.ts'
import { listTargets } from './kept.ts'
import {
  atBudgets,
  type CompareOptions,
  compareConfig,
  entryOptions,
  type ResolvedCompareOptions,
  resolveCompareOptions,
} from './options.ts'
import { type Picked, pickAll } from './picks.ts'
import { goingBySource } from './specification.ts'
import { openTargetModel, pickRows, planTarget, type TargetModel } from './target-model.ts'
import { openTests, readTests, type Test, tellOfLeaks } from './tests.ts'

export interface CompareResult {
  summary: Summary
  /** comparison.json: the summary; scores of test rows lie in `cells/`, as .npy. */
  out: { path: string }
  /** comparison.html */
  report: string
  run: string
  notices: Notice[]
  device: string
  seconds: number
  stages: StageTime[]
}

/**
 * Compares methods by what they are for. Each picks from the pool at each budget; the target model is trained on every pick, from the same weights, for
 * equal steps (or equal epochs), and scored on test sets that no method saw; so are a target trained on the whole pool and an untouched one.
 * Seeds change the draws of the methods and the training of the target; signals are computed once, with the first seed, and shared by
 * all methods that read them. Everything lies in one run directory: a killed comparison goes on cell by cell, and another budget, seed or
 * method adds its cells to those that are there.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function compare(asked: CompareOptions, pipeline: PipelineContext): Promise<CompareResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveCompareOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  await mustBeRunOf(resolved.run, dataset)
  const testData = await openTests(resolved)
  const targetData = resolved.target.length === 0 ? undefined : await openTarget(resolved)
  const scores = await findScores(asked.signals ?? {})
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  const opened = await openTargetModel(options.targetModel, { onEvent, signal })
  await using _target = { [Symbol.asyncDispose]: async () => opened.pretrained?.[Symbol.asyncDispose]() }
  const context = await openContext(options, compareConfig(options), pipeline)
  await using run = context.run
  try {
    announce(context, asked, pretrained !== undefined)
    if (options.leftOut.length > 0)
      notify(context, {
        code: 'left-out',
        message: `${options.leftOut.join(', ')} pick toward a target and were left out: --target names one`,
      })
    await using encoder = await maybeEncoder(embeddingContext(context, asked))
    await checkVectorFiles(asked.signals ?? {})
    const target = targetData && (await readTarget(context, targetData))
    const pool = await readPool(context, dataset)
    leaveOut(context, pool)
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const perRow = tokenSignal(tokens, options.maxLength)
    const source = { dataset, pool, tokens, perRow, scores, pretrained, encoder, target, asked }
    const budgets = options.budgets.map((budget) =>
      atBudgets(() =>
        resolveBudget(budget, { rows: pool.facts.rows, tokens: perRow.total, shortest: perRow.shortest }),
      ),
    )
    const mostRows = Math.max(...pickRows(budgets, { rows: pool.facts.rows, tokens: perRow.total }))
    const shared = { pretrained, tokens }
    using model = await planTarget(context, { dataset, pool, shared, target: opened, mostRows })
    const tests = await readTests(context, testData, model)
    using _tests = {
      [Symbol.dispose]: () => {
        for (const test of tests) test[Symbol.dispose]()
      },
    }
    await tellOfLeaks(context, dataset, tests)
    await using answer = await maybeAnswerer(context, model)
    // What is wrong with a test set is told before hours of signals.
    for (const test of tests) await answer?.check(test)
    const picked = await pickAll(context, source, budgets)
    const plans = planCells(options, picked, model)
    const cells = await runCells(context, { target: model, tests, plans, answer })
    const comparison = describeComparison(context, { pool, picked, model, tests, cells, poolTokens: perRow.total })
    const summary = summarise(comparison, { compareWith, seed: options.seed })
    const { out, report } = await writeComparison(context, summary)
    await listTargets(run, comparison)
    await run.update({ status: 'done', facts: facts(context, comparison) })
    return {
      summary,
      out: { path: out },
      report,
      ...ending(context, started),
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

/** Of the methods that `all` stands for, those that go by sources where the pool names none. */
function leaveOut(context: Context<ResolvedCompareOptions>, pool: Pool): void {
  const { options } = context
  if (pool.source !== undefined) return
  const bySource = goingBySource(options.entries)
  if (bySource.length === 0) return
  options.entries = options.entries.filter((entry) => !bySource.includes(entry))
  notify(context, {
    code: 'left-out',
    message: `${bySource.map(({ label }) => label).join(', ')} go by source and were left out: no row of the pool names one (--fields source=<field>)`,
  })
}

/** The references first: they are what a reader waits for. Then seed by seed, so that a stopped comparison has whole seeds. */
function planCells(
  { seeds, budgets, entries }: ResolvedCompareOptions,
  { picks }: Picked,
  model: TargetModel,
): CellPlan[] {
  const reference = (label: string, seed: number, selected: Uint32Array): CellPlan => ({
    label,
    budget: -1,
    seed,
    selected,
  })
  return seeds.flatMap((seed) => [
    reference(NONE, seed, new Uint32Array()),
    reference(FULL, seed, model.trainable),
    ...budgets.flatMap((_, budget) =>
      entries.map(({ label }): CellPlan => {
        const pick = picks.find((one) => one.label === label && one.budget === budget && one.seed === seed)
        return { label, budget, seed, selected: (pick as { selected: Uint32Array }).selected }
      }),
    ),
  ])
}

/** The context that the encoder is opened with: of the first method that reads one. */
function embeddingContext(context: Context<ResolvedCompareOptions>, asked: CompareOptions): Context<ResolvedOptions> {
  const { options } = context
  const all = options.entries.map((entry) => entryOptions(options, asked, entry, options.budgets[0]))
  // A method may read the proxy's hidden states whatever --embedding says.
  const encoded = all.find(({ embedding }) => embedding !== undefined && !['ngrams', 'proxy'].includes(embedding))
  return { ...context, options: encoded ?? all[0] }
}

function announce(context: Context<ResolvedCompareOptions>, asked: CompareOptions, pretrained: boolean): void {
  const { options } = context
  const stages = options.entries.flatMap((entry) => {
    const { embedding } = entryOptions(options, asked, entry, options.budgets[0])
    const needs = entry.method.needs(entry.options, 'rows')
    return plannedStages(needs, { imports: Object.keys(asked.signals ?? {}), pretrained, embedding })
  })
  const last = ['select', 'near', 'write', 'report']
  const signals = [...new Set(stages)].filter((stage) => !last.includes(stage))
  context.emit({ kind: 'plan', stages: [...signals, 'picks', 'targets', 'report'] })
}

interface Described {
  pool: Pool
  poolTokens: number
  picked: Picked
  model: TargetModel
  tests: readonly Test[]
  cells: Cell[]
}

function describeComparison(context: Context<ResolvedCompareOptions>, parts: Described): Comparison {
  const { options, run, notices } = context
  const { pool, poolTokens, picked, model, tests, cells } = parts
  const { proxy } = model
  const trained = run.manifest.facts.proxy as
    | { name: string; parameters: number; epochs: number; trainedTokens: number; steps: number[] }
    | undefined
  return {
    title: options.pool.join(', '),
    command: options.command,
    finishedAt: new Date().toISOString(),
    pool: { files: options.pool, rows: pool.facts.rows, tokens: tokenSignal(model.tokens, model.maxLength).total },
    tests: tests.map(({ name, rows, labels }) => ({ name, rows: rows.length, tokens: labels })),
    metrics: options.metrics.map((name) => ({ name, ...METRIC_FACTS[name] })),
    methods: options.entries.map(({ label, method, options: own }) => ({
      ...{ name: method.name, label, title: method.summary, options: own },
      deterministic: picked.deterministic.has(label),
    })),
    budgets: options.budgets.map(({ text }, i) => {
      const budget = picked.budgets[i]
      return budget.unit === 'rows' ? { text, rows: budget.rows } : { text, tokens: budget.tokens }
    }),
    seeds: options.seeds,
    ...(model.steps === undefined
      ? { training: 'epochs' as const, epochs: model.epochs }
      : { training: 'steps' as const, steps: model.steps }),
    proxy: trained && {
      ...{ name: trained.name, parameters: trained.parameters },
      ...{ epochs: trained.epochs, checkpoints: trained.steps.length },
    },
    target: {
      name: model.name,
      parameters: countParameters(proxy.model.parameters),
      trained: countParameters(trainedParameters(proxy.model, proxy.choices.lora)),
      pretrained: model.pretrained !== undefined,
    },
    cells,
    costs: withFlops(
      picked.costs,
      trained && {
        ...{ parameters: trained.parameters, trainedTokens: trained.trainedTokens },
        ...{ checkpoints: trained.steps.length, poolTokens, hidden: hiddenStates(options) },
      },
    ),
    price: options.price,
    notices: notices.map(({ message }) => message),
    versions: run.manifest.versions,
    device: options.device,
  }
}

/** For the manifest: how often each stage was executed in this directory, and which methods read what it gave. */
function facts({ run }: Context<ResolvedCompareOptions>, { costs, cells }: Comparison): Record<string, Json> {
  const executed = new Map<string, Map<string, number>>()
  for (const { event, stage, key } of run.journal.records) {
    if (event !== 'done') continue
    const keys = executed.get(stage) ?? new Map<string, number>()
    executed.set(stage, keys.set(key, (keys.get(key) ?? 0) + 1))
  }
  const readers = (stage: string) =>
    costs.filter(({ signals }) => signals.some(({ name }) => name === stage)).map(({ method }) => method)
  return {
    signals: Object.fromEntries(
      [...executed].map(([stage, keys]) => [
        stage,
        {
          results: keys.size,
          executions: [...keys.values()].reduce((total, count) => total + count, 0),
          ...(readers(stage).length > 0 && { readBy: readers(stage) }),
        },
      ]),
    ),
    cells: cells.length,
  }
}

/** Labels of the methods that read the proxy's hidden states. */
const hiddenStates = ({ entries, embedding, proxy, budgets }: ResolvedCompareOptions): Set<string> =>
  new Set(
    entries
      .filter(({ method, options }) =>
        needsOf({ method, methodOptions: options, budget: budgets[0], proxy }).some((need) =>
          readsHidden(need, { proxy, embedding }),
        ),
      )
      .map(({ label }) => label),
  )

/** Writes the data of the comparison; scores of test rows lie beside it in `cells/`. */
async function writeComparison(
  context: Context<ResolvedCompareOptions>,
  summary: Summary,
): Promise<{ out: string; report: string }> {
  const { run } = context
  const [out, report] = [run.path('comparison.json'), run.path('comparison.html')]
  await writeFileAtomic(out, `${JSON.stringify(summary, null, 1)}\n`)
  await writeFileAtomic(report, buildComparisonReport(summary))
  await writeFileAtomic(run.path('comparison.md'), comparisonMarkdown(summary))
  return { out, report }
}
