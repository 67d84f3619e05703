/** `compare --dry-run`: what a comparison would do and cost, without writing anything. */

import { readTasks } from '../answers/tasks.ts'
import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { Device, DeviceName } from '../engine/session.ts'
import { resolveBudget } from '../methods/budget.ts'
import { countParameters } from '../models/parameters.ts'
import { type Counted, countTokens, cutTokens, readTexts } from '../pipeline/counted.ts'
import { calibrate, flopsOf, trainingBytes } from '../pipeline/plan-proxy.ts'
import { planSignals, type SignalsPlan } from '../pipeline/plan-signals.ts'
import type { PipelineContext } from '../pipeline/pool-options.ts'
import { maybePretrained, withModel } from '../pipeline/pretrained.ts'
import { startTrainer } from '../pipeline/proxy.ts'
import { mustBeRunOf } from '../pipeline/select.ts'
import { checkNeeds, shortestRow } from '../pipeline/signals.ts'
import { planBatches } from '../training/batches.ts'
import { scoringTokens } from '../training/trajectories.ts'
import {
  askingOf,
  atBudgets,
  type CompareOptions,
  type ResolvedCompareOptions,
  resolveCompareOptions,
} from './options.ts'
import { goingBySource } from './specification.ts'
import { type OpenedTarget, openTargetModel, pickRows, planLength, thinned } from './target-model.ts'
import { openTests, scoredRows } from './tests.ts'

/** What `compare --dry-run` shows. */
export interface ComparePlan extends Pick<SignalsPlan, 'proxy' | 'imported' | 'target' | 'embedding'> {
  rows: number
  /** Of the pool for the proxy, rows cut to the window: counted, or estimated from a sample of a large pool. */
  tokens: { count: number; exact: boolean }
  methods: string[]
  /** Methods of `all` that the run cannot give what they need. */
  leftOut: string[]
  budgets: { text: string; unit: 'rows' | 'tokens'; amount: number }[]
  seeds: number[]
  tests: { name: string; rows: number; tokens: number }[]
  /** The model that is trained on every pick. */
  targets: {
    name: string
    parameters: number
    /** All, or those of the adapters. */
    trained: number
    /** Targets that are trained; the untouched ones come on top. */
    count: number
    untouched: number
    /** Of each, where steps are held equal; else its passes. */
    steps?: number
    epochs?: number
    /** Of all that are kept, where they are. */
    keptBytes?: number
    /** Of training, at least. */
    memoryBytes: number
  }
  /** FLOPs of matrix products: of the proxy's work, of the targets' training, and of scoring test rows by their loss. */
  flops: { signals: number; training: number; scoring: number; total: number }
  diskBytes: number
  /** Seconds by stage, from a short calibration on this machine. */
  seconds: { stage: string; seconds: number }[]
  secondsTotal: number
  /** Answers that targets will write at most, whose time is not in the sum: it depends on where they end. */
  answers?: { metrics: string[]; texts: number; maxNewTokens: number }
  device: DeviceName
  run: string
}

/** Passes over the pool's records: read, tokenizer, tokens, looking for test rows. */
const PASSES = 4

/**
 * Reads the pool and the test sets, tokenises them (a sample, where they are large), plans every batch of the proxy, tries a few steps of proxy and
 * target to learn this machine's rate, and adds up each signal once and each target. Writes nothing. What a run directory already
 * holds is not taken off, nor are picks that are the same; a transport problem that differs between budgets counts for the largest.
 *
 * @throws {WinnowError} as `compare`, of what is wrong with options, pool and test sets.
 */
export async function planCompare(asked: CompareOptions, pipeline: PipelineContext): Promise<ComparePlan> {
  const { ort, onEvent = () => {}, signal } = pipeline
  const resolved = resolveCompareOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  await mustBeRunOf(resolved.run, dataset)
  const testData = await openTests(resolved)
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  const opened = await openTargetModel(options.targetModel, { onEvent, signal })
  await using _target = { [Symbol.asyncDispose]: async () => opened.pretrained?.[Symbol.asyncDispose]() }
  const texts = await readTexts(dataset, signal)
  const { rows } = texts
  const bySource = texts.sources ? [] : goingBySource(options.entries)
  const entries = options.entries.filter((entry) => !bySource.includes(entry))
  const counting = { onBadRow: options.onBadRow, signal }
  const { maxLength } = options
  const counted = await countTokens(dataset, texts, { ...counting, maxLength, tokenizer: pretrained?.tokenizer })
  const { cut } = counted
  const shortest = shortestRow(counted.lengths, maxLength)
  const budgets = options.budgets.map((budget) =>
    atBudgets(() => resolveBudget(budget, { rows, tokens: cut, ...(counted.exact && { shortest }) })),
  )
  const device: Device = { ort, name: options.device, threads: options.threads, precision: options.precision }
  const picks = pickRows(budgets, { rows, tokens: cut })
  const largest = options.budgets[picks.indexOf(Math.max(...picks))]
  const asking = entries.map((entry) => askingOf(options, asked, entry, largest))
  for (const { options: own, needs } of asking) checkNeeds(own.method.name, needs, texts)
  const signals = await planSignals(asking, { dataset, counted, device, pretrained, signal })
  const same = opened.pretrained?.tokenizer.hash === pretrained?.tokenizer.hash
  const window = opened.options.maxLength
  const ofTarget =
    same && window === maxLength
      ? counted
      : await countTokens(dataset, texts, { ...counting, maxLength: window, tokenizer: opened.pretrained?.tokenizer })
  const tests = await countTests(testData, options, { pool: ofTarget, maxLength: window, signal })
  const targets = await planTargets({
    ...{ options, device, opened, counted: ofTarget, tests, picks },
    methods: entries.length,
  })
  const seconds = [
    {
      stage: 'read and tokenise',
      seconds:
        PASSES * texts.seconds +
        counted.secondsForPool +
        (same ? 0 : ofTarget.secondsForPool) +
        tests.reduce((sum, test) => sum + test.seconds, 0),
    },
    ...signals.seconds,
    ...targets.seconds,
  ]
  const wanted = options.metrics.filter((name) => name !== 'nll')
  const scored = tests.reduce((sum, test) => sum + test.rows, 0) * (targets.facts.count + targets.facts.untouched)
  const picked = entries.length * options.seeds.length * picks.reduce((sum, count) => sum + count, 0)
  return {
    rows,
    tokens: { count: cut, exact: counted.exact },
    methods: entries.map(({ label }) => label),
    leftOut: [...options.leftOut, ...bySource.map(({ label }) => label)],
    budgets: budgets.map((budget, i) => ({
      ...{ text: options.budgets[i].text, unit: budget.unit },
      amount: budget.unit === 'rows' ? budget.rows : budget.tokens,
    })),
    seeds: options.seeds,
    tests: tests.map(({ name, rows: count, labels }) => ({ name, rows: count, tokens: labels })),
    ...{ proxy: signals.proxy, imported: signals.imported },
    ...{ target: signals.target, embedding: signals.embedding },
    targets: targets.facts,
    flops: {
      ...{ signals: signals.flops.total, training: targets.flops.training, scoring: targets.flops.scoring },
      total: signals.flops.total + targets.flops.training + targets.flops.scoring,
    },
    // Tokens with their index, the page, what signals leave, picks, scores of every target, the state that a stopped target goes on from, kept targets.
    diskBytes: Math.round(
      4 * (counted.tokens + (same ? 0 : ofTarget.tokens) + tests.reduce((sum, test) => sum + test.tokens, 0)) +
        40 * rows +
        300_000 +
        signals.diskBytes +
        4 * picked +
        4 * (1 + wanted.length) * scored +
        12 * targets.facts.trained +
        (targets.facts.keptBytes ?? 0),
    ),
    seconds,
    secondsTotal: seconds.reduce((sum, stage) => sum + stage.seconds, 0),
    ...(wanted.length > 0 && {
      answers: {
        metrics: wanted,
        // A program is asked for first, and an answer where that left none.
        texts: (options.programs ? 2 : 1) * scored,
        maxNewTokens: options.maxNewTokens,
      },
    }),
    device: options.device,
    run: options.run,
  }
}

/** A test set in the target's tokens: of the rows that are scored. */
interface CountedTest {
  name: string
  rows: number
  lengths: Uint32Array
  /** Scored tokens. */
  labels: number
  /** Of all rows, and the time to read and tokenise them. */
  tokens: number
  seconds: number
}

/** @throws {WinnowError} `nothing-to-score`; `no-response` where answers are asked for. */
async function countTests(
  datasets: readonly Dataset[],
  { tests, testRows, onBadRow, metrics }: ResolvedCompareOptions,
  { pool: { tokenizer }, maxLength, signal }: { pool: Counted; maxLength: number; signal?: AbortSignal },
): Promise<CountedTest[]> {
  const counted: CountedTest[] = []
  for (const [i, dataset] of datasets.entries()) {
    const { name, file } = tests[i]
    const texts = await readTexts(dataset, signal)
    const all = await countTokens(dataset, texts, { tokenizer, maxLength, onBadRow, signal })
    const { rows } = scoredRows(all.inWindow, { name, file, testRows, maxLength })
    if (metrics.some((metric) => metric !== 'nll')) await readTasks(dataset, { name, rows, answer: 'first', signal })
    counted.push({
      ...{ name, rows: rows.length, lengths: Uint32Array.from(rows, (row) => all.lengths[row]) },
      labels: rows.reduce((sum, row) => sum + all.inWindow[row], 0),
      ...{ tokens: all.tokens, seconds: 2 * texts.seconds + all.secondsForPool },
    })
  }
  return counted
}

interface PlanTargetsOf {
  options: ResolvedCompareOptions
  device: Device
  opened: OpenedTarget
  /** The pool in the target's tokens. */
  counted: Counted
  tests: readonly CountedTest[]
  /** Rows of a pick, by budget. */
  picks: readonly number[]
  methods: number
}

/** Compiles the target, tries a few steps, and counts what all of them take. */
async function planTargets({ options, device, opened, counted, tests, picks, methods }: PlanTargetsOf) {
  const { seeds } = options
  const mostRows = Math.max(...picks)
  const { vocabularySize } = counted
  const { proxy, steps, epochs } = planLength(options, opened, { rows: counted, vocabularySize, mostRows })
  const { recipe } = proxy
  const trainer = await startTrainer(proxy, device, options)
  try {
    const { density } = counted
    // Of one seed: the pool, and each method's pick of each budget. Picks are like so many rows of the pool.
    const trainings = [{ rows: counted.count, times: 1 }, ...picks.map((rows) => ({ rows, times: methods }))]
    const training = trainings.reduce((sum, { rows, times }) => {
      const { lengths } = thinned(counted, rows)
      const plan = planBatches(lengths, { ...recipe, shuffle: { seed: options.seed, epoch: 0 } })
      const pass = flopsOf(trainer, plan, density).train
      const passes = steps === undefined ? (epochs as number) : steps / plan.batches.length
      return sum + seeds.length * times * passes * pass
    }, 0)
    const count = seeds.length * trainings.reduce((sum, { times }) => sum + times, 0)
    // Nothing of an untouched pretrained model depends on the seed.
    const untouched = opened.pretrained ? 1 : seeds.length
    const scored = tests.reduce((sum, { lengths, labels }) => {
      const plan = planBatches(lengths, { tokensPerBatch: scoringTokens(recipe), maxLength: recipe.maxLength })
      return sum + flopsOf(trainer, plan, labels / cutTokens(lengths, recipe.maxLength)).score
    }, 0)
    const scoring = (count + untouched) * scored
    const rate = {
      train: await calibrate(trainer, counted, proxy, 'train'),
      score: await calibrate(trainer, counted, proxy, 'score'),
    }
    const [parameters, trained] = [proxy.model, trainer].map((of) => countParameters(of.parameters))
    return {
      facts: {
        ...{ name: opened.name, parameters, trained, count, untouched },
        ...(steps === undefined ? { epochs } : { steps }),
        // Adapters beside the weights that they are added into.
        ...(options.keepTargets && { keptBytes: 4 * count * (parameters + (trained < parameters ? trained : 0)) }),
        memoryBytes: trainingBytes(proxy, { trained, density }),
      },
      flops: { training, scoring },
      seconds: [
        { stage: `train ${count.toLocaleString('en')} targets`, seconds: training / rate.train },
        { stage: `score ${(count + untouched).toLocaleString('en')} targets`, seconds: scoring / rate.score },
      ],
    }
  } finally {
    await trainer.release()
  }
}
