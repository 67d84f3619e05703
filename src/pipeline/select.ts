/** `select`: a pool in, the records worth training on out. */

import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Dataset, openDataset } from '../dataset/dataset.ts'
import { checkOutput } from '../dataset/output.ts'
import { WinnowError } from '../errors.ts'
import { resolveBudget } from '../methods/budget.ts'
import { isRun } from '../runs/directory.ts'
import { canonicalJson, hashFile } from '../runs/hash.ts'
import { parseJournal } from '../runs/journal.ts'
import { type Manifest, readManifest } from '../runs/manifest.ts'
import { ending, notify, openContext } from './context.ts'
import { tellOfNearDuplicates } from './distinct.ts'
import { byDistance } from './domains.ts'
import { maybeEncoder } from './embedder.ts'
import { checkVectorFiles } from './imported-embeddings.ts'
import { findScores } from './loss-files.ts'
import {
  needsOf,
  optionsAsConfig,
  type ResolvedOptions,
  resolveOptions,
  type SelectContext,
  type SelectOptions,
} from './options.ts'
import { readPool, tokenisePool } from './pool.ts'
import { maybePretrained, withModel } from './pretrained.ts'
import { writeReport } from './report.ts'
import type { SelectResult, TargetResult } from './result.ts'
import { choose, configKey, isFile, writeChosen } from './selection.ts'
import { checkNeeds, computeSignals, tokenSignal } from './signals.ts'
import { plannedStages } from './stages.ts'
import { openTarget, readTarget } from './target.ts'
import { unreadOptions } from './target-options.ts'
import type { TowardTarget } from './toward-target.ts'

/**
 * Selects the rows of a pool worth training on and writes them, `selection.parquet` and a report into the run directory and to `out`.
 * Stages that the run directory holds are not run again; a killed command goes on where it stopped. Same pool, options and
 * seed on the cpu device: the same selection.
 *
 * @throws {WinnowError} of bad usage, bad input and failures, as data; `signal.reason` when aborted.
 */
export async function select(asked: SelectOptions, pipeline: SelectContext): Promise<SelectResult> {
  const started = performance.now()
  const { onEvent = () => {}, signal } = pipeline
  const resolved = resolveOptions(asked)
  const dataset = await openDataset(resolved.pool, resolved)
  const targetData = resolved.target.length === 0 ? undefined : await openTarget(resolved)
  const scores = await findScores(resolved.signals)
  // Before anything is downloaded, where it can be known.
  if (!(await isRun(resolved.run))) await mayWrite(resolved, dataset)
  await using pretrained = await maybePretrained(resolved, { onEvent, signal })
  const options = withModel(resolved, pretrained)
  const ownOutput = await mayWrite(options, dataset)
  const context = await openContext(options, optionsAsConfig(options), pipeline)
  await using run = context.run
  try {
    const needs = needsOf(options)
    const facts = {
      imports: Object.keys(options.signals),
      pretrained: pretrained !== undefined,
      embedding: options.embedding,
    }
    onEvent({ kind: 'plan', stages: plannedStages(needs, facts) })
    const unread = unreadOptions(asked, needs)
    if (unread.length > 0)
      notify(context, {
        code: 'unread-option',
        message: `${unread.join(', ')} ${unread.length === 1 ? 'is' : 'are'} not read by the method ${options.method.name}${options.embedding === undefined ? '' : ` with this embedding`}`,
      })

    await using encoder = await maybeEncoder(context)
    await checkVectorFiles(options.signals)
    const target = targetData && (await readTarget(context, targetData))
    const pool = await readPool(context, dataset)
    checkNeeds(options.method.name, needs, { rows: pool.facts.rows, sources: pool.source !== undefined })
    using tokens = await tokenisePool(context, dataset, pool, pretrained)
    const perRow = tokenSignal(tokens, options.maxLength)
    // Before hours of training, not after: is there enough for the budget?
    const { total, shortest } = perRow
    const budget = resolveBudget(options.budget, { rows: pool.facts.rows, tokens: total, shortest })
    const sources = { dataset, pool, tokens, perRow, scores, pretrained, encoder, target, budget }
    const computed = await computeSignals(context, needs, sources)
    const chosen = await choose(context, pool, tokens, computed, budget)
    const vectors = computed.signals.potential && computed.toward?.vectors
    const nearDuplicates =
      vectors &&
      (await tellOfNearDuplicates(context, {
        selected: chosen.selected,
        hash: chosen.hash,
        vectors: vectors.pool.files,
        cost: computed.toward?.embedding?.normalise ? computed.toward.transport?.cost : undefined,
      }))
    const record = await writeChosen(context, dataset, pool, { chosen, ownOutput })
    const report = await writeReport(context, {
      dataset,
      pool,
      tokens,
      computed,
      chosen,
      pretrained,
      target,
      nearDuplicates,
    })
    const { trajectories, imported } = computed
    await run.update({ status: 'done', facts: { notices: JSON.parse(JSON.stringify(context.notices)) } })
    return {
      rows: pool.facts.rows,
      selected: chosen.selected.length,
      tokens: {
        pool: computed.poolTokens,
        selected: chosen.tokens,
      },
      out: { path: options.out, bytes: record.size, sha256: record.sha256 },
      report,
      selectionFile: run.path('selection.parquet'),
      nll: trajectories && { proxy: trajectories.facts.nll, bigram: trajectories.bigramNll },
      imported: imported?.facts,
      target: target && { rows: target.rows, ...targetResult(computed.toward), nearDuplicates },
      embedding: computed.over?.embedding,
      groups: chosen.groups,
      ...ending(context, started),
    }
  } catch (error) {
    await run.update({ status: 'failed' }).catch(() => undefined)
    throw error
  }
}

function targetResult({ embedding, domains, transport }: TowardTarget = {}): Omit<TargetResult, 'rows'> {
  return {
    embedding: embedding && { name: embedding.name, dimensions: embedding.dimensions },
    domains: domains && byDistance(domains.distances).map(({ name, rows, distance }) => ({ name, rows, distance })),
    transport,
  }
}

/** Refuses an output that is there, unless this very command wrote it before; says whether it did. Refuses another pool's run directory. */
export async function mayWrite(options: ResolvedOptions, dataset: Dataset): Promise<boolean> {
  if (!options.overwrite) await mustBeRunOf(options.run, dataset)
  const own = await isOwnOutput(options)
  await checkOutput(options.out, { overwrite: options.overwrite || own, inputs: dataset.inputs })
  return own
}

/** A run belongs to its pool, which may have changed, grown or moved: one file in common, by place or size, is enough. */
export async function mustBeRunOf(directory: string, { inputs }: Dataset): Promise<void> {
  if (!(await isRun(directory))) return
  const file = join(directory, 'manifest.json')
  const earlier = (await readManifest(file)).inputs
  const known = (one: Manifest['inputs'][number]) =>
    inputs.some(({ path, bytes }) => resolve(path) === resolve(one.path) || bytes === one.size)
  if (earlier.length === 0 || earlier.some(known)) return
  throw new WinnowError('usage', {
    code: 'other-pool',
    message: 'the run directory is of another pool, whose selection and report would be replaced',
    file: directory,
    found: earlier.map(({ path }) => path).join(', '),
    expected: inputs.map(({ path }) => path).join(', '),
    hint: 'Choose another --run directory, or say --overwrite.',
  })
}

async function isOwnOutput(options: ResolvedOptions): Promise<boolean> {
  if (!(await isFile(options.out)) || !(await isRun(options.run))) return false
  const journal = await readFile(join(options.run, 'journal.jsonl')).catch(() => undefined)
  if (journal === undefined) return false
  const config = canonicalJson(configKey({ options }))
  const { sha256 } = await hashFile(options.out)
  return parseJournal(journal).records.some(
    ({ event, stage, outputs, value }) =>
      event === 'done' &&
      stage === 'write' &&
      outputs[0]?.sha256 === sha256 &&
      canonicalJson((value as { config: typeof value }).config) === config,
  )
}
