/** `select --dry-run`: what a run would do and cost, without writing anything. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { Device } from '../engine/session.ts'
import { resolveBudget } from '../methods/budget.ts'
import type { SignalNeed } from '../methods/method.ts'
import { llama } from '../models/llama.ts'
import { type NanoRecipe, nanoInitialParameters, nanoVocabulary } from '../models/nano.ts'
import { countParameters } from '../models/parameters.ts'
import { randomStream } from '../random/philox.ts'
import { defaultClusterCount } from '../signals/clusters.ts'
import { lossFacts } from '../signals/loss-column.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import { TRAINED_BIT } from '../tokenizer/tokenizer.ts'
import { planBatches } from '../training/batches.ts'
import { collate } from '../training/collate.ts'
import type { TokenRows } from '../training/rows.ts'
import { compileTrainer, startingState, type Trainer } from '../training/trainer.ts'
import { planTrajectories, scoringTokens } from '../training/trajectories.ts'
import { findLosses, readLosses } from './loss-files.ts'
import { type ResolvedOptions, resolveOptions, type SelectContext, type SelectOptions } from './options.ts'
import { trainOnPool } from './pool.ts'
import type { SelectPlan } from './result.ts'
import { mayWrite } from './select.ts'
import { labelChunks, recipeFor } from './trajectories.ts'

/** Text that is tokenised to count tokens; of a larger pool every k-th row. */
const COUNTED_BYTES = 2 ** 24
/** Text that the plan's tokenizer is trained on. */
const TOKENIZER_BYTES = 2 ** 22
/** Passes that a run makes over its input: read, tokenizer, tokens, write, report. */
const PASSES = 5
/** Points that k-means assigns a second at K = 100, an iteration of one start (docs/benchmarks/kmeans.md). */
const KMEANS_POINTS = 2e6

/**
 * Reads the pool, tokenises it (a sample, where it is large), plans every batch, runs a few training and scoring steps to learn this
 * machine's rate, and adds up. Writes nothing. Stages that a run directory already holds are not taken off.
 */
export async function planSelect(asked: SelectOptions, { ort, signal }: SelectContext): Promise<SelectPlan> {
  const options = resolveOptions(asked)
  const dataset = await openDataset(options.pool, options)
  await mayWrite(options, dataset)
  const started = performance.now()
  let textBytes = 0
  for await (const { records } of dataset.batches({ signal }))
    for (const { turns } of records) for (const { content } of turns) textBytes += Buffer.byteLength(content)
  const passSeconds = (performance.now() - started) / 1000
  const { rows } = dataset.report()

  const counted = await countTokens(dataset, rows, textBytes, signal)
  const cut = counted.lengths.reduce((total, length) => total + Math.min(length, options.maxLength), 0)
  const needs = options.method.needs(options.methodOptions, options.budget.unit === 'tokens' ? 'tokens' : 'rows')
  const recorded = needs.find((need) => need.signal === 'trajectories')
  const seconds = [
    { stage: 'read, tokenise and write', seconds: PASSES * passSeconds + counted.secondsForPool },
    ...clusteringTime(needs, rows),
  ]
  const device: Device = { ort, name: options.device, threads: options.threads }
  const imported = recorded && (await planImport(options, rows, signal))
  if (imported) seconds.push(imported.seconds)
  const proxy = recorded && !imported ? await planProxy(counted, recorded.checkpoints, device, options) : undefined
  if (proxy) seconds.push(...proxy.seconds)
  const shortest = counted.lengths.reduce((least, length) => Math.min(least, length), options.maxLength)
  const budget = resolveBudget(options.budget, { rows, tokens: cut, ...(counted.exact && { shortest }) })
  const share = budget.unit === 'rows' ? budget.rows / rows : budget.tokens / cut
  const inputBytes = dataset.inputs.reduce((total, input) => total + input.bytes, 0)
  return {
    rows,
    budget: { unit: budget.unit, amount: budget.unit === 'rows' ? budget.rows : budget.tokens },
    tokens: { count: cut, exact: counted.exact },
    format: { name: dataset.format.name, reason: dataset.format.reason },
    method: options.method.name,
    device: options.device,
    proxy: proxy?.facts,
    imported: imported?.facts,
    flops: proxy?.flops ?? { training: 0, scoring: 0, total: 0 },
    // Tokens with their index, the selection twice (in the run and where it was asked for), the page, and what the proxy leaves.
    diskBytes: Math.round(
      4 * counted.tokens + 40 * rows + 2 * share * inputBytes + 300_000 + ((imported ?? proxy)?.diskBytes ?? 0),
    ),
    seconds,
    secondsTotal: seconds.reduce((total, stage) => total + stage.seconds, 0),
    run: options.run,
    out: options.out,
  }
}

interface Counted extends TokenRows {
  tokens: number
  trained: number
  vocabularySize: number
  /** False where lengths are those of a sample, repeated. */
  exact: boolean
  /** Time to train the tokenizer and tokenise the whole pool. */
  secondsForPool: number
}

async function countTokens(dataset: Dataset, rows: number, textBytes: number, signal?: AbortSignal): Promise<Counted> {
  const started = performance.now()
  const asked = { vocabularySize: nanoVocabulary(textBytes), textBytes, maximumBytes: TOKENIZER_BYTES }
  const tokenizer = loadTokenizer((await trainOnPool(dataset, asked, signal)).json)
  const trainingSeconds = (performance.now() - started) / 1000
  const stride = Math.max(1, Math.ceil(textBytes / COUNTED_BYTES))
  const sampled: { length: number; labels: number }[] = []
  let encoding = 0
  for await (const { records } of dataset.batches({ signal })) {
    const from = performance.now()
    for (const { row, turns } of records) {
      if (row % stride !== 0) continue
      const ids = tokenizer.encodeTurns(turns)
      sampled.push({ length: ids.length, labels: ids.reduce((total, id) => total + (id >>> 31), 0) })
    }
    encoding += performance.now() - from
  }
  const lengths = Uint32Array.from({ length: rows }, (_, row) => sampled[Math.floor(row / stride)].length)
  const labels = Uint32Array.from({ length: rows }, (_, row) => sampled[Math.floor(row / stride)].labels)
  const sum = (values: Uint32Array) => values.reduce((total, value) => total + value, 0)
  return {
    count: rows,
    lengths,
    labels,
    tokens: sum(lengths),
    trained: sum(labels),
    vocabularySize: tokenizer.vocabularySize,
    exact: stride === 1 && textBytes <= TOKENIZER_BYTES,
    secondsForPool: trainingSeconds + (stride * encoding) / 1000,
    read: (row) => {
      throw new Error(`row ${row} of a plan has no tokens`)
    },
  }
}

/** Reads losses that were recorded elsewhere, so that what is wrong with them is known before a run. */
async function planImport({ signals, memoryLimit }: ResolvedOptions, rows: number, signal?: AbortSignal) {
  if (signals.trajectories === undefined) return undefined
  const started = performance.now()
  const columns = await readLosses(await findLosses(signals.trajectories), { rows, memoryLimit, signal })
  const steps = columns.map(({ step }) => step)
  const { incomplete } = lossFacts(columns)
  return {
    facts: { file: signals.trajectories, rows, columns: steps.length, steps, incomplete },
    seconds: { stage: 'import losses', seconds: (performance.now() - started) / 1000 },
    diskBytes: 4 * rows * steps.length,
  }
}

async function planProxy(counted: Counted, checkpoints: number, device: Device, options: ResolvedOptions) {
  const recipe = recipeFor(counted, counted.vocabularySize, options.maxLength)
  const { maxLength, tokensPerBatch, epochs } = recipe.recipe
  const trainOn = Uint32Array.from(counted.labels.keys()).filter((row) => counted.labels[row] > 0)
  const plan = planTrajectories(counted, recipe.recipe, checkpoints, options.seed, trainOn)
  const proxy = await compileTrainer({
    model: llama(recipe.config),
    device,
    optimiser: recipe.optimiser,
    chunks: labelChunks(recipe),
  })
  try {
    proxy.load(startingState(nanoInitialParameters(recipe.config, options.seed)))
    const density = counted.trained / counted.tokens
    const flopsOf = (planned: ReturnType<typeof planBatches>) =>
      planned.batches.reduce(
        (total, { rows, length }) => {
          const { train, score } = proxy.flops({
            rows: rows.length,
            length,
            labels: Math.round(rows.length * length * density),
          })
          return { train: total.train + train, score: total.score + score }
        },
        { train: 0, score: 0 },
      )
    const epoch = flopsOf(
      planBatches(counted.lengths, {
        tokensPerBatch,
        maxLength,
        rows: trainOn,
        shuffle: { seed: options.seed, epoch: 0 },
      }),
    )
    const pass = flopsOf(planBatches(counted.lengths, { tokensPerBatch: scoringTokens(recipe.recipe), maxLength }))
    const recorded = plan.checkpointSteps.length
    const flops = {
      training: epochs * epoch.train,
      scoring: recorded * pass.score,
      total: epochs * epoch.train + recorded * pass.score,
    }
    const rate = await calibrate(proxy, counted, recipe, density)
    const parameters = countParameters(proxy.parameters)
    return {
      facts: {
        name: options.proxy,
        parameters,
        vocabularySize: counted.vocabularySize,
        epochs,
        steps: plan.steps,
        checkpoints: recorded,
      },
      flops,
      seconds: [
        { stage: 'train the proxy', seconds: flops.training / rate.train },
        { stage: `score the pool ${recorded} times`, seconds: flops.scoring / rate.score },
      ],
      diskBytes: recorded * (4 * parameters + 4 * counted.count) + 8 * parameters,
    }
  } finally {
    await proxy.release()
  }
}

/** FLOPs a second in training and scoring, from a few steps at the pool's mean length after one to warm up. */
async function calibrate(proxy: Trainer, counted: Counted, { config, recipe }: NanoRecipe, density: number) {
  const length = Math.max(2, Math.min(recipe.maxLength, Math.round(counted.tokens / counted.count))) - 1
  const measure = async (kind: 'train' | 'score', tokensPerBatch: number) => {
    const rows = Math.max(1, Math.floor(tokensPerBatch / length))
    const pool = calibrationRows(rows, length, density, config.vocabularySize)
    const all = { rows: Uint32Array.from(pool.lengths.keys()), length: length + 1 }
    const batch = collate(pool, all, length + 1, proxy.padding)
    const flops = proxy.flops({ rows: batch.shape[0], length, labels: batch.positions.length })[kind]
    const step = () => (kind === 'train' ? proxy.train(batch, 0) : proxy.scorer.score(batch))
    await step()
    const started = performance.now()
    let steps = 0
    do {
      await step()
      steps++
    } while (steps < 3 || performance.now() - started < 1000)
    return (steps * flops * 1000) / (performance.now() - started)
  }
  return {
    train: await measure('train', recipe.tokensPerBatch),
    score: await measure('score', scoringTokens(recipe)),
  }
}

/** Rows of random tokens whose last `density` share is trained on. A row's last token is predicted, never read. */
function calibrationRows(count: number, length: number, density: number, vocabularySize: number): TokenRows {
  const stream = randomStream(0, 'calibration')
  const labels = Math.max(1, Math.round((length - 1) * density))
  const draw = (j: number) => (stream.below(vocabularySize) | (j > length - labels ? TRAINED_BIT : 0)) >>> 0
  const rows = Array.from({ length: count }, () => Uint32Array.from({ length: length + 1 }, (_, j) => draw(j)))
  return {
    count,
    lengths: new Uint32Array(count).fill(length + 1),
    labels: new Uint32Array(count).fill(labels),
    read: (row) => rows[row],
  }
}

function clusteringTime(needs: readonly SignalNeed[], rows: number): { stage: string; seconds: number }[] {
  const need = needs.find((one) => one.signal === 'clusters')
  if (need === undefined) return []
  const clusters = need.clusters === 'auto' ? defaultClusterCount(rows) : need.clusters
  return [
    { stage: 'cluster', seconds: 0.2 + (rows * need.restarts * need.iterations * (clusters / 100)) / KMEANS_POINTS },
  ]
}
