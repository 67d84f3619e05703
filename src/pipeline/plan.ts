/** `select --dry-run`: what a run would do and cost, without writing anything. */

import { type Dataset, openDataset } from '../dataset/dataset.ts'
import type { Device } from '../engine/session.ts'
import { resolveBudget } from '../methods/budget.ts'
import type { SignalNeed } from '../methods/method.ts'
import { nanoVocabulary } from '../models/nano.ts'
import { isRun } from '../runs/directory.ts'
import { defaultClusterCount } from '../signals/clusters.ts'
import { lossFacts } from '../signals/loss-column.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TokenRows } from '../training/rows.ts'
import { findScores, readLosses } from './loss-files.ts'
import { needsOf, type ResolvedOptions, resolveOptions, type SelectContext, type SelectOptions } from './options.ts'
import { planProxy, scoringPasses } from './plan-proxy.ts'
import { planOverPool, planTarget } from './plan-target.ts'
import { recordEncoder, trainOnPool } from './pool.ts'
import { maybePretrained, withModel } from './pretrained.ts'
import type { SelectPlan } from './result.ts'
import { mayWrite } from './select.ts'
import { noSource, shortestRow } from './signals.ts'

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
export async function planSelect(
  asked: SelectOptions,
  { ort, onEvent = () => {}, signal }: SelectContext,
): Promise<SelectPlan> {
  const resolved = resolveOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  if (!(await isRun(resolved.run))) await mayWrite(resolved, dataset)
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  await mayWrite(options, dataset)
  const started = performance.now()
  let textBytes = 0
  let sources = false
  for await (const { records } of dataset.batches({ signal }))
    for (const { turns, source } of records) {
      sources ||= source !== undefined
      for (const { content } of turns) textBytes += Buffer.byteLength(content)
    }
  const passSeconds = (performance.now() - started) / 1000
  const { rows } = dataset.report()

  const counted = await countTokens(dataset, rows, textBytes, {
    tokenizer: pretrained?.tokenizer,
    onBadRow: options.onBadRow,
    signal,
  })
  const cut = counted.lengths.reduce((total, length) => total + Math.min(length, options.maxLength), 0)
  const needs = needsOf(options)
  if (!sources && needs.some((need) => need.signal === 'source')) throw noSource(options.method.name)
  const recorded = needs.find((need) => need.signal === 'trajectories' || need.signal === 'confidence')
  const seconds = [
    { stage: 'read, tokenise and write', seconds: PASSES * passSeconds + counted.secondsForPool },
    ...clusteringTime(needs, rows),
  ]
  const device: Device = { ort, name: options.device, threads: options.threads, precision: options.precision }
  const imported = await planImport(options, rows, signal)
  if (imported) seconds.push(imported.seconds)
  const embeds = options.embedding === 'proxy'
  const trains = (recorded !== undefined && !imported) || (embeds && !pretrained)
  const passes = scoringPasses(needs, options, counted)
  const planned =
    trains || embeds || passes.length > 0
      ? await planProxy(counted, recorded?.checkpoints ?? 1, { device, options, pretrained })
      : undefined
  const proxy = trains ? planned : undefined
  if (proxy) seconds.push(...proxy.seconds)
  const { passSeconds: onePass = 0, passFlops = 0 } = planned ?? {}
  for (const { stage, passes: count } of passes) seconds.push({ stage, seconds: count * onePass })
  const passFlopsTotal = passes.reduce((total, { passes: count }) => total + count * passFlops, 0)
  const { training, scoring } = proxy?.flops ?? { training: 0, scoring: 0 }
  const toward = await planTarget(options, needs, { dataset, rows, proxy: planned, signal })
  if (toward) seconds.push(...toward.seconds)
  const over = toward ? undefined : await planOverPool(options, needs, { dataset, rows, proxy: planned, signal })
  if (over) seconds.push(...over.seconds)
  const shortest = shortestRow(counted.lengths, options.maxLength)
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
    target: toward?.target,
    embedding: over?.embedding,
    flops: { training, scoring: scoring + passFlopsTotal, total: training + scoring + passFlopsTotal },
    // Tokens with their index, the selection twice (in the run and where it was asked for), the page, and what the proxy leaves.
    diskBytes: Math.round(
      4 * counted.tokens +
        40 * rows +
        2 * share * inputBytes +
        300_000 +
        ((imported ?? proxy)?.diskBytes ?? 0) +
        8 * passes.length * rows +
        ((toward ?? over)?.diskBytes ?? 0),
    ),
    seconds,
    secondsTotal: seconds.reduce((total, stage) => total + stage.seconds, 0),
    run: options.run,
    out: options.out,
  }
}

export interface Counted extends TokenRows {
  tokens: number
  trained: number
  vocabularySize: number
  /** False where lengths are those of a sample, repeated. */
  exact: boolean
  /** Time to train the tokenizer and tokenise the whole pool. */
  secondsForPool: number
}

/** Lengths and labels of all rows, tokenised; of a large pool those of every k-th row, repeated. */
export async function countTokens(
  dataset: Dataset,
  rows: number,
  textBytes: number,
  { tokenizer: given, onBadRow, signal }: { tokenizer?: Tokenizer; onBadRow: 'stop' | 'skip'; signal?: AbortSignal },
): Promise<Counted> {
  const started = performance.now()
  const asked = { vocabularySize: nanoVocabulary(textBytes), textBytes, maximumBytes: TOKENIZER_BYTES }
  const tokenizer = given ?? loadTokenizer((await trainOnPool(dataset, asked, signal)).json)
  const trainingSeconds = (performance.now() - started) / 1000
  const stride = Math.max(1, Math.ceil(textBytes / COUNTED_BYTES))
  const sampled: { length: number; labels: number }[] = []
  const encode = recordEncoder(tokenizer, onBadRow)
  let encoding = 0
  for await (const { records } of dataset.batches({ signal })) {
    const from = performance.now()
    for (const record of records) {
      if (record.row % stride !== 0) continue
      const ids = encode.tokens(record)
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
    exact: stride === 1 && (given !== undefined || textBytes <= TOKENIZER_BYTES),
    secondsForPool: trainingSeconds + (stride * encoding) / 1000,
    read: (row) => {
      throw new Error(`row ${row} of a plan has no tokens`)
    },
  }
}

/** Reads scores that were recorded elsewhere, so that what is wrong with them is known before a run. Facts are those of the first. */
async function planImport({ signals, memoryLimit }: ResolvedOptions, rows: number, signal?: AbortSignal) {
  const files = Object.values(await findScores(signals))
  if (files.length === 0) return undefined
  const started = performance.now()
  const read = []
  for (const file of files) read.push(await readLosses(file, { rows, memoryLimit, signal }))
  const [columns] = read
  const steps = columns.map(({ step }) => step)
  const { incomplete } = lossFacts(columns)
  return {
    facts: { file: files[0].path, rows, columns: steps.length, steps, incomplete },
    seconds: { stage: 'import losses', seconds: (performance.now() - started) / 1000 },
    diskBytes: 4 * rows * read.reduce((total, { length }) => total + length, 0),
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
